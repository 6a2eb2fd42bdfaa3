//! The page of a meeting: a verdict, a heatmap of participants and minutes, and each participant's figures.

use std::io::{self, BufWriter, Write};

use askama::Template;
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    meeting_words::{self, MeetingVerdict},
    row::RowView,
};
use crate::{
    snapshot::{MeetingKind, MeetingType},
    view::{
        heatmap::{Heatmap, Medium, TimeAxis},
        summary::{SummaryLimit, SummaryLimits},
        visible::VisibleMeeting,
    },
};

/// The number of bytes of HTML that are passed to the compressor at a time.
const BUFFER: usize = 64 * 1024;

/// The page of a meeting, with everything that it depends on except for the snapshot.
#[derive(Debug, Clone)]
pub(crate) struct MeetingPage {
    pub(crate) limits: SummaryLimits,
    pub(crate) stale: Option<StaleReason>,
}

/// Why the page does not show the newest data.
#[derive(Debug, Clone)]
pub(crate) struct StaleReason {
    /// The `detail` of `Cache-Status`, or `stale` if there is none.
    pub(crate) code: &'static str,
    pub(crate) words: String,
}

#[derive(Template)]
#[template(path = "meeting.html", config = "src/http/pages/askama.toml")]
struct MeetingTemplate<'p> {
    subject: &'static str,
    id: String,
    verdict: MeetingVerdict,
    stale: Option<&'p str>,
    /// The time that the columns cover; `None` if no participant has a time.
    held: Option<String>,
    /// The time at which the snapshot was fetched, for machines and for people.
    fetched_at: (String, String),
    other_type: OtherType,
    /// The seconds after which the page of a meeting in progress reloads itself.
    refresh: Option<u64>,
    downloads: [Download; 4],
    counts: String,
    limits: String,
    columns: String,
    columns_count: usize,
    media: [(&'static str, &'static str); Medium::ALL.len()],
    ticks: Vec<Tick>,
    begin: i64,
    step: usize,
    limit_values: [(String, f64); SummaryLimit::ALL.len()],
    heatmap: &'p Heatmap,
}

struct OtherType {
    about: &'static str,
    words: &'static str,
    href: String,
}

struct Download {
    name: &'static str,
    href: String,
    file: String,
}

struct Tick {
    /// The position in percent of the width.
    x: usize,
    time: String,
}

impl MeetingPage {
    /// Returns a name that differs for different pages of one snapshot, and is valid as part of an entity tag.
    pub(crate) fn name(&self) -> String {
        let bits = SummaryLimit::ALL.map(|limit| self.limits.get(limit).to_bits());
        let name = bits.iter().fold("page".to_owned(), |name, bits| format!("{name}-{bits:016x}"));
        format!("{name}-{}", self.stale.as_ref().map_or("fresh", |stale| stale.code))
    }

    /// Writes the page.
    ///
    /// # Errors
    /// The snapshot's bytes are corrupt, or the writer failed.
    pub(crate) fn write(&self, meeting: &VisibleMeeting<'_>, out: &mut impl Write) -> io::Result<()> {
        let heatmap = Heatmap::read(meeting, self.limits)?;
        let mut out = BufWriter::with_capacity(BUFFER, out);
        self.template(meeting, &heatmap).write_into(&mut out)?;
        out.flush()
    }

