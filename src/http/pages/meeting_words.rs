//! The sentences of a meeting's page.

use jiff::Timestamp;

use crate::view::{
    heatmap::{Heatmap, HeatmapRow, Medium, Strip, TimeAxis},
    summary::{CommonValue, Quality, SummaryLimit, SummaryLimits},
};

/// Numbers of at least this size are shown in scientific notation (`1.5e9`), because all their digits would not fit
/// into the page.
const LONG: f64 = 1e9;

/// The quality of the meeting, in one sentence.
pub(super) struct MeetingVerdict {
    pub(super) affected: usize,
    pub(super) all: usize,
    /// The most affected participant; `None` if no participant was affected.
    pub(super) worst: Option<Worst>,
    pub(super) common: Option<String>,
    /// The sentence for a meeting without affected participants.
    pub(super) fine: String,
}

/// The most affected participant.
pub(super) struct Worst {
    pub(super) name: String,
    pub(super) interval: Option<String>,
}

impl MeetingVerdict {
    pub(super) fn of(heatmap: &Heatmap) -> Self {
        let (affected, all) = (heatmap.affected().count(), heatmap.rows.len());
        let worst = heatmap.affected().next().map(|row| {
            let interval = row.strip_of_all().and_then(Strip::longest_bad_interval);
            Worst {
                name: name(row),
                interval: interval.map(|(begin, end)| interval_text(heatmap.axis, begin, end)),
            }
        });
        let unknown = heatmap.count(Quality::Unknown);
        let fine = match (all, unknown) {
            (0, _) => "Zoom lists no participants.".to_owned(),
            (1, 1) => "Zoom has not measured the only participant.".to_owned(),
            (all, unknown) if all == unknown => {
                format!("Zoom has measured none of the {all} participants.")
            }
            (1, 0) => "The only participant did not have a bad time.".to_owned(),
            (all, 0) => format!("None of {all} had a bad time."),
            (all, 1) => format!("None of {all} had a bad time; 1 was not measured."),
            (all, unknown) => format!("None of {all} had a bad time; {unknown} were not measured."),
        };
        Self { affected, all, worst, common: common(&heatmap.common, affected), fine }
    }
}

/// Describes the value that the largest number of affected participants share: "all on Wifi", or "3 of them in Berlin".
fn common(values: &[CommonValue], affected: usize) -> Option<String> {
    let best = values.iter().max_by_key(|value| value.affected)?;
    // If several fields have the same number of participants, the first is used; `max_by_key` would return the last.
    let best = values.iter().find(|value| value.affected == best.affected)?;
    let who = if best.affected == affected { "all".to_owned() } else { format!("{} of them", best.affected) };
    let how = match best.field {
        "network_type" | "os" | "device" => "on",
        "location" => "in",
        "data_center" => "through",
        "version" => "with version",
        _ => "connected by",
    };
    Some(format!("{who} {how} {}", shown(&best.value)))
}

/// Returns how many participants have each quality: "2 bad, 1 poor, 38 good".
pub(super) fn counts(heatmap: &Heatmap) -> String {
    let qualities = [Quality::Bad, Quality::Poor, Quality::Fair, Quality::Good, Quality::Unknown];
    let counts = qualities.map(|quality| (heatmap.count(quality), quality.as_str()));
    let counts: Vec<_> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let people = heatmap.rows.len();
    let people = if people == 1 { "1 row".to_owned() } else { format!("{people} rows") };
    match counts.as_slice() {
        [] => people,
        counts => format!(
            "{people}: {}. A person who rejoins has several. Up to 5 % of the minutes over a limit are good, up to 20 % \
             fair, up to 40 % poor.",
            counts.join(", ")
        ),
    }
}

pub(super) fn limits(limits: &SummaryLimits) -> String {
    let limit = |limit| figure(limits.get(limit));
    format!(
        "The limits are {} ms of latency, {} ms of jitter, {} % of loss and {} % of CPU.",
        limit(SummaryLimit::Latency),
        limit(SummaryLimit::Jitter),
        limit(SummaryLimit::Loss),
        limit(SummaryLimit::Cpu),
    )
}

/// Returns the period that the columns cover: "30 November 2026, 10:00–11:00".
pub(super) fn held(axis: TimeAxis) -> String {
    let (begin, end) = (axis.begin_of(0), axis.begin_of(axis.columns));
    let day = |time: Timestamp| time.strftime("%-d %B %Y, ").to_string();
    let to = if day(begin) == day(end) { "–".to_owned() } else { format!(" to {}", day(end)) };
    format!("{}{}{to}{}", day(begin), time_of_day(begin), time_of_day(end))
}

