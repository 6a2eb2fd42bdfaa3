//! The numbers of one participant, by group and measurement.

use std::borrow::Cow;

use super::{limits::SummaryLimits, mos, number};

/// The groups that stand first, in this order. Others follow in the order in which they first appear.
pub const GROUPS: [&str; 7] =
    ["audio_input", "audio_output", "video_input", "video_output", "as_input", "as_output", "cpu_usage"];
/// The measurements that stand first in a group, likewise.
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
/// Keys of a group in the summary, which no measurement of Zoom's may repeat.
const OWN_KEYS: [&str; 3] = ["samples", "minutes_over", "mos_estimate"];

/// A key, unescaped to be compared and as Zoom wrote it to be copied.
pub(super) struct SummaryKey<'a> {
    pub(super) name: Cow<'a, [u8]>,
    /// The text between the quotes.
    pub(super) raw: &'a [u8],
}

impl SummaryKey<'_> {
    fn rank_in(&self, known: &[&str]) -> usize {
        known.iter().position(|known| known.as_bytes() == &*self.name).unwrap_or(known.len())
    }

    pub(super) fn append(&self, out: &mut Vec<u8>) {
        for part in [b"\"", self.raw, b"\""] {
            out.extend_from_slice(part);
        }
    }
}

/// Counts samples, each at most once: JSON may repeat a key.
#[derive(Default)]
pub(super) struct SampleCount {
    count: usize,
    last: Option<usize>,
}

impl SampleCount {
    pub(super) fn get(&self) -> usize {
        self.count
    }

    /// Returns `false` if the sample is already counted.
    fn add(&mut self, sample: usize) -> bool {
        let is_new = self.last.replace(sample) != Some(sample);
        self.count += usize::from(is_new);
        is_new
    }
}

/// All groups of one participant.
#[derive(Default)]
pub(super) struct Groups<'a>(Vec<Group<'a>>);

impl<'a> Groups<'a> {
    /// Returns the group with this key, which may be new.
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

    pub(super) fn iter(&self) -> impl Iterator<Item = &Group<'a>> {
        self.0.iter()
    }
}

/// A group of measurements, as `audio_input`.
pub(super) struct Group<'a> {
    pub(super) key: SummaryKey<'a>,
    /// The samples with a number.
    pub(super) samples: SampleCount,
    /// The samples with a measurement above its limit.
    pub(super) over: SampleCount,
    pub(super) measurements: Vec<Measurement<'a>>,
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

    /// Adds the number that a sample has under `key`. Of equal keys in one sample, the first counts.
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
            found.values.last().copied().filter(|_| found.samples.last == Some(sample))
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

/// A measurement of a group, with its values in all samples.
pub(super) struct Measurement<'a> {
    pub(super) key: SummaryKey<'a>,
    limit: Option<f64>,
    samples: SampleCount,
    values: Vec<f64>,
    /// The number of values above the limit.
    pub(super) over: usize,
    pub(super) worst: f64,
    /// The number of the first sample with the worst value.
    pub(super) worst_sample: usize,
}

impl<'a> Measurement<'a> {
    fn new(key: SummaryKey<'a>, limit: Option<f64>) -> Self {
        let (samples, values) = Default::default();
        Self { key, limit, samples, values, over: 0, worst: f64::NEG_INFINITY, worst_sample: 0 }
    }

    /// Returns whether the value counts and is above the limit.
    fn add(&mut self, value: f64, sample: usize) -> bool {
        if !self.samples.add(sample) {
            return false;
        }
        self.values.push(value);
        if value > self.worst {
            (self.worst, self.worst_sample) = (value, sample);
        }
        let is_over = self.limit.is_some_and(|limit| value > limit);
        self.over += usize::from(is_over);
        is_over
    }

    fn append(&self, out: &mut Vec<u8>) {
        let mut sorted = self.values.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        // The nearest rank: of 20 values the 19th, of 21 the 20th.
        let rank = (95 * sorted.len()).div_ceil(100);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        out.extend_from_slice(b"{\"min\":");
        number::append(at(0), out);
        out.extend_from_slice(b",\"avg\":");
        number::append_rounded(mean(&self.values), out);
        out.extend_from_slice(b",\"p95\":");
        number::append(at(rank - 1), out);
        out.extend_from_slice(b",\"max\":");
        number::append(at(sorted.len() - 1), out);
        if self.limit.is_some() {
            out.extend_from_slice(format!(",\"over\":{}", self.over).as_bytes());
        }
        out.push(b'}');
    }
}

/// Returns the mean of a list that is not empty.
#[expect(clippy::cast_precision_loss, reason = "a participant has fewer than 2^52 samples")]
fn mean(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let sum: f64 = values.iter().sum();
    // The sum of numbers near the largest f64 can be infinite, but not that of their parts of the mean.
    if sum.is_finite() { sum / count } else { values.iter().map(|value| value / count).sum() }
}
