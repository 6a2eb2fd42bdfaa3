//! One medium of one participant over time: which minutes were within the limits, over, or far over.

use crate::view::summary::SummaryLimit;

/// A value of at least this multiple of its limit is far over.
const FAR: f64 = 2.0;

vocabulary! {
    /// The groups that a heatmap shows together. The word is the name of their style.
    pub(crate) enum Medium {
        /// The worst of audio, video and screen sharing.
        All = "all",
        /// `audio_input` and `audio_output`.
        Audio = "audio",
        /// `video_input` and `video_output`.
        Video = "video",
        /// `as_input` and `as_output`.
        Screen = "screen",
        /// `cpu_usage`.
        Cpu = "cpu",
    }
}

impl Medium {
    pub(super) fn of_group(group: &[u8]) -> &'static [Self] {
        match group {
            b"audio_input" | b"audio_output" => &[Self::All, Self::Audio],
            b"video_input" | b"video_output" => &[Self::All, Self::Video],
            b"as_input" | b"as_output" => &[Self::All, Self::Screen],
            b"cpu_usage" => &[Self::Cpu],
            _ => &[],
        }
    }
}

/// How a sample, or the worst of a column, compares with the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Every value is within its limit.
    Within,
    /// A value is above its limit.
    Over,
    /// A value is far above its limit: at least twice as large.
    FarOver,
}

impl Level {
    /// Returns the name of the level's style.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Within => "ok",
            Self::Over => "over",
            Self::FarOver => "far",
        }
    }

    /// Returns the level of a value that is above its limit.
    pub(super) fn above(value: f64, limit: f64) -> Self {
        if value >= FAR * limit { Self::FarOver } else { Self::Over }
    }
}

/// The greatest value of each measurement with a limit, in the order of [`SummaryLimit::ALL`].
pub(in crate::view) type WorstValues = [Option<f64>; SummaryLimit::ALL.len()];

/// Adjacent columns of one level.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Run {
    pub(crate) begin: usize,
    /// The column after the last one.
    pub(crate) end: usize,
    pub(crate) level: Level,
    pub(crate) worst: WorstValues,
}

#[derive(Debug)]
pub(crate) struct Strip {
    pub(crate) medium: Medium,
    /// How many samples were measured, including those outside the columns.
    pub(crate) measured: usize,
    pub(crate) over: usize,
    /// How many of the measured samples have no column.
    pub(crate) not_shown: usize,
    pub(crate) worst: WorstValues,
    /// The measured columns, in runs of one level.
    pub(crate) runs: Vec<Run>,
}

#[derive(Clone, Copy, Default)]
struct StripCell {
    level: Option<Level>,
    worst: WorstValues,
}

pub(super) struct StripBuilder<'c> {
    columns: &'c [Option<usize>],
    levels: Vec<Option<Level>>,
    cells: Vec<StripCell>,
    worst: WorstValues,
}

impl<'c> StripBuilder<'c> {
    pub(super) fn new(columns: &'c [Option<usize>], cells: usize) -> Self {
        let (levels, cells) = (vec![None; columns.len()], vec![StripCell::default(); cells]);
        Self { columns, levels, cells, worst: WorstValues::default() }
    }

    /// Adds a value of a measurement in this sample, with its limit if it has one.
    pub(super) fn add(&mut self, sample: usize, level: Level, limited: Option<(SummaryLimit, f64)>) {
        if let Some(of_sample) = self.levels.get_mut(sample) {
            *of_sample = (*of_sample).max(Some(level));
        }
        let column = self.columns.get(sample).copied().flatten();
        let mut cell = column.and_then(|column| self.cells.get_mut(column));
        if let Some(cell) = &mut cell {
            cell.level = cell.level.max(Some(level));
        }
        let Some((limit, value)) = limited else { return };
        for worst in cell.map(|cell| &mut cell.worst).into_iter().chain([&mut self.worst]) {
            if let Some(worst) = worst.get_mut(limit as usize) {
                raise(worst, Some(value));
            }
        }
    }

    pub(super) fn finish(self, medium: Medium) -> Strip {
        let mut runs: Vec<Run> = Vec::new();
        for (column, StripCell { level, worst }) in self.cells.into_iter().enumerate() {
            let Some(level) = level else { continue };
            match runs.last_mut() {
                Some(run) if run.end == column && run.level == level => {
                    run.end = column + 1;
                    run.worst.iter_mut().zip(worst).for_each(|(worst, value)| raise(worst, value));
                }
                _ => runs.push(Run { begin: column, end: column + 1, level, worst }),
            }
        }
        let measured =
            || self.levels.iter().zip(self.columns).filter_map(|(level, column)| Some(((*level)?, column)));
        let over = measured().filter(|(level, _)| *level > Level::Within).count();
        let not_shown = measured().filter(|(_, column)| column.is_none()).count();
        Strip { medium, measured: measured().count(), over, not_shown, worst: self.worst, runs }
    }
}

