//! One participant on a meeting's page.

use super::meeting_words::{
    field, figure, interval_text, limit_attribute, medium, name, shown, time_of_day, worst_values,
};
use crate::view::{
    heatmap::{GroupRow, HeatmapRow, Level, OverLimit, Run, Series, Strip, TimeAxis},
    summary::Statistics,
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
/// How many bad intervals the title of a strip lists.
const LISTED: usize = 6;

pub(super) struct RowView<'h> {
    pub(super) number: usize,
    pub(super) name: String,
    pub(super) quality: &'static str,
    pub(super) facts: Vec<(&'static str, String)>,
    pub(super) reasons: Vec<String>,
    row: &'h HeatmapRow,
    axis: TimeAxis,
}

/// A strip as SVG paths. A column is one unit wide; the height shows the level, too, for print and the colour-blind.
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
    pub(super) fn new(row: &'h HeatmapRow, axis: TimeAxis) -> Self {
        let facts = FACTS.into_iter().filter_map(|name| Some((field(name), shown(row.field(name)?))));
        let mut facts: Vec<_> = facts.collect();
        if row.not_shown > 0 {
            facts.push(("Minutes without a usable time, not in the strip", row.not_shown.to_string()));
        }
        let reasons = row.reasons.iter().map(reason).collect();
        Self { number: row.number, name: name(row), quality: row.quality.as_str(), facts, reasons, row, axis }
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
                let title =
                    format!("{}: {}", interval_text(self.axis, run.begin, run.end), worst_values(&run.worst));
                bad.push(RunView { level: run.level.as_str(), path: bar(run), title });
            }
        }
        let (stay, marks) = self.stay(strip);
        StripView { medium: strip.medium.as_str(), title: self.title(strip), stay, within, bad, marks }
    }

    /// Draws a line from joining to leaving, and a mark at both.
    fn stay(&self, strip: &Strip) -> (String, String) {
        let measured = || (strip.runs.first().map(|run| run.begin), strip.runs.last().map(|run| run.end));
        let (first, last) = measured();
        let left = self.row.left.map(|left| left.max(last.unwrap_or_default()).min(self.axis.columns));
        let (Some(begin), end) = (self.row.joined.or(first), left.unwrap_or(self.axis.columns)) else {
            return Default::default();
        };
        let stay = if end > begin { format!("M{begin} 11H{end}v1H{begin}z") } else { String::new() };
        let marks = self.row.joined.into_iter().chain(left).map(|column| format!("M{column} 0v12"));
        (stay, marks.collect())
    }

    fn title(&self, strip: &Strip) -> String {
        let name = medium(strip.medium);
        if strip.measured == 0 {
            return format!("{name}: not measured");
        }
        let of = match self.axis.minutes {
            1 => "minutes".to_owned(),
            minutes => format!("intervals of {minutes} minutes"),
        };
        let over = format!("{name}: {} of {} {of} over a limit", strip.over, strip.measured);
        let bad = strip.runs.iter().filter(|run| run.level > Level::Within);
        let mut intervals: Vec<_> =
            bad.map(|run| interval_text(self.axis, run.begin, run.end)).take(LISTED + 1).collect();
        if intervals.len() > LISTED {
            intervals.truncate(LISTED);
            intervals.push("and more".to_owned());
        }
        let when = if intervals.is_empty() { String::new() } else { format!(": {}", intervals.join(", ")) };
        format!("{over}{when}; at most {}", worst_values(&strip.worst()))
    }
}

/// Returns the rectangle of a run: from the bottom up, higher for worse levels.
fn bar(run: &Run) -> String {
    let (begin, end) = (run.begin, run.end);
    let top = match run.level {
        Level::Within => 8,
        Level::Over => 4,
        Level::FarOver => 0,
    };
    format!("M{begin} {top}H{end}V12H{begin}z")
}

fn reason(reason: &OverLimit) -> String {
    let OverLimit { group, measurement, minutes_over, of, worst, worst_at } = reason;
    let at = worst_at.map(|time| format!(" at {}", time_of_day(time))).unwrap_or_default();
    let (group, measurement) = (shown(group), shown(measurement));
    format!("{group} {measurement}: {minutes_over} of {of} minutes over, worst {}{at}", figure(*worst))
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
