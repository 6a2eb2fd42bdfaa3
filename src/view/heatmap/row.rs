//! One participant's row of a heatmap, with everything that the page shows about this participant.

use jiff::Timestamp;

use super::{
    axis::TimeAxis,
    strip::{Level, Medium, Strip, StripBuilder, raise},
};
use crate::{
    json::Cursor,
    view::{
        select::time_in,
        summary::{
            COMMON_FIELDS, Group, Measurement, Participant, Quality, SHOWN_FIELDS, Statistics, SummaryLimit,
        },
    },
};

#[derive(Debug)]
pub(crate) struct HeatmapRow {
    /// The participant's index in Zoom's list.
    pub(crate) number: usize,
    /// The fields that the participant has: first those that the summary shows, then those that it compares.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// How many samples have no time that can be read. No strip shows them.
    pub(crate) untimed: usize,
    /// How many samples have a time outside the columns. No strip shows them.
    pub(crate) outside: usize,
    pub(crate) quality: Quality,
    /// The measurements above their limits, those with most minutes first.
    pub(crate) reasons: Vec<OverLimit>,
    /// The column in which the participant joined; `None` if the time is unknown or outside the columns.
    pub(crate) joined: Option<usize>,
    /// The column in which the participant left; `None` if the time is unknown or outside the columns.
    pub(crate) left: Option<usize>,
    /// One strip for each medium, in the order of [`Medium::ALL`].
    pub(crate) strips: Vec<Strip>,
    /// The groups that belong to a medium.
    pub(crate) groups: Vec<GroupRow>,
    /// The values of the measurements with limits, column by column.
    pub(crate) series: Vec<Series>,
}

#[derive(Debug)]
pub(crate) struct OverLimit {
    pub(crate) group: String,
    pub(crate) measurement: String,
    pub(crate) minutes_over: usize,
    /// The number of samples in the group.
    pub(crate) of: usize,
    pub(crate) worst: f64,
    /// The time of the first sample with the worst value.
    pub(crate) worst_at: Option<Timestamp>,
}

#[derive(Debug)]
pub(crate) struct GroupRow {
    /// The name of one of the seven groups that belong to a medium.
    pub(crate) name: String,
    /// How many samples have a number in this group.
    pub(crate) samples: usize,
    /// How many samples are above a limit.
    pub(crate) minutes_over: usize,
    /// The statistics of the measurements with limits, in the order of [`SummaryLimit::ALL`].
    pub(crate) statistics: [Option<Statistics>; SummaryLimit::ALL.len()],
}

/// A measurement's values, column by column.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) group: String,
    pub(crate) limit: SummaryLimit,
    /// The greatest value in each column.
    pub(crate) values: Vec<Option<f64>>,
}

impl HeatmapRow {
    /// Returns the value of a field, if the participant has it and it is not empty.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn strip_of_all(&self) -> Option<&Strip> {
        self.strips.first()
    }
}

/// Builds the rows of a heatmap with these columns.
pub(super) struct RowBuilder(pub(super) TimeAxis);

impl RowBuilder {
    pub(super) fn row(&self, number: usize, participant: &Participant<'_>) -> HeatmapRow {
        let times: Vec<_> = participant.times.iter().map(|time| time.and_then(time_in)).collect();
        let columns: Vec<_> = times.iter().map(|time| self.0.column((*time)?)).collect();
        let untimed = times.iter().filter(|time| time.is_none()).count();
        let named = SHOWN_FIELDS.iter().zip(&participant.shown);
        let compared = COMMON_FIELDS.iter().zip(&participant.compared);
        let fields = named.chain(compared).filter_map(|(name, raw)| Some((*name, text_in((*raw)?))));
        HeatmapRow {
            number,
            fields: fields.filter(|(_, text)| !text.trim().is_empty()).collect(),
            untimed,
            outside: columns.iter().filter(|column| column.is_none()).count() - untimed,
            quality: participant.quality(),
            reasons: participant
                .reasons()
                .into_iter()
                .map(|reason| reason_row(participant, reason))
                .collect(),
            joined: self.column(participant.shown_field("join_time")),
            left: self.column(participant.shown_field("leave_time")),
            strips: self.strips(participant, &columns),
            groups: shown_groups(participant).map(group_row).collect(),
            series: self.series(participant, &columns),
        }
    }