pub(super) fn columns(axis: TimeAxis) -> String {
    match axis.minutes {
        1 => "Each cell is a minute.".to_owned(),
        minutes => format!("Each cell is the worst of {minutes} minutes."),
    }
}

/// Returns a participant's name, or the first other known identifier, or the row's number.
pub(super) fn name(row: &HeatmapRow) -> String {
    let known = ["user_name", "email", "user_id", "id"].iter().find_map(|field| row.field(field));
    known.map_or_else(|| format!("Row {}", row.number + 1), shown)
}

/// Replaces each control character in a string from Zoom with U+FFFD, because HTML forbids most of them.
pub(super) fn shown(text: &str) -> String {
    text.replace(|character: char| character.is_control(), "\u{fffd}")
}

/// Returns the number with at most two decimals, or in scientific notation if it is at least as large as [`LONG`].
pub(super) fn figure(value: f64) -> String {
    if value.abs() >= LONG {
        return format!("{value:e}");
    }
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

pub(super) fn time_of_day(time: Timestamp) -> String {
    time.strftime("%H:%M").to_string()
}

/// Returns a time in words: "10:05", "15 Jan 10:05" if the axis is longer than a day, or "15 Jan 2026 10:05" if the
/// time is outside the axis.
pub(super) fn time_words(axis: TimeAxis, time: Timestamp) -> String {
    match axis.column(time) {
        None => time.strftime("%-d %b %Y %H:%M").to_string(),
        Some(_) => time_on(axis, time),
    }
}

fn time_on(axis: TimeAxis, time: Timestamp) -> String {
    if axis.is_longer_than_a_day() { time.strftime("%-d %b %H:%M").to_string() } else { time_of_day(time) }
}

pub(super) fn interval_text(axis: TimeAxis, begin: usize, end: usize) -> String {
    format!("{}–{}", time_on(axis, axis.begin_of(begin)), time_on(axis, axis.begin_of(end)))
}

/// Returns how many samples no cell shows because of their times, if there are any.
pub(super) fn outside(heatmap: &Heatmap) -> Option<String> {
    let outside: usize = heatmap.rows.iter().map(|row| row.outside).sum();
    let samples = if outside == 1 { "sample" } else { "samples" };
    let text = format!("{outside} {samples} outside the shown time: in the counts, but not in the cells.");
    Some(text).filter(|_| outside > 0)
}

/// Returns the worst values of an interval: "latency 301 ms, jitter 212 ms".
pub(super) fn worst_values(worst: &[Option<f64>; SummaryLimit::ALL.len()]) -> String {
    let values = SummaryLimit::ALL.into_iter().zip(worst);
    let texts = values.filter_map(|(limit, value)| {
        let (name, unit) = measurement_words(limit);
        Some(format!("{name} {} {unit}", figure((*value)?)))
    });
    texts.collect::<Vec<_>>().join(", ")
}

pub(super) fn measurement_words(limit: SummaryLimit) -> (&'static str, &'static str) {
    match limit {
        SummaryLimit::Latency => ("latency", "ms"),
        SummaryLimit::Jitter => ("jitter", "ms"),
        SummaryLimit::Loss => ("loss", "%"),
        SummaryLimit::Cpu => ("CPU", "%"),
    }
}

/// Returns the name of the attribute that passes a limit to the script.
pub(super) fn limit_attribute(limit: SummaryLimit) -> String {
    measurement_words(limit).0.to_ascii_lowercase()
}

pub(super) fn medium(medium: Medium) -> &'static str {
    match medium {
        Medium::All => "Audio, video and screen",
        Medium::Audio => "Audio",
        Medium::Video => "Video",
        Medium::Screen => "Shared screen",
        Medium::Cpu => "CPU",
    }
}

pub(super) fn field(name: &str) -> &str {
    match name {
        "user_id" => "User id",
        "email" => "E-mail",
        "join_time" => "Joined",
        "leave_time" => "Left",
        "network_type" => "Network",
        "connection_type" => "Connection",
        "location" => "Location",
        "data_center" => "Data center",
        "os" => "Operating system",
        "version" => "Version",
        "device" => "Device",
        other => other,
    }
}
