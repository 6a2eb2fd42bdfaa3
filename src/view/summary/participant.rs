//! Reads one participant and writes its entry of the summary.

use super::{
    common::COMMON_FIELDS,
    limits::SummaryLimits,
    list::append_list,
    measurement::{Measurement, SummaryKey},
    measurements::{Group, Groups},
    number,
    quality::Quality,
};
use crate::json::{Container, Cursor, Desynced};

/// The fields that every entry shows, with `null` for those that have no text or number.
pub const SHOWN_FIELDS: [&str; 7] =
    ["user_id", "id", "participant_uuid", "user_name", "email", "join_time", "leave_time"];

/// One participant's numbers, and the JSON text of its fields.
#[derive(Default)]
pub(in crate::view) struct Participant<'a> {
    pub(in crate::view) shown: [Option<&'a [u8]>; SHOWN_FIELDS.len()],
    pub(in crate::view) compared: [Option<&'a [u8]>; COMMON_FIELDS.len()],
    /// The time of each sample.
    pub(in crate::view) times: Vec<Option<&'a [u8]>>,
    pub(in crate::view) groups: Groups<'a>,
}

impl<'a> Participant<'a> {
    /// Reads one element of a snapshot's `participants`. An element that is not an object has neither fields nor samples.
    pub(in crate::view) fn read(cleaned: &'a [u8], limits: &SummaryLimits) -> Result<Self, Desynced> {
        let mut participant = Self::default();
        let mut input = Cursor::new(cleaned);
        match Container::open(&mut input, b'{') {
            Some(fields) => participant.read_fields(fields, &mut input, limits)?,
            None => input.skip_value()?,
        }
        participant.groups.sort();
        if input.at() == cleaned.len() { Ok(participant) } else { Err(Desynced) }
    }

    pub(in crate::view) fn quality(&self) -> Quality {
        Quality::of(&self.groups)
    }

    /// Returns the JSON text of one of [`SHOWN_FIELDS`].
    pub(in crate::view) fn shown_field(&self, name: &str) -> Option<&'a [u8]> {
        SHOWN_FIELDS.iter().zip(self.shown).find_map(|(known, value)| value.filter(|_| *known == name))
    }

    fn read_fields(
        &mut self,
        mut fields: Container,
        input: &mut Cursor<'a>,
        limits: &SummaryLimits,
    ) -> Result<(), Desynced> {
        while fields.next(input)? {
            let name = input.key()?.name()?;
            if *name == *b"user_qos"
                && let Some(mut samples) = Container::open(input, b'[')
            {
                while samples.next(input)? {
                    self.read_sample(input, limits)?;
                }
                continue;
            }
            match self.field(&name) {
                Some(unknown @ None) => *unknown = text_or_number(input)?,
                _ => input.skip_value()?,
            }
        }
        Ok(())
    }

    fn field(&mut self, name: &[u8]) -> Option<&mut Option<&'a [u8]>> {
        let shown = SHOWN_FIELDS.iter().zip(&mut self.shown);
        let compared = COMMON_FIELDS.iter().zip(&mut self.compared);
        shown.chain(compared).find_map(|(known, field)| (known.as_bytes() == name).then_some(field))
    }

    fn read_sample(&mut self, input: &mut Cursor<'a>, limits: &SummaryLimits) -> Result<(), Desynced> {
        let Some(mut entries) = Container::open(input, b'{') else { return input.skip_value() };
        let sample = self.times.len();
        let mut time = None;
        while entries.next(input)? {
            let key = input.key()?;
            let key = SummaryKey { name: key.name()?, raw: key.raw };
            if *key.name == *b"date_time" && time.is_none() {
                time = text_or_number(input)?;
            } else if input.token()? != b'{' {
                input.skip_value()?;
            } else if let Some(group) = self.groups.group(key) {
                read_group(group, input, sample, limits)?;
            }
        }
        self.times.push(time);
        Ok(())
    }

    pub(super) fn append(&self, quality: Quality, out: &mut Vec<u8>) {
        let mut before = b'{';
        for (name, value) in SHOWN_FIELDS.into_iter().zip(self.shown) {
            out.push(before);
            out.extend_from_slice(format!("\"{name}\":").as_bytes());
            out.extend_from_slice(value.unwrap_or(b"null"));
            before = b',';
        }
        let (samples, quality) = (self.times.len(), quality.as_str());
        let text = format!(",\"samples\":{samples},\"quality\":\"{quality}\",\"reasons\":");
        out.extend_from_slice(text.as_bytes());
        self.append_reasons(out);
        out.extend_from_slice(b",\"groups\":");
        append_list(out, *b"{}", self.groups.iter(), |group, out| {
            group.key.append(out);
            out.push(b':');
            group.append(out);
        });
        out.push(b'}');
    }

    /// Returns every measurement with a minute over its limit, those with most minutes first.
    pub(in crate::view) fn reasons(&self) -> Vec<(&Group<'a>, &Measurement<'a>)> {
        let all =
            self.groups.iter().flat_map(|group| group.measurements.iter().map(move |each| (group, each)));
        let mut reasons: Vec<_> = all.filter(|(_, each)| each.over > 0).collect();
        reasons.sort_by_key(|(_, measurement)| std::cmp::Reverse(measurement.over));
        reasons
    }

    fn append_reasons(&self, out: &mut Vec<u8>) {
        append_list(out, *b"[]", self.reasons().into_iter(), |(group, measurement), out| {
            out.extend_from_slice(b"{\"group\":");
            group.key.append(out);
            out.extend_from_slice(b",\"measurement\":");
            measurement.key.append(out);
            let (over, of) = (measurement.over, group.samples.get());
            out.extend_from_slice(format!(",\"minutes_over\":{over},\"of\":{of},\"worst\":").as_bytes());
            number::append(measurement.worst, out);
            out.extend_from_slice(b",\"worst_at\":");
            let time = self.times.get(measurement.worst_sample).copied().flatten();
            out.extend_from_slice(time.unwrap_or(b"null"));
            out.push(b'}');
        });
    }
}

fn read_group<'a>(
    group: &mut Group<'a>,
    input: &mut Cursor<'a>,
    sample: usize,
    limits: &SummaryLimits,
) -> Result<(), Desynced> {
    let mut entries = Container::open(input, b'{').ok_or(Desynced)?;
    while entries.next(input)? {
        let key = input.key()?;
        if !matches!(input.token()?, b'-' | b'0'..=b'9') {
            input.skip_value()?;
            continue;
        }
        let number = str::from_utf8(input.scalar()?).ok().and_then(|number| number.parse::<f64>().ok());
        if let Some(number) = number.filter(|number| number.is_finite()) {
            group.add(SummaryKey { name: key.name()?, raw: key.raw }, number, sample, limits);
        }
    }
    group.end_sample(sample);
    Ok(())
}

/// Steps over any value, and returns its JSON text if it is a string or a number.
fn text_or_number<'a>(input: &mut Cursor<'a>) -> Result<Option<&'a [u8]>, Desynced> {
    let is_shown = matches!(input.token()?, b'"' | b'-' | b'0'..=b'9');
    input.skipped_value().map(|value| is_shown.then_some(value))
}
