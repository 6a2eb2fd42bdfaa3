//! The columns of a heatmap: its minutes, or longer intervals if the meeting has too many.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::view::{select::time_in, summary::Participant};

const MINUTES_A_DAY: i64 = 24 * 60;
/// The longest gap between samples of one meeting, in minutes. A longer gap separates the meeting from another
/// meeting, or from samples with a wrong clock. Somebody is measured in nearly every minute of a meeting, and two
/// daily meetings are normally more than 12 hours apart.
const LONGEST_GAP: i64 = 12 * 60;
/// The maximum number of different hours that are remembered: about six weeks.
const MOST_HOURS: usize = 1_024;
/// The maximum number of cells of one medium, unless [`LEAST_COLUMNS`] requires more. It keeps a page of 1,000
/// participants small.
const MOST_CELLS: usize = 120_000;
/// A meeting may always have this many columns, however many participants it has.
const LEAST_COLUMNS: usize = 60;
const MOST_COLUMNS: usize = 720;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeAxis {
    /// The minute of the first column, counted from the Unix epoch.
    first: i64,
    pub(crate) columns: usize,
    /// The number of minutes that a column stands for.
    pub(crate) minutes: usize,
}

impl TimeAxis {
    /// Returns the column of a time; `None` if the time is outside the axis.
    pub(crate) fn column(&self, time: Timestamp) -> Option<usize> {
        let minutes = usize::try_from(minute(time).checked_sub(self.first)?).ok()?;
        Some(minutes / self.minutes).filter(|column| *column < self.columns)
    }

    /// Returns whether the axis is longer than a day, so that a time of day can be ambiguous.
    pub(crate) fn is_longer_than_a_day(&self) -> bool {
        i64::try_from(self.columns.saturating_mul(self.minutes)).is_ok_and(|minutes| minutes > MINUTES_A_DAY)
    }

    /// Returns the time at which a column begins. The column after the last one begins where the last one ends.
    pub(crate) fn begin_of(&self, column: usize) -> Timestamp {
        let minutes = i64::try_from(column.saturating_mul(self.minutes)).unwrap_or_default();
        Timestamp::from_second(self.first.saturating_add(minutes).saturating_mul(60)).unwrap_or_default()
    }
}

/// Collects the times of all participants.
#[derive(Default)]
pub(super) struct AxisBuilder {
    samples: Hours,
    stays: Hours,
}

impl AxisBuilder {
    pub(super) fn add(&mut self, participant: &Participant<'_>) {
        let stay = ["join_time", "leave_time"].map(|name| participant.shown_field(name));
        for (hours, times) in [(&mut self.samples, &participant.times[..]), (&mut self.stays, &stay)] {
            let minutes = times.iter().copied().flatten().filter_map(time_in).map(minute);
            minutes.for_each(|minute| hours.add(minute));
        }
    }

    /// Returns an axis that covers the range with the most samples, and the times of joining and leaving near it. A
    /// sample with a wrong clock would otherwise compress the meeting into one column. For example, samples from
    /// 10:00 to 11:00 and one sample from 1970 give 61 columns.
    ///
    /// Without samples, the times of joining and leaving decide.
    pub(super) fn finish(self, participants: usize) -> TimeAxis {
        let measured = self.samples.fullest_range(LONGEST_GAP);
        let measured = measured.map(|range| self.stays.widen(range));
        let Some((first, last)) = measured.or_else(|| self.stays.fullest_range(MINUTES_A_DAY)) else {
            return TimeAxis { first: 0, columns: 0, minutes: 1 };
        };
        let span = usize::try_from(last - first).unwrap_or_default() + 1;
        let most = (MOST_CELLS / participants.max(1)).clamp(LEAST_COLUMNS, MOST_COLUMNS);
        let minutes = span.div_ceil(most);
        TimeAxis { first, columns: span.div_ceil(minutes), minutes }
    }
}

/// Counts times by hour in bounded memory. A meeting of a day takes about 24 entries, however many participants it has.
#[derive(Default)]
struct Hours(BTreeMap<i64, Hour>);

struct Hour {
    times: usize,
    first: i64,
    last: i64,
}

impl Hours {
    /// Adds a time. If there is no room for its hour, every known hour loses one time instead (Misra and Gries,
    /// 1982). An hour with more than 1/1,024 of all times therefore remains, whatever the order of the times.
    fn add(&mut self, minute: i64) {
        let key = minute.div_euclid(60);
        if self.0.len() == MOST_HOURS && !self.0.contains_key(&key) {
            self.0.retain(|_, hour| {
                hour.times -= 1;
                hour.times > 0
            });
            return;
        }
        let hour = self.0.entry(key).or_insert(Hour { times: 0, first: minute, last: minute });
        hour.times += 1;
        (hour.first, hour.last) = (hour.first.min(minute), hour.last.max(minute));
    }

    /// Returns the first and the last minute of the range with the most times and no gap longer than `longest_gap`.
    /// Of several such ranges, returns the latest.
    fn fullest_range(&self, longest_gap: i64) -> Option<(i64, i64)> {
        let mut ranges: Vec<Hour> = Vec::new();
        for &Hour { times, first, last } in self.0.values() {
            match ranges.last_mut() {
                Some(range) if first - range.last <= longest_gap => {
                    range.times += times;
                    range.last = last;
                }
                _ => ranges.push(Hour { times, first, last }),
            }
        }
        ranges.iter().max_by_key(|range| range.times).map(|range| (range.first, range.last))
    }

