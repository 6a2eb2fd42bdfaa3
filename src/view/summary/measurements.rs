//! The numbers of one participant, by group and measurement.

use super::{
    limits::SummaryLimits,
    measurement::{Measurement, SampleCount, SummaryKey, mean},
    mos, number,
};

/// The groups that stand first, in this order. Others follow in the order in which they first appear.
pub const GROUPS: [&str; 7] =
    ["audio_input", "audio_output", "video_input", "video_output", "as_input", "as_output", "cpu_usage"];
/// The measurements that stand first in a group, in this order. Others follow in the order in which they first appear.
pub const MEASUREMENTS: [&str; 10] = [
    "latency_ms",
    "jitter_ms",
    "avg_loss_percent",
    "max_loss_percent",
    "bitrate_kbps",
    "frame_rate_fps",
    "zoom_min_cpu_usage_percent",
    "zoom_avg_cpu_usage_percent",
    "zoom_max_cpu_usage_percent",
    "system_max_cpu_usage_percent",
];
/// Keys that the service adds to a group in the summary. A measurement from Zoom with such a key is left out.
const OWN_KEYS: [&str; 3] = ["samples", "minutes_over", "mos_estimate"];

/// All groups of one participant.
#[derive(Default)]
pub(in crate::view) struct Groups<'a>(Vec<Group<'a>>);

impl<'a> Groups<'a> {
    /// Returns the group with this key, which is added if it is new.
    pub(super) fn group(&mut self, key: SummaryKey<'a>) -> Option<&mut Group<'a>> {
        let at = self.0.iter().position(|group| group.key.name == key.name).unwrap_or(self.0.len());
        if at == self.0.len() {
            self.0.push(Group::new(key));
        }
        self.0.get_mut(at)
    }

    /// Sorts groups and measurements as the summary shows them, and drops groups without numbers.
    pub(super) fn sort(&mut self) {
        self.0.retain(|group| group.samples.get() > 0);
        self.0.sort_by_key(|group| group.key.rank_in(&GROUPS));
        for group in &mut self.0 {
            group.measurements.sort_by_key(|measurement| measurement.key.rank_in(&MEASUREMENTS));
        }
    }

    pub(in crate::view) fn iter(&self) -> impl Iterator<Item = &Group<'a>> {
        self.0.iter()
    }
}

/// A group of measurements, such as `audio_input`.
pub(in crate::view) struct Group<'a> {
    pub(in crate::view) key: SummaryKey<'a>,
    /// The number of samples that contain at least one number.
    pub(in crate::view) samples: SampleCount,
    /// The number of samples with a measurement above its limit.
    pub(in crate::view) over: SampleCount,
    pub(in crate::view) measurements: Vec<Measurement<'a>>,
    has_mos: bool,
    mos_samples: SampleCount,
    mos: Vec<f64>,
}

impl<'a> Group<'a> {
    fn new(key: SummaryKey<'a>) -> Self {
        let has_mos = matches!(&*key.name, b"audio_input" | b"audio_output");
        let (samples, over, mos_samples) = Default::default();
        Self { key, samples, over, measurements: Vec::new(), has_mos, mos_samples, mos: Vec::new() }
    }

    /// Adds the number that a sample has under `key`. If a sample repeats a key, the first value counts.
    pub(super) fn add(&mut self, key: SummaryKey<'a>, value: f64, sample: usize, limits: &SummaryLimits) {
        self.samples.add(sample);
        let known = self.measurements.iter().position(|measurement| measurement.key.name == key.name);
        let at = known.unwrap_or(self.measurements.len());
        if known.is_none() {
            let limit = limits.of(&self.key.name, &key.name);
            self.measurements.push(Measurement::new(key, limit));
        }
        if let Some(measurement) = self.measurements.get_mut(at)
            && measurement.add(value, sample)
        {
            self.over.add(sample);
        }
    }

    /// Estimates the quality of audio in a sample after all its numbers are added.
    pub(super) fn end_sample(&mut self, sample: usize) {
        let value = |name: &str| {
            let mut measurements = self.measurements.iter();
            let found = measurements.find(|measurement| *measurement.key.name == *name.as_bytes())?;
            found.value_in(sample)
        };
        let estimate =
            || mos::estimate(value("latency_ms")?, value("jitter_ms")?, value("avg_loss_percent")?);
        if self.has_mos
            && let Some(estimate) = estimate()
            && self.mos_samples.add(sample)
        {
            self.mos.push(estimate);
        }
    }

    /// Appends the value of the group in the summary.
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        let counts = [(OWN_KEYS[0], &self.samples), (OWN_KEYS[1], &self.over)];
        for ((key, count), before) in counts.into_iter().zip(["{", ","]) {
            out.extend_from_slice(format!("{before}\"{key}\":{}", count.get()).as_bytes());
        }
        for measurement in &self.measurements {
            if measurement.key.rank_in(&OWN_KEYS) == OWN_KEYS.len() {
                out.push(b',');
                measurement.key.append(out);
                out.push(b':');
                measurement.append(out);
            }
        }
        if let Some(least) = self.mos.iter().copied().reduce(f64::min) {
            out.extend_from_slice(b",\"mos_estimate\":{\"min\":");
            number::append_rounded(least, out);
            out.extend_from_slice(b",\"avg\":");
            number::append_rounded(mean(&self.mos), out);
            out.push(b'}');
        }
        out.push(b'}');
    }
}
