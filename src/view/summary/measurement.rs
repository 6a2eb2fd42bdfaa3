//! One measurement of a group, with its values in all samples of a participant.

use std::borrow::Cow;

use super::number;

/// A key, unescaped to be compared and as Zoom wrote it to be copied.
pub(in crate::view) struct SummaryKey<'a> {
    pub(in crate::view) name: Cow<'a, [u8]>,
    /// The text between the quotes.
    pub(super) raw: &'a [u8],
}

impl SummaryKey<'_> {
    pub(super) fn rank_in(&self, known: &[&str]) -> usize {
        known.iter().position(|known| known.as_bytes() == &*self.name).unwrap_or(known.len())
    }

    pub(super) fn append(&self, out: &mut Vec<u8>) {
        for part in [b"\"", self.raw, b"\""] {
            out.extend_from_slice(part);
        }
    }
}

/// Counts samples that are added in order, each at most once: JSON may repeat a key.
#[derive(Default)]
pub(in crate::view) struct SampleCount {
    count: usize,
    last: Option<usize>,
}

impl SampleCount {
    pub(in crate::view) fn get(&self) -> usize {
        self.count
    }

    /// Returns `false` if the sample is already counted.
    pub(super) fn add(&mut self, sample: usize) -> bool {
        let is_new = self.last.replace(sample) != Some(sample);
        self.count += usize::from(is_new);
        is_new
    }
}

/// A measurement of a group, with its values in all samples.
pub(in crate::view) struct Measurement<'a> {
    pub(in crate::view) key: SummaryKey<'a>,
    /// The limit that a minute must not exceed; `None` if this measurement has no limit.
    pub(in crate::view) limit: Option<f64>,
    samples: SampleCount,
    values: Vec<f64>,
    /// The number of the sample that each value is from.
    value_samples: Vec<usize>,
    /// The number of values above the limit.
    pub(in crate::view) over: usize,
    pub(in crate::view) worst: f64,
    /// The number of the first sample with the worst value.
    pub(in crate::view) worst_sample: usize,
}

/// The least value, the mean, the 95th percentile by nearest rank, and the greatest value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Statistics {
    /// The least value.
    pub min: f64,
    /// The mean.
    pub avg: f64,
    /// The 95th percentile by nearest rank: of 20 values the 19th, of 21 the 20th.
    pub p95: f64,
    /// The greatest value.
    pub max: f64,
}

impl<'a> Measurement<'a> {
    pub(super) fn new(key: SummaryKey<'a>, limit: Option<f64>) -> Self {
        let (samples, values, value_samples) = Default::default();
        let (over, worst, worst_sample) = (0, f64::NEG_INFINITY, 0);
        Self { key, limit, samples, values, value_samples, over, worst, worst_sample }
    }

    /// Adds a value, unless the sample already has one. Returns whether the value was added and is above the limit.
    pub(super) fn add(&mut self, value: f64, sample: usize) -> bool {
        if !self.samples.add(sample) {
            return false;
        }
        self.values.push(value);
        self.value_samples.push(sample);
        if value > self.worst {
            (self.worst, self.worst_sample) = (value, sample);
        }
        let is_over = self.is_over(value);
        self.over += usize::from(is_over);
        is_over
    }

    /// Returns whether a minute with this value is over.
    pub(in crate::view) fn is_over(&self, value: f64) -> bool {
        self.limit.is_some_and(|limit| value > limit)
    }

    /// Returns the value in this sample; `None` unless the sample is the last one with a value.
    pub(super) fn value_in(&self, sample: usize) -> Option<f64> {
        self.values.last().copied().filter(|_| self.value_samples.last() == Some(&sample))
    }

    /// Returns each value with the number of its sample.
    pub(in crate::view) fn values(&self) -> impl Iterator<Item = (usize, f64)> {
        self.value_samples.iter().copied().zip(self.values.iter().copied())
    }

    pub(in crate::view) fn statistics(&self) -> Statistics {
        let mut sorted = self.values.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let rank = (95 * sorted.len()).div_ceil(100);
        let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
        Statistics { min: at(0), avg: mean(&self.values), p95: at(rank - 1), max: at(sorted.len() - 1) }
    }

    pub(super) fn append(&self, out: &mut Vec<u8>) {
        let Statistics { min, avg, p95, max } = self.statistics();
        out.extend_from_slice(b"{\"min\":");
        number::append(min, out);
        out.extend_from_slice(b",\"avg\":");
        number::append_rounded(avg, out);
        out.extend_from_slice(b",\"p95\":");
        number::append(p95, out);
        out.extend_from_slice(b",\"max\":");
        number::append(max, out);
        if self.limit.is_some() {
            out.extend_from_slice(format!(",\"over\":{}", self.over).as_bytes());
        }
        out.push(b'}');
    }
}

/// Returns the mean of a list that is not empty.
#[expect(clippy::cast_precision_loss, reason = "a participant has fewer than 2^52 samples")]
pub(super) fn mean(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let sum: f64 = values.iter().sum();
    // The sum of numbers near the largest f64 can be infinite. If each is divided first, the sum is finite.
    if sum.is_finite() { sum / count } else { values.iter().map(|value| value / count).sum() }
}
