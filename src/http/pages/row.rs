//! One participant on a meeting's page.

use jiff::Timestamp;

use super::meeting_words::{
    field, figure, interval_text, limit_attribute, measurement_words, medium, name, shown, time_words,
    worst_values,
};
use crate::view::{
    heatmap::{GroupRow, Heatmap, HeatmapRow, Level, OverLimit, Run, Series, Strip, TimeAxis},
    summary::{Statistics, SummaryLimit, SummaryLimits},
};

/// The fields that the page shows; the others are in the downloads.
const FACTS: [&str; 11] = [
    "join_time",
    "leave_time",
    "network_type",
    "connection_type",
    "location",
    "data_center",
    "device",
    "os",
    "version",
    "email",
    "user_id",
];
/// The maximum number of bad intervals that the title of a strip lists.
const LISTED: usize = 4;

pub(super) struct RowView<'h> {
    pub(super) number: usize,
    pub(super) name: String,
    pub(super) quality: &'static str,
    pub(super) facts: Vec<(&'static str, String)>,
    pub(super) reasons: Vec<String>,
    row: &'h HeatmapRow,
    axis: TimeAxis,
    limits: &'h SummaryLimits,
}

/// A strip as SVG paths. A column is one unit wide. The height also shows the level, for print and for colour-blind
/// readers.
pub(super) struct StripView {
    pub(super) medium: &'static str,
    pub(super) title: String,
    pub(super) stay: String,
    pub(super) within: String,
    pub(super) bad: Vec<RunView>,
    pub(super) marks: String,
}

pub(super) struct RunView {
    pub(super) level: &'static str,
    pub(super) path: String,
    pub(super) title: String,
}

pub(super) struct GroupView<'h> {
    pub(super) name: &'h str,
    pub(super) samples: usize,
    pub(super) over: usize,
    pub(super) figures: [String; 4],
}

impl<'h> RowView<'h> {
    pub(super) fn new(row: &'h HeatmapRow, heatmap: &'h Heatmap) -> Self {
        let (axis, limits) = (heatmap.axis, &heatmap.limits);
        let facts = FACTS.into_iter().filter_map(|name| Some((field(name), fact(row.field(name)?))));
        let mut facts: Vec<_> = facts.collect();
        for (words, count) in [
            ("Minutes without a usable time, not in the strip", row.untimed),
            ("Minutes outside the shown time, not in the strip", row.outside),
        ] {
            facts.extend((count > 0).then(|| (words, count.to_string())));
        }
        let reasons = row.reasons.iter().map(|over| reason(over, limits, axis)).collect();
        Self {
            number: row.number,
            name: name(row),
            quality: row.quality.as_str(),
            facts,
            reasons,
            row,
            axis,
            limits,
        }
    }

    pub(super) fn strips(&self) -> impl Iterator<Item = StripView> {
        self.row.strips.iter().map(|strip| self.strip(strip))
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = GroupView<'h>> {
        self.row.groups.iter().map(group)
    }

    pub(super) fn has_groups(&self) -> bool {
        !self.row.groups.is_empty()
    }

    /// Returns the values for the script: for each line its group, its measurement, its first column, and its values.
    pub(super) fn lines(&self) -> String {
        let lines = self.row.series.iter().filter_map(line);
        lines.collect::<Vec<_>>().join(";")
    }

    fn strip(&self, strip: &Strip) -> StripView {
        let (mut within, mut bad) = (String::new(), Vec::new());
        for run in &strip.runs {
            if run.level == Level::Within {
                within.push_str(&bar(run));
            } else {
                let interval = interval_text(self.axis, run.begin, run.end);
                let title = format!("{interval} {}", worst_values(&self.over(run)));
                bad.push(RunView { level: run.level.as_str(), path: bar(run), title });
            }
        }
        let (stay, marks) = self.stay(strip);
        StripView { medium: strip.medium.as_str(), title: self.title(strip), stay, within, bad, marks }
    }

    /// Returns the values of a run that are above their limits.
    fn over(&self, run: &Run) -> [Option<f64>; SummaryLimit::ALL.len()] {
        let mut over = run.worst;
        for (limit, value) in SummaryLimit::ALL.into_iter().zip(&mut over) {
            *value = value.filter(|value| *value > self.limits.get(limit));
        }
        over
    }

