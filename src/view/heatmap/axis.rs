//! The columns of a heatmap: its minutes, or longer intervals if the meeting has too many.

use jiff::Timestamp;

use crate::view::{select::time_in, summary::Participant};

const MINUTES_A_DAY: i64 = 24 * 60;
/// The most cells of one medium, so that a page of 1,000 participants stays small.
const MOST_CELLS: usize = 120_000;
/// A participant's row has at least this many columns if the meeting is long, however many participants there are.
const LEAST_COLUMNS: usize = 60;
const MOST_COLUMNS: usize = 720;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeAxis {
    /// The minute of the first column, counted from the Unix epoch.
    first: i64,
    pub(crate) columns: usize,
    /// How many minutes a column stands for.
    pub(crate) minutes: usize,
}

impl TimeAxis {
    /// Returns the column of a time; `None` if it is outside.
    pub(super) fn column(&self, time: Timestamp) -> Option<usize> {
        let minutes = usize::try_from(minute(time).checked_sub(self.first)?).ok()?;
        Some(minutes / self.minutes).filter(|column| *column < self.columns)
    }

    /// Returns the time at which a column begins. The column after the last one begins where that ends.
    pub(crate) fn begin_of(&self, column: usize) -> Timestamp {
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

    /// Includes all times that are at most a day away from those of most participants. Otherwise, one sample with a wrong clock
    /// would compress the meeting into one column. Example: 40 participants from 10:00 to 11:00 and one sample of 1970 make 61
    /// columns.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::summary::SummaryLimits;

    /// Returns the axis of participants with these join and leave times, each given without the date.
    fn axis(stays: &[(&str, &str)], participants: usize) -> TimeAxis {
        let mut builder = AxisBuilder::default();
        for (joined, left) in stays {
            let cleaned = format!(r#"{{"join_time":"{joined}Z","leave_time":"{left}Z"}}"#);
            builder.add(&Participant::read(cleaned.as_bytes(), &SummaryLimits::default()).unwrap());
        }
        builder.finish(participants)
    }

    #[test]
    fn the_axis_has_a_column_for_each_minute() {
        let axis = axis(&[("2026-01-15T10:05:59", "2026-01-15T10:06:00"), ("2026-01-15T10:00:30", "x")], 2);
        assert_eq!((axis.columns, axis.minutes), (7, 1));
        let column = |time: &str| axis.column(time.parse().unwrap());
        assert_eq!(column("2026-01-15T10:00:00Z"), Some(0));
        assert_eq!(column("2026-01-15T11:06:59+01:00"), Some(6));
        assert_eq!([column("2026-01-15T09:59:59Z"), column("2026-01-15T10:07:00Z")], [None, None]);
        assert_eq!(axis.begin_of(6).to_string(), "2026-01-15T10:06:00Z");
    }

    #[test]
    fn a_wrong_clock_does_not_compress_the_meeting() {
        let hour = ("2026-01-15T10:00:00", "2026-01-15T11:00:00");
        for wrong in ["1970-01-01T00:00:00", "9999-12-31T23:59:00"] {
            assert_eq!(axis(&[hour, (wrong, wrong), hour], 3).columns, 61, "{wrong}");
        }
        assert_eq!(axis(&[], 0).columns, 0);
    }

    #[test]
    fn the_columns_of_a_long_meeting_are_longer_than_a_minute() {
        let day = ("2026-01-15T00:00:00", "2026-01-15T23:59:00");
        for (participants, expected) in [(1, (720, 2)), (1_000, (120, 12)), (100_000, (60, 24))] {
            let axis = axis(&[day], participants);
            assert_eq!((axis.columns, axis.minutes), expected, "{participants}");
        }
    }
}
