//! The columns of a heatmap: its minutes, or longer intervals if the meeting has too many.

use jiff::Timestamp;

use crate::view::{select::time_in, summary::Participant};

const MINUTES_A_DAY: i64 = 24 * 60;
/// The most cells of one medium, so that a page of 1,000 participants stays small.
const MOST_CELLS: usize = 120_000;
/// A participant's row has at least this many columns if the meeting is long, however many participants there are.
const LEAST_COLUMNS: usize = 60;
const MOST_COLUMNS: usize = 720;

/// The columns of a heatmap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeAxis {
    /// The minute of the first column, counted from the Unix epoch.
    first: i64,
    /// How many columns there are.
    pub columns: usize,
    /// How many minutes a column stands for.
    pub minutes: usize,
}

impl TimeAxis {
    /// Returns the column of a time; `None` if it is outside.
    pub(super) fn column(&self, time: Timestamp) -> Option<usize> {
        let minutes = usize::try_from(minute(time).checked_sub(self.first)?).ok()?;
        Some(minutes / self.minutes).filter(|column| *column < self.columns)
    }

    /// Returns the time at which a column begins. The column after the last one begins where that ends.
    #[must_use]
    pub fn begin_of(&self, column: usize) -> Timestamp {
        let minutes = i64::try_from(column.saturating_mul(self.minutes)).unwrap_or_default();
        Timestamp::from_second(self.first.saturating_add(minutes).saturating_mul(60)).unwrap_or_default()
    }
}

/// Collects the times of all participants.
#[derive(Default)]
pub(super) struct AxisBuilder {
    firsts: Vec<i64>,
    lasts: Vec<i64>,
}

impl AxisBuilder {
    pub(super) fn add(&mut self, participant: &Participant<'_>) {
        let stay = [participant.join_time(), participant.leave_time()];
        let times = participant.times.iter().copied().chain(stay);
        let minutes = times.flatten().filter_map(time_in).map(minute);
        let range = minutes.fold(None, |range: Option<(i64, i64)>, minute| {
            let (first, last) = range.unwrap_or((minute, minute));
            Some((first.min(minute), last.max(minute)))
        });
        if let Some((first, last)) = range {
            self.firsts.push(first);
            self.lasts.push(last);
        }
    }

    /// Includes all times that are at most a day away from those of most participants. A wrong clock would otherwise
    /// compress the meeting into one column: 40 participants from 10:00 to 11:00 and one sample of 1970 are 61 columns.
    pub(super) fn finish(mut self, participants: usize) -> TimeAxis {
        self.firsts.sort_unstable();
        let Some(usual) = self.firsts.get(self.firsts.len() / 2).copied() else {
            return TimeAxis { first: 0, columns: 0, minutes: 1 };
        };
        let is_near = |minute: &i64| minute.abs_diff(usual) <= MINUTES_A_DAY.unsigned_abs();
        let first = self.firsts.iter().copied().filter(is_near).min().unwrap_or(usual);
        let last = self.lasts.iter().copied().filter(is_near).max().unwrap_or(usual);
        let span = usize::try_from(last - first).unwrap_or_default() + 1;
        let most = (MOST_CELLS / participants.max(1)).clamp(LEAST_COLUMNS, MOST_COLUMNS);
        let minutes = span.div_ceil(most);
        TimeAxis { first, columns: span.div_ceil(minutes), minutes }
    }
}

fn minute(time: Timestamp) -> i64 {
    time.as_second().div_euclid(60)
}