    fn column(&self, time: Option<&[u8]>) -> Option<usize> {
        self.0.column(time.and_then(time_in)?)
    }

    fn strips(&self, participant: &Participant<'_>, columns: &[Option<usize>]) -> Vec<Strip> {
        let mut strips = Medium::ALL.map(|medium| (medium, StripBuilder::new(columns, self.0.columns)));
        for group in participant.groups.iter() {
            let media = Medium::of_group(&group.key.name);
            for measurement in group.measurements.iter().filter(|_| !media.is_empty()) {
                let limit = SummaryLimit::of(&group.key.name, &measurement.key.name);
                for (sample, value) in measurement.values() {
                    let level = level(measurement, value);
                    let shown = strips.iter_mut().filter(|(medium, _)| media.contains(medium));
                    shown.for_each(|(_, strip)| strip.add(sample, level, limit.map(|limit| (limit, value))));
                }
            }
        }
        strips.into_iter().map(|(medium, strip)| strip.finish(medium)).collect()
    }

    fn series(&self, participant: &Participant<'_>, columns: &[Option<usize>]) -> Vec<Series> {
        let mut all = Vec::new();
        for group in shown_groups(participant) {
            for measurement in &group.measurements {
                let Some(limit) = SummaryLimit::of(&group.key.name, &measurement.key.name) else { continue };
                let mut values = vec![None; self.0.columns];
                for (sample, value) in measurement.values() {
                    let column = columns.get(sample).copied().flatten();
                    if let Some(slot) = column.and_then(|column| values.get_mut(column)) {
                        raise(slot, Some(value));
                    }
                }
                all.push(Series { group: lossy(&group.key.name), limit, values });
            }
        }
        all
    }
}

fn level(measurement: &Measurement<'_>, value: f64) -> Level {
    match measurement.limit {
        Some(limit) if measurement.is_over(value) => Level::above(value, limit),
        _ => Level::Within,
    }
}

fn reason_row(
    participant: &Participant<'_>,
    (group, measurement): (&Group<'_>, &Measurement<'_>),
) -> OverLimit {
    let worst_at = participant.times.get(measurement.worst_sample).copied().flatten();
    OverLimit {
        group: lossy(&group.key.name),
        measurement: lossy(&measurement.key.name),
        minutes_over: measurement.over,
        of: group.samples.get(),
        worst: measurement.worst,
        worst_at: worst_at.and_then(time_in),
    }
}

fn shown_groups<'p, 'a>(participant: &'p Participant<'a>) -> impl Iterator<Item = &'p Group<'a>> {
    participant.groups.iter().filter(|group| !Medium::of_group(&group.key.name).is_empty())
}

fn group_row(group: &Group<'_>) -> GroupRow {
    let statistics = SummaryLimit::ALL.map(|limit| {
        let mut measurements = group.measurements.iter();
        let limited =
            measurements.find(|each| SummaryLimit::of(&group.key.name, &each.key.name) == Some(limit));
        limited.map(Measurement::statistics)
    });
    GroupRow {
        name: lossy(&group.key.name),
        samples: group.samples.get(),
        minutes_over: group.over.get(),
        statistics,
    }
}

/// Returns a JSON string unescaped, or a number as it is. A lone surrogate becomes U+FFFD.
fn text_in(raw: &[u8]) -> String {
    let text = Cursor::new(raw).text().and_then(|text| text.name());
    lossy(text.as_deref().unwrap_or(raw))
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
