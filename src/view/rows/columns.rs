//! The columns of rows: in each part, known columns in a fixed order, then the others in the order in which they first
//! appear.

use std::collections::HashMap;

use super::{json_text, shape::RowShape};
use crate::view::known_fields::{CPU_USAGE, KnownField, PARTICIPANT};

/// The measurements for which every media group has columns.
const MEDIA: [&str; 5] = ["bitrate_kbps", "latency_ms", "jitter_ms", "avg_loss_percent", "max_loss_percent"];
/// Further columns of groups with a picture.
const PICTURE: [&str; 3] = ["resolution.width", "resolution.height", "frame_rate_fps"];
/// The groups that always have columns, and whether they have a picture.
const MEDIA_GROUPS: [(&str, bool); 6] = [
    ("audio_input", false),
    ("audio_output", false),
    ("video_input", true),
    ("video_output", true),
    ("as_input", true),
    ("as_output", true),
];
const CPU_GROUP: &str = "cpu_usage";

/// The maximum number of columns that are added to the known columns. Every row of CSV has a cell for each column.
const MOST_MORE: usize = 1_000;

/// A part of the columns; all columns of a part stand together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ColumnPart {
    /// `meeting_id` and the fields of participants.
    Participant,
    /// `date_time` and everything else in a sample.
    Sample,
    /// The last column: `other`.
    Other,
}

/// Identifies a column. A place further to the right is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    part: ColumnPart,
    index: usize,
}

impl Place {
    pub(super) const MEETING_ID: Self = Self { part: ColumnPart::Participant, index: 0 };
    /// The column `group`, after `date_time`; only in rows for each group.
    pub(super) const GROUP: Self = Self { part: ColumnPart::Sample, index: 1 };
    pub(super) const OTHER: Self = Self { part: ColumnPart::Other, index: 0 };
}

/// A column's name, unescaped and as JSON text.
pub(super) struct ColumnName {
    pub(super) name: Box<[u8]>,
    pub(super) json: Box<[u8]>,
}

/// All columns that are known so far.
pub(super) struct Columns {
    places: HashMap<Box<[u8]>, Place, foldhash::fast::RandomState>,
    participant: Vec<ColumnName>,
    sample: Vec<ColumnName>,
    other: ColumnName,
    /// How many more columns can be added.
    free: usize,
    pub(super) has_other: bool,
}

impl Columns {
    pub(super) fn new(shape: RowShape) -> Self {
        let mut columns = Self {
            places: HashMap::default(),
            participant: Vec::new(),
            sample: Vec::new(),
            other: ColumnName::of(b"other"),
            free: usize::MAX,
            has_other: false,
        };
        columns.places.insert(columns.other.name.clone(), Place::OTHER);
        for (part, name) in known(shape) {
            columns.place(part, name.as_bytes());
        }
        columns.free = MOST_MORE;
        columns
    }

    /// Returns the column of this name, which is added if it is new. `None` if it belongs to another part, or if
    /// there are too many columns.
    pub(super) fn place(&mut self, part: ColumnPart, name: &[u8]) -> Option<Place> {
        if let Some(place) = self.places.get(name) {
            return Some(*place).filter(|place| place.part == part);
        }
        self.free = self.free.checked_sub(1)?;
        let names = if part == ColumnPart::Participant { &mut self.participant } else { &mut self.sample };
        let place = Place { part, index: names.len() };
        names.push(ColumnName::of(name));
        self.places.insert(name.into(), place);
        Some(place)
    }

    pub(super) fn name(&self, place: Place) -> &ColumnName {
        let names = match place.part {
            ColumnPart::Participant => &self.participant,
            ColumnPart::Sample => &self.sample,
            ColumnPart::Other => return &self.other,
        };
        names.get(place.index).unwrap_or(&self.other)
    }

    /// Returns the columns from left to right; `other` only if it is used.
    pub(super) fn all(&self) -> impl Iterator<Item = (Place, &ColumnName)> {
        let of = |part, names: &'_ [ColumnName]| (0..names.len()).map(move |index| Place { part, index });
        let participant = of(ColumnPart::Participant, &self.participant).zip(&self.participant);
        let sample = of(ColumnPart::Sample, &self.sample).zip(&self.sample);
        let other = self.has_other.then_some((Place::OTHER, &self.other));
        participant.chain(sample).chain(other)
    }
}

impl ColumnName {
    fn of(name: &[u8]) -> Self {
        let mut json = Vec::with_capacity(name.len() + 2);
        json_text::append(name, &mut json);
        Self { name: name.into(), json: json.into() }
    }
}

/// Returns the names of the columns that rows of this shape always have, in order.
pub fn known_columns(shape: RowShape) -> impl Iterator<Item = String> {
    known(shape).into_iter().map(|(_, name)| name)
}

fn known(shape: RowShape) -> Vec<(ColumnPart, String)> {
    let name = |field: &KnownField| field.name;
    let participant = ["meeting_id"].into_iter().chain(PARTICIPANT.iter().map(name));
    let mut columns: Vec<_> = participant.map(|name| (ColumnPart::Participant, name.to_owned())).collect();
    let mut sample = vec!["date_time".to_owned()];
    match shape {
        RowShape::Sample => {
            for (group, has_picture) in MEDIA_GROUPS {
                let picture = if has_picture { &PICTURE[..] } else { &[] };
                sample.extend(MEDIA.iter().chain(picture).map(|name| format!("{group}.{name}")));
            }
            sample.extend(CPU_USAGE.iter().map(|field| format!("{CPU_GROUP}.{}", field.name)));
        }
        RowShape::Group => {
            let measurements = MEDIA.into_iter().chain(PICTURE).chain(CPU_USAGE.iter().map(name));
            sample.extend(["group"].into_iter().chain(measurements).map(str::to_owned));
        }
    }
    columns.extend(sample.into_iter().map(|name| (ColumnPart::Sample, name)));
    columns
}
