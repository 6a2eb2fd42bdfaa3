//! The meetings of the simulated account. A [`Meeting`] is only a description; `meeting/hosted.rs` makes the bytes that
//! are served.

mod demo;
mod generated;
mod hosted;
mod odd;
mod values;

use std::time::Duration;

use jiff::Timestamp;

use crate::endpoint::MeetingKind;
pub use demo::demo_meetings;
pub(crate) use hosted::Hosted;

/// When generated meetings ended by default: 2026-01-15T11:00:00Z, in Unix seconds.
const ENDED: i64 = 1_768_474_800;
/// The id of the meeting in Zoom's documentation.
const EXAMPLE_ID: &str = "85746065432";

/// The participant of Zoom's documented example, byte for byte.
#[must_use]
pub fn example_json() -> &'static str {
    include_str!("meeting/documented_example.json").trim_end()
}

/// The description of one meeting.
#[derive(Debug, Clone)]
pub struct Meeting {
    pub(crate) id: String,
    pub(crate) uuid: Option<String>,
    pub(crate) live: bool,
    pub(crate) past: bool,
    pub(crate) kind: MeetingKind,
    content: Content,
    /// How often a sample is added; `None` for never.
    growing: Option<Duration>,
    /// The newest `leave_time`, in Unix seconds.
    ended: i64,
    odd: bool,
}

#[derive(Debug, Clone)]
enum Content {
    Generated {
        participants: usize,
        samples: usize,
    },
    /// The text of each page's `participants` array.
    Pages(Vec<String>),
    Example,
}

impl Meeting {
    /// A meeting of `participants` rows with `samples` minutes each, always the same for the same id.
    #[must_use]
    pub fn generated(id: impl Into<String>, participants: usize, samples: usize) -> Self {
        Self::holding(id.into(), Content::Generated { participants, samples })
    }

    /// A meeting with these pages, each the JSON text of a `participants` array.
    ///
    /// The pages are served verbatim for every `page_size`, and need not be valid JSON.
    #[must_use]
    pub fn raw_pages(id: impl Into<String>, pages: Vec<String>) -> Self {
        Self::holding(id.into(), Content::Pages(pages))
    }

    /// The meeting of Zoom's documentation, `85746065432`, with one participant.
    #[must_use]
    pub fn documented_example() -> Self {
        Self::holding(EXAMPLE_ID.to_owned(), Content::Example)
    }

    fn holding(id: String, content: Content) -> Self {
        Self {
            id,
            uuid: None,
            live: true,
            past: true,
            kind: MeetingKind::Meeting,
            content,
            growing: None,
            ended: ENDED,
            odd: false,
        }
    }

    /// Exists for `type=live` only.
    #[must_use]
    pub fn live_only(mut self) -> Self {
        self.past = false;
        self
    }

    /// Exists for `type=past` only.
    #[must_use]
    pub fn past_only(mut self) -> Self {
        self.live = false;
        self
    }

    /// Makes the meeting a webinar: the webinar endpoints serve it, and the meeting endpoints refuse it with code
    /// 300.
    #[must_use]
    pub fn webinar(mut self) -> Self {
        self.kind = MeetingKind::Webinar;
        self
    }

    /// Adds a sample to each participant every minute after the meeting is added to the simulator. No participant has
    /// left.
    #[must_use]
    pub fn growing(self) -> Self {
        self.growing_every(Duration::from_secs(60))
    }

    /// Like [`growing`](Self::growing), but adds a sample at this interval, at least every millisecond. The samples'
    /// times are still a minute apart.
    #[must_use]
    pub fn growing_every(mut self, every: Duration) -> Self {
        self.growing = Some(every.max(Duration::from_millis(1)));
        self
    }

    /// Adds a UUID under which the meeting is also found.
    #[must_use]
    pub fn with_uuid(mut self, uuid: impl Into<String>) -> Self {
        self.uuid = Some(uuid.into());
        self
    }

    /// Sets the newest `leave_time` to this long before now.
    #[must_use]
    pub fn ended_ago(mut self, ago: Duration) -> Self {
        let ago = i64::try_from(ago.as_secs()).unwrap_or(i64::MAX);
        self.ended = Timestamp::now().as_second().saturating_sub(ago);
        self
    }

    /// Adds the odd values, names, fields and groups of `meeting/odd.rs`, which a cleaner must handle.
    ///
    /// A few participants with a few samples each are enough to contain all of them.
    #[must_use]
    pub fn odd_values(mut self) -> Self {
        self.odd = true;
        self
    }

    /// The meeting's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The text of each page's `participants` array, as if the meeting were added now. For benches and other servers.
    #[must_use]
    pub fn pages(&self) -> Vec<String> {
        const PAGE_SIZE: usize = 10;
        let hosted = Hosted::new(self.clone());
        let page = |page| {
            let mut text = String::new();
            hosted.write_page(PAGE_SIZE, page, &mut text);
            text
        };
        (0..hosted.pages(PAGE_SIZE)).map(page).collect()
    }

    /// The number of participants. A raw page that is not a JSON array counts as empty.
    #[must_use]
    pub fn rows(&self) -> usize {
        match &self.content {
            Content::Generated { participants, .. } => *participants,
            Content::Pages(pages) => pages.iter().map(|page| rows_of(page)).sum(),
            Content::Example => 1,
        }
    }
}

fn rows_of(page: &str) -> usize {
    serde_json::from_str::<Vec<serde::de::IgnoredAny>>(page).map_or(0, |rows| rows.len())
}

/// Unix seconds in Zoom's format: `2026-01-15T11:00:00Z`; the epoch if they are out of range.
pub(crate) fn iso(second: i64) -> String {
    Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}