    /// Widens the range to the times that are at most [`LONGEST_GAP`] away from it.
    fn widen(&self, (first, last): (i64, i64)) -> (i64, i64) {
        let times = self.0.values().flat_map(|hour| [hour.first, hour.last]);
        let near = times.filter(|time| (first - LONGEST_GAP..=last + LONGEST_GAP).contains(time));
        near.fold((first, last), |(first, last), time| (first.min(time), last.max(time)))
    }
}

fn minute(time: Timestamp) -> i64 {
    time.as_second().div_euclid(60)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::view::summary::SummaryLimits;

    /// Returns the axis of participants with these join and leave times, each given without its final `Z`.
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

    /// Returns the axis of one participant with samples in these minutes.
    fn axis_of(minutes: impl IntoIterator<Item = i64>) -> TimeAxis {
        let mut builder = AxisBuilder::default();
        minutes.into_iter().for_each(|minute| builder.samples.add(minute));
        builder.finish(1)
    }

    /// The minute of 2026-01-15T10:00:00Z.
    const TEN: i64 = 29_474_520;

    #[test]
    fn each_length_of_a_meeting_is_shown_whole() {
        for (hours, columns) in [(24, 720), (25, 500), (30, 600), (36, 720), (49, 588), (60, 720), (200, 706)]
        {
            let axis = axis_of(TEN..TEN + hours * 60);
            assert_eq!((axis.first, axis.columns), (TEN, columns), "{hours}");
            assert!(axis.is_longer_than_a_day() == (hours > 24), "{hours}");
        }
    }

    #[test]
    fn the_range_with_most_samples_is_shown() {
        let days = 3 * MINUTES_A_DAY;
        for (earlier, later, first) in [(30, 30, TEN + days), (31, 30, TEN), (30, 31, TEN + days)] {
            let axis = axis_of((TEN..TEN + earlier).chain(TEN + days..TEN + days + later));
            assert_eq!((axis.first, axis.columns), (first, usize::try_from(earlier.max(later)).unwrap()));
        }
    }

    #[test]
    fn joining_and_leaving_are_shown_if_they_are_near_samples() {
        for (stay, expected) in [
            ([TEN - 5, TEN + 40], (TEN - 5, 46)),
            ([TEN - LONGEST_GAP - 1, TEN + 29 + LONGEST_GAP + 1], (TEN, 30)),
            ([0, TEN + 2], (TEN, 30)),
        ] {
            let mut builder = AxisBuilder::default();
            (TEN..TEN + 30).for_each(|minute| builder.samples.add(minute));
            for minute in stay {
                builder.stays.add(minute);
            }
            let axis = builder.finish(1);
            assert_eq!((axis.first, axis.columns), expected, "{stay:?}");
        }
    }

    #[test]
    fn wrong_clocks_in_any_number_of_hours_take_bounded_memory() {
        let mut hours = Hours::default();
        for wrong in 0..100_000 {
            hours.add(wrong * 60 * 100);
            if wrong % 500 == 0 {
                (TEN..TEN + 30).for_each(|minute| hours.add(minute));
            }
        }
        assert!(hours.0.len() <= MOST_HOURS);
        assert_eq!(hours.fullest_range(LONGEST_GAP), Some((TEN, TEN + 29)));
    }

    proptest! {
        #[test]
        fn outliers_do_not_change_the_axis(
            length in 1..5_000_i64,
            outliers in vec((any::<bool>(), 1..4_000_000_000_i64), 0..20),
            participants in 0..2_000_usize,
            rotation: usize,
        ) {
            let outliers = outliers.into_iter().take(usize::try_from(length).unwrap() - 1);
            let outliers: Vec<_> = outliers.map(|(is_early, distance)| {
                let distance = LONGEST_GAP + distance;
                if is_early { TEN - distance } else { TEN + length - 1 + distance }
            }).collect();
            let mut minutes: Vec<_> = (TEN..TEN + length).chain(outliers.iter().copied()).collect();
            let middle = rotation % minutes.len();
            minutes.rotate_left(middle);
            let mut builder = AxisBuilder::default();
            for minute in &minutes {
                builder.samples.add(*minute);
            }
            let axis = builder.finish(participants);
            prop_assert_eq!(axis.first, TEN);
            let shown = axis.columns * axis.minutes;
            prop_assert!((length..length + i64::try_from(axis.minutes).unwrap()).contains(&i64::try_from(shown).unwrap()));
            prop_assert!(axis.columns <= MOST_COLUMNS);
            prop_assert!(axis.columns * participants <= MOST_CELLS.max(LEAST_COLUMNS * participants));
            for minute in minutes {
                let column = axis.column(Timestamp::from_second(minute * 60).unwrap());
                let expected = (!outliers.contains(&minute)).then(|| usize::try_from(minute - TEN).unwrap() / axis.minutes);
                prop_assert_eq!(column, expected);
            }
        }
    }
}