pub(super) fn raise(worst: &mut Option<f64>, value: Option<f64>) {
    *worst = (*worst).into_iter().chain(value).reduce(f64::max);
}

impl Strip {
    /// Returns the longest interval of bad columns, as its first column and the column after its last one. A gap of
    /// up to two columns does not end the interval, because a short good time among bad ones hardly helps a
    /// participant.
    pub(crate) fn longest_bad_interval(&self) -> Option<(usize, usize)> {
        const GAP: usize = 2;
        let mut intervals: Vec<(usize, usize)> = Vec::new();
        for run in self.runs.iter().filter(|run| run.level > Level::Within) {
            match intervals.last_mut() {
                Some((_, end)) if run.begin - *end <= GAP => *end = run.end,
                _ => intervals.push((run.begin, run.end)),
            }
        }
        // Reversed, because `max_by_key` returns the last of equal intervals, and the first is wanted.
        intervals.into_iter().rev().max_by_key(|(begin, end)| end - begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strip(levels: &str) -> Strip {
        let columns: Vec<_> = (0..levels.len()).map(Some).collect();
        let mut builder = StripBuilder::new(&columns, levels.len());
        for (column, level) in levels.chars().enumerate() {
            let level = match level {
                '.' => Level::Within,
                'x' => Level::Over,
                'X' => Level::FarOver,
                _ => continue,
            };
            let value = f64::from(u32::try_from(column).unwrap());
            builder.add(column, level, Some((SummaryLimit::Jitter, value)));
        }
        builder.finish(Medium::Audio)
    }

    #[test]
    fn equal_neighbours_are_one_run_with_their_worst_values() {
        let strip = strip("..xx X .");
        let runs: Vec<_> = strip.runs.iter().map(|run| (run.begin, run.end, run.level)).collect();
        let (within, over, far) = (Level::Within, Level::Over, Level::FarOver);
        assert_eq!(runs, [(0, 2, within), (2, 4, over), (5, 6, far), (7, 8, within)]);
        assert_eq!((strip.measured, strip.over), (6, 3));
        assert_eq!(strip.runs[1].worst, [None, Some(3.0), None, None]);
        assert_eq!(strip.worst, [None, Some(7.0), None, None]);
    }

    #[test]
    fn the_worst_value_of_a_column_decides() {
        let mut builder = StripBuilder::new(&[Some(0)], 1);
        builder.add(0, Level::FarOver, Some((SummaryLimit::Latency, 301.0)));
        builder.add(0, Level::Within, Some((SummaryLimit::Latency, 3.0)));
        builder.add(0, Level::Within, None);
        builder.add(7, Level::FarOver, None);
        let strip = builder.finish(Medium::All);
        assert_eq!((strip.measured, strip.runs[0].level), (1, Level::FarOver));
        assert_eq!(strip.runs[0].worst, [Some(301.0), None, None, None]);
    }

    #[test]
    fn samples_without_a_column_are_counted() {
        let mut builder = StripBuilder::new(&[Some(0), None, Some(0), None], 1);
        builder.add(0, Level::Within, Some((SummaryLimit::Latency, 3.0)));
        builder.add(1, Level::Over, Some((SummaryLimit::Latency, 151.0)));
        builder.add(1, Level::Within, Some((SummaryLimit::Jitter, 1.0)));
        builder.add(2, Level::Within, None);
        let strip = builder.finish(Medium::All);
        assert_eq!((strip.measured, strip.over, strip.not_shown), (3, 1, 1));
        assert_eq!(strip.worst, [Some(151.0), Some(1.0), None, None]);
        assert_eq!(
            (strip.runs[0].level, strip.runs[0].worst),
            (Level::Within, [Some(3.0), None, None, None])
        );
    }

    #[test]
    fn a_short_gap_does_not_end_a_bad_interval() {
        for (levels, interval) in [
            ("", None),
            ("...", None),
            ("x...XX", Some((4, 6))),
            ("x..x...xx", Some((0, 4))),
            ("xx...xx", Some((0, 2))),
            ("x  X.x", Some((0, 6))),
        ] {
            assert_eq!(strip(levels).longest_bad_interval(), interval, "{levels}");
        }
    }

    #[test]
    fn twice_the_limit_is_far_over() {
        let levels = [150.1, 299.9, 300.0].map(|value| Level::above(value, 150.0));
        assert_eq!(levels, [Level::Over, Level::Over, Level::FarOver]);
        assert_eq!(Level::above(0.1, 0.0), Level::FarOver);
    }
}