    fn template<'p>(&'p self, meeting: &VisibleMeeting<'_>, heatmap: &'p Heatmap) -> MeetingTemplate<'p> {
        let (id, axis) = (meeting.key().meeting.to_string(), heatmap.axis);
        let time = Timestamp::try_from(meeting.fetched_at()).unwrap_or_default();
        let fetched_at = |format: &str| time.strftime(format).to_string();
        let is_live = meeting.key().meeting_type == MeetingType::Live;
        MeetingTemplate {
            subject: match meeting.key().kind {
                MeetingKind::Meeting => "Meeting",
                MeetingKind::Webinar => "Webinar",
            },
            verdict: MeetingVerdict::of(heatmap),
            stale: self.stale.as_ref().map(|stale| stale.words.as_str()),
            held: (axis.columns > 0).then(|| meeting_words::held(axis)),
            fetched_at: (fetched_at("%Y-%m-%dT%H:%M:%SZ"), fetched_at("%-d %B %Y at %H:%M:%S")),
            other_type: self.other_type(meeting),
            refresh: is_live.then(|| meeting.fresh_for().as_secs().saturating_add(1)),
            downloads: self.downloads(meeting),
            counts: meeting_words::counts(heatmap),
            limits: meeting_words::limits(&self.limits),
            columns: meeting_words::columns(axis),
            columns_count: axis.columns,
            media: Medium::ALL.map(|medium| (medium.as_str(), meeting_words::medium(medium))),
            ticks: ticks(axis),
            begin: axis.begin_of(0).as_second(),
            step: axis.minutes * 60,
            limit_values: SummaryLimit::ALL
                .map(|limit| (meeting_words::limit_attribute(limit), self.limits.get(limit))),
            id,
            heatmap,
        }
    }

    fn downloads(&self, meeting: &VisibleMeeting<'_>) -> [Download; 4] {
        let id = meeting.key().meeting.to_string();
        let file_id = id.replace(|character: char| !character.is_ascii_alphanumeric(), "_");
        let path = format!("/qos/{}", utf8_percent_encode(&id, NON_ALPHANUMERIC));
        let query = query_of(meeting, meeting.key().meeting_type);
        let limits = self.limits_query();
        [
            ("JSON", format!("{path}?{query}"), "json"),
            ("CSV", format!("{path}?{query}&format=csv"), "csv"),
            ("NDJSON", format!("{path}?{query}&format=ndjson"), "ndjson"),
            ("Summary", format!("{path}/summary?{query}{limits}"), "summary.json"),
        ]
        .map(|(name, href, ending)| Download { name, href, file: format!("qos-{file_id}.{ending}") })
    }

    fn other_type(&self, meeting: &VisibleMeeting<'_>) -> OtherType {
        let (other, about, words) = match meeting.key().meeting_type {
            MeetingType::Live => {
                (MeetingType::Past, "The meeting is in progress.", "Show it as a past meeting.")
            }
            MeetingType::Past => {
                (MeetingType::Live, "The meeting is over.", "Show it as a meeting in progress.")
            }
        };
        OtherType { about, words, href: format!("?{}{}", query_of(meeting, other), self.limits_query()) }
    }

    fn limits_query(&self) -> String {
        let limits = SummaryLimit::ALL.map(|limit| format!("&{}={}", limit.as_str(), self.limits.get(limit)));
        limits.concat()
    }
}

impl MeetingTemplate<'_> {
    fn rows(&self) -> impl Iterator<Item = RowView<'_>> {
        self.heatmap.rows.iter().map(|row| RowView::new(row, self.heatmap))
    }

    fn outside(&self) -> Option<String> {
        meeting_words::outside(self.heatmap)
    }
}

/// Returns the parameters `type` and `kind`. The kind is included so that later requests show the same kind.
fn query_of(meeting: &VisibleMeeting<'_>, meeting_type: MeetingType) -> String {
    format!("type={}&kind={}", meeting_type.as_str(), meeting.key().kind.as_str())
}

/// Returns round times along the axis: at most seven, or four if they have dates. An hour that begins at 10:05 has
/// 10:10, 10:20 and so on.
fn ticks(axis: TimeAxis) -> Vec<Tick> {
    const STEPS: [usize; 12] = [1, 2, 5, 10, 15, 30, 60, 120, 240, 360, 720, 1_440];
    let span = axis.columns * axis.minutes;
    // A time with its date is wider.
    let most = if axis.is_longer_than_a_day() { 4 } else { 7 };
    let step = STEPS.into_iter().find(|step| span <= step * most);
    let step = step.unwrap_or_else(|| 1_440 * span.div_ceil(1_440 * most));
    let first = axis.begin_of(0).as_second().div_euclid(60);
    let into_step = usize::try_from(first.rem_euclid(i64::try_from(step).unwrap_or(1))).unwrap_or_default();
    let minutes = ((step - into_step) % step..span).step_by(step);
    let tick = |minute: usize| {
        let seconds = i64::try_from(minute * 60).unwrap_or_default();
        let time = Timestamp::from_second(first * 60 + seconds).unwrap_or_default();
        Tick { x: 100 * minute / span, time: meeting_words::time_words(axis, time) }
    };
    minutes.map(tick).filter(|tick| tick.x < 96).collect()
}
