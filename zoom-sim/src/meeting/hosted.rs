//! A meeting as it is served. Its text is generated once when it is added, extended if it grows, and cut into pages.
//!
//! The text is stored for each participant, so serving a page only copies it.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::generated::{Plan, Row};
use super::{Content, Meeting, example_json};

/// How many participants are read at a time to find one.
const PAGE_SIZE: usize = 10;

/// The ids of a participant. In raw pages, they need not be strings.
#[derive(Deserialize)]
struct Ids {
    id: Option<Value>,
    user_id: Option<Value>,
    participant_uuid: Option<Value>,
    #[serde(default)]
    join_time: String,
}

impl Ids {
    fn contain(&self, id: &str) -> bool {
        [&self.id, &self.user_id, &self.participant_uuid].into_iter().flatten().any(|own| own == id)
    }
}

/// The objects of a `participants` array, each with its text and ids, up to the first object that cannot be parsed.
fn rows(array: &str) -> impl Iterator<Item = (&str, Ids)> {
    let mut rest = array.trim_start().strip_prefix('[').unwrap_or_default();
    std::iter::from_fn(move || {
        let mut objects = serde_json::Deserializer::from_str(rest).into_iter::<Ids>();
        let ids = objects.next()?.ok()?;
        let (row, after) = rest.split_at_checked(objects.byte_offset())?;
        rest = after.trim_start().strip_prefix(',').unwrap_or_default();
        Some((row.trim_start(), ids))
    })
}

#[derive(Debug)]
pub(crate) struct Hosted {
    pub(crate) meeting: Meeting,
    total: usize,
    since: Instant,
    plan: Plan,
    rows: Mutex<Vec<Row>>,
}

impl Hosted {
    /// Generates all text, which takes a while for a large meeting.
    pub(crate) fn new(meeting: Meeting) -> Self {
        let (participants, samples) = match meeting.content {
            Content::Generated { participants, samples } => (participants, samples),
            Content::Pages(_) | Content::Example => (0, 0),
        };
        let ended = if meeting.growing.is_some() { Timestamp::now().as_second() } else { meeting.ended };
        let plan = Plan::new(&meeting.id, samples, ended, meeting.growing.is_some(), meeting.odd);
        let rows = (0..participants).map(|index| plan.row(index)).collect();
        Self { total: meeting.rows(), meeting, since: Instant::now(), plan, rows: Mutex::new(rows) }
    }

    pub(crate) fn rows(&self) -> usize {
        self.total
    }

    pub(crate) fn pages(&self, page_size: usize) -> usize {
        match &self.meeting.content {
            Content::Pages(pages) => pages.len(),
            _ => self.total.div_ceil(page_size.max(1)),
        }
    }

    /// Appends one page's `participants` array, which is empty after the last page.
    pub(crate) fn write_page(&self, page_size: usize, page: usize, out: &mut String) {
        match &self.meeting.content {
            Content::Pages(pages) => out.push_str(pages.get(page).map_or("[]", String::as_str)),
            Content::Example if page == 0 => {
                out.push('[');
                out.push_str(example_json());
                out.push(']');
            }
            Content::Example => out.push_str("[]"),
            Content::Generated { samples, .. } => {
                let samples = samples + self.gained();
                let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
                out.push('[');
                let shown = rows.iter_mut().enumerate().skip(page.saturating_mul(page_size)).take(page_size);
                for (at, (index, row)) in shown.enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    self.plan.grow(index, row, samples);
                    row.write(out);
                }
                out.push(']');
            }
        }
    }

    /// The JSON text of the participant with this id, which may be any of its three ids. If several rows match, the one
    /// that joined last.
    pub(crate) fn participant(&self, id: &str) -> Option<String> {
        let mut found: Option<(String, String)> = None;
        for page in 0..self.pages(PAGE_SIZE) {
            let mut text = String::new();
            self.write_page(PAGE_SIZE, page, &mut text);
            for (row, ids) in rows(&text) {
                let is_newer = found.as_ref().is_none_or(|(joined, _)| *joined <= ids.join_time);
                if ids.contain(id) && is_newer {
                    found = Some((ids.join_time, row.to_owned()));
                }
            }
        }
        found.map(|(_, row)| row)
    }

    /// The number of samples that each participant has gained since the meeting was added.
    fn gained(&self) -> usize {
        let Some(every) = self.meeting.growing else {
            return 0;
        };
        let gained = self.since.elapsed().as_nanos() / every.as_nanos().max(1);
        usize::try_from(gained).unwrap_or(usize::MAX)
    }
}