    /// Draws a line from joining to leaving, and a mark at both.
    fn stay(&self, strip: &Strip) -> (String, String) {
        let measured = || (strip.runs.first().map(|run| run.begin), strip.runs.last().map(|run| run.end));
        let (first, last) = measured();
        let left = self.row.left.map(|left| left.max(last.unwrap_or_default()).min(self.axis.columns));
        let Some(begin) = self.row.joined.or(first) else { return Default::default() };
        // Without a `leave_time`, the participant is still there. Otherwise the time may be outside the columns.
        let is_there = self.row.field("leave_time").is_none();
        let end = left.unwrap_or(if is_there { self.axis.columns } else { last.unwrap_or_default() });
        let stay = if end > begin { format!("M{begin} 11.5H{end}") } else { String::new() };
        let marks = self.row.joined.into_iter().chain(left).map(|column| format!("M{column} 0v12"));
        (stay, marks.collect())
    }

    fn title(&self, strip: &Strip) -> String {
        let name = medium(strip.medium);
        if strip.measured == 0 {
            return format!("{name}: not measured");
        }
        let not_shown = match strip.not_shown {
            0 => String::new(),
            count => format!(" ({count} not shown)"),
        };
        let over = format!("{name}: {} of {} minutes over a limit{not_shown}", strip.over, strip.measured);
        let bad = strip.runs.iter().filter(|run| run.level > Level::Within);
        let mut intervals: Vec<_> =
            bad.map(|run| interval_text(self.axis, run.begin, run.end)).take(LISTED + 1).collect();
        if intervals.len() > LISTED {
            intervals.truncate(LISTED);
            intervals.push("and more".to_owned());
        }
        let when = if intervals.is_empty() { String::new() } else { format!(": {}", intervals.join(", ")) };
        format!("{over}{when}; at most {}", worst_values(&strip.worst))
    }
}

/// Returns the line of a run as an SVG path. The style sheet draws worse levels with wider lines. The middle of a
/// wider line is higher, so that the lower edges of all lines are at the bottom.
fn bar(run: &Run) -> String {
    let middle = match run.level {
        Level::Within => 10,
        Level::Over => 8,
        Level::FarOver => 6,
    };
    format!("M{} {middle}H{}", run.begin, run.end)
}

/// Formats a field's value for the page: a time with its date, and any other text without its control characters.
fn fact(value: &str) -> String {
    let time = value.parse::<Timestamp>();
    time.map_or_else(|_| shown(value), |time| time.strftime("%-d %B %Y, %H:%M:%S").to_string())
}

fn reason(over: &OverLimit, limits: &SummaryLimits, axis: TimeAxis) -> String {
    let OverLimit { group, measurement, minutes_over, of, worst, worst_at } = over;
    let at = worst_at.map(|time| format!(" at {}", time_words(axis, time))).unwrap_or_default();
    let limit = SummaryLimit::of(group.as_bytes(), measurement.as_bytes()).unwrap_or(SummaryLimit::Latency);
    let ((name, unit), value) = (measurement_words(limit), figure(limits.get(limit)));
    let (group, worst) = (shown(group), figure(*worst));
    format!(
        "{group}: {name} above {value} {unit} in {minutes_over} of {of} minutes, at worst {worst} {unit}{at}"
    )
}

fn group(row: &GroupRow) -> GroupView<'_> {
    let figures = row.statistics.map(|statistics| {
        statistics.map_or_else(String::new, |Statistics { avg, p95, max, .. }| {
            format!("{} / {} / {}", figure(avg), figure(p95), figure(max))
        })
    });
    GroupView { name: &row.name, samples: row.samples, over: row.minutes_over, figures }
}

fn line(series: &Series) -> Option<String> {
    let first = series.values.iter().position(Option::is_some)?;
    let last = series.values.iter().rposition(Option::is_some)?;
    let values = series.values.get(first..=last)?.iter();
    let values = values.map(|value| value.map_or_else(String::new, figure)).collect::<Vec<_>>();
    Some(format!("{},{},{first},{}", series.group, limit_attribute(series.limit), values.join(",")))
}
