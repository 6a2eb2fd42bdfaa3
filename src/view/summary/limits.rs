//! The limits of the summary, and the measurement that each limit is for. A minute with a value above its limit counts
//! as over.

vocabulary! {
    /// A limit. The word is its key in the configuration, in a query, and in a summary.
    pub enum SummaryLimit {
        /// The limit of `latency_ms`.
        Latency = "latency_ms",
        /// The limit of `jitter_ms`.
        Jitter = "jitter_ms",
        /// The limit of `avg_loss_percent`.
        Loss = "loss_percent",
        /// The limit of `system_max_cpu_usage_percent` in `cpu_usage`.
        Cpu = "cpu_percent",
    }
}

impl SummaryLimit {
    /// Returns the largest value that the limit may have.
    #[must_use]
    pub const fn largest(self) -> u32 {
        match self {
            Self::Latency | Self::Jitter => 999_999,
            Self::Loss | Self::Cpu => 100,
        }
    }

    /// Returns the limit for a measurement of a group; `None` if the measurement has no limit.
    #[must_use]
    pub fn of(group: &[u8], measurement: &[u8]) -> Option<Self> {
        match (group, measurement) {
            (b"cpu_usage", b"system_max_cpu_usage_percent") => Some(Self::Cpu),
            (b"cpu_usage", _) => None,
            (_, b"latency_ms") => Some(Self::Latency),
            (_, b"jitter_ms") => Some(Self::Jitter),
            (_, b"avg_loss_percent") => Some(Self::Loss),
            _ => None,
        }
    }

    /// Parses digits, optionally with a point and more digits. Returns `None` for any other text, or if the value is too
    /// large.
    #[must_use]
    pub fn parse(self, text: &str) -> Option<f64> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let value = text.parse().ok().filter(|_| is_digits(whole) && is_digits(fraction));
        value.filter(|value| *value <= f64::from(self.largest()))
    }
}

/// A value for every limit, in the order of [`SummaryLimit::ALL`].
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SummaryLimits([f64; SummaryLimit::ALL.len()]);

impl SummaryLimits {
    /// Returns the value of a limit.
    #[must_use]
    pub fn get(&self, limit: SummaryLimit) -> f64 {
        self.0.get(limit as usize).copied().unwrap_or_default()
    }

    /// Replaces the value of a limit.
    pub fn set(&mut self, limit: SummaryLimit, value: f64) {
        if let Some(known) = self.0.get_mut(limit as usize) {
            *known = value;
        }
    }

    /// Returns the value of the limit for a measurement of a group; `None` if the measurement has no limit.
    pub(super) fn of(&self, group: &[u8], measurement: &[u8]) -> Option<f64> {
        SummaryLimit::of(group, measurement).map(|limit| self.get(limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_digits_with_or_without_decimals() {
        for (text, value) in [
            ("0", 0.0),
            ("90", 90.0),
            ("2.5", 2.5),
            ("007", 7.0),
            ("100", 100.0),
            ("100.000", 100.0),
            ("0.0000000000000000000000000000001", 1e-31),
        ] {
            assert_eq!(SummaryLimit::ALL.map(|limit| limit.parse(text)), [Some(value); 4], "{text}");
        }
        for text in ["", " 1", "1 ", "-1", "+1", ".5", "5.", "1.2.3", "1e2", "1,5", "inf", "NaN", "٣", "1_0"]
        {
            assert_eq!(SummaryLimit::ALL.map(|limit| limit.parse(text)), [None; 4], "{text}");
        }
        let parsed = |text: &str| SummaryLimit::ALL.map(|limit| limit.parse(text).is_some());
        assert_eq!(parsed("100.1"), [true, true, false, false]);
        assert_eq!(parsed("999999"), [true, true, false, false]);
        for too_large in ["999999.1", "1000000", &"9".repeat(400)] {
            assert_eq!(parsed(too_large), [false; 4]);
        }
    }

    #[test]
    fn each_limit_is_for_its_measurement_alone() {
        let mut limits = SummaryLimits::default();
        for (limit, value) in SummaryLimit::ALL.into_iter().zip([1.0, 2.0, 3.0, 4.0]) {
            limits.set(limit, value);
        }
        assert_eq!(SummaryLimit::ALL.map(|limit| Some(limits.get(limit))), [1.0, 2.0, 3.0, 4.0].map(Some));
        let cpu = "system_max_cpu_usage_percent";
        for (group, measurement, limit) in [
            ("audio_input", "latency_ms", Some(1.0)),
            ("anything", "jitter_ms", Some(2.0)),
            ("as_output", "avg_loss_percent", Some(3.0)),
            ("as_output", "max_loss_percent", None),
            ("as_output", "latency", None),
            ("cpu_usage", cpu, Some(4.0)),
            ("cpu_usage", "zoom_max_cpu_usage_percent", None),
            ("cpu_usage", "latency_ms", None),
            ("audio_input", cpu, None),
        ] {
            assert_eq!(limits.of(group.as_bytes(), measurement.as_bytes()), limit, "{group} {measurement}");
        }
    }
}
