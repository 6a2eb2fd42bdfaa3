//! Restricts participants to a person, to groups of measurements, and to a window of time.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{NotAParticipant, identity::ParticipantIdentity};
use crate::json::{Container, Cursor, Desynced};

/// A part of a meeting. The default is all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// A `user_id`, `id`, `participant_uuid` or `email`, exactly as the caller sees it.
    pub participant: Option<String>,
    /// Names of groups, or their first words: `audio` stands for `audio_input`, `audio_output` and others. An empty
    /// list stands for all groups.
    pub groups: Vec<String>,
    /// The earliest time of a sample.
    pub since: Option<Timestamp>,
    /// The time before which a sample must lie.
    pub until: Option<Timestamp>,
}

impl Selection {
    /// Returns whether the selection restricts nothing.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Returns hexadecimal digits that identify the selection. The order of its groups does not count.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let Self { participant, groups, since, until } = self;
        let mut groups: Vec<_> = groups.iter().map(String::as_str).collect();
        groups.sort_unstable();
        groups.dedup();
        let parts = (participant.as_deref(), groups, since, until);
        // `{:?}` quotes and escapes texts, so different selections never give the same text.
        let digest = Sha256::digest(format!("{parts:?}"));
        digest.first_chunk::<16>().map(hex::encode).unwrap_or_default()
    }

    /// Returns whether the selection includes the participant `cleaned`, one element of a snapshot's `participants`.
    ///
    /// # Errors
    /// `cleaned` is not such an element, which would be a bug.
    pub fn matches(&self, cleaned: &[u8]) -> Result<bool, NotAParticipant> {
        let Some(wanted) = &self.participant else { return Ok(true) };
        let identity = ParticipantIdentity::of(cleaned)?;
        let values = [identity.user_id, identity.id, identity.participant_uuid, identity.email];
        Ok(values.into_iter().flatten().any(|value| *value == *wanted.as_bytes()))
    }

    /// Appends `cleaned` with the samples that are selected. Returns `false`, with nothing appended, if the
    /// participant is not selected, or if samples are restricted and none is left.
    ///
    /// # Errors
    /// `cleaned` is not an element of a snapshot's `participants`, which would be a bug; `out` is then unchanged.
    pub fn append(&self, cleaned: &[u8], out: &mut Vec<u8>) -> Result<bool, NotAParticipant> {
        if !self.matches(cleaned)? {
            return Ok(false);
        }
        if !self.restricts_samples() {
            out.extend_from_slice(cleaned);
            return Ok(true);
        }
        let begin = out.len();
        out.reserve(cleaned.len());
        let has_samples = self.append_restricted(cleaned, out);
        if !matches!(has_samples, Ok(true)) {
            out.truncate(begin);
        }
        Ok(has_samples?)
    }

    fn restricts_samples(&self) -> bool {
        let Self { participant: _, groups, since, until } = self;
        !groups.is_empty() || since.is_some() || until.is_some()
    }

    fn has_window(&self) -> bool {
        self.since.is_some() || self.until.is_some()
    }

    /// Appends the participant without the samples that are not selected. Returns whether any sample is left.
    fn append_restricted(&self, cleaned: &[u8], out: &mut Vec<u8>) -> Result<bool, Desynced> {
        let mut input = Cursor::new(cleaned);
        let Some(mut fields) = Container::open(&mut input, b'{') else { return Ok(false) };
        let mut has_samples = false;
        let mut before = b'{';
        while fields.next(&mut input)? {
            out.push(std::mem::replace(&mut before, b','));
            input.token()?;
            let begin = input.at();
            let is_qos = *input.key()?.name()? == *b"user_qos";
            let samples = if is_qos { Container::open(&mut input, b'[') } else { None };
            if samples.is_none() {
                input.skip_value()?;
            }
            out.extend_from_slice(cleaned.get(begin..input.at()).ok_or(Desynced)?);
            if let Some(samples) = samples {
                has_samples |= self.append_samples(samples, &mut input, out)?;
            }
        }
        out.push(b'}');
        if input.at() == cleaned.len() { Ok(has_samples) } else { Err(Desynced) }
    }

    /// Appends the selected samples of an open list, and its closing bracket. Returns whether any sample was selected.
    fn append_samples(
        &self,
        mut samples: Container,
        input: &mut Cursor<'_>,
        out: &mut Vec<u8>,
    ) -> Result<bool, Desynced> {
        let first = out.len();
        while samples.next(input)? {
            let end = out.len();
            if end > first {
                out.push(b',');
            }
            if !self.append_sample(input, out)? {
                out.truncate(end);
            }
        }
        let has_samples = out.len() > first;
        out.push(b']');
        Ok(has_samples)
    }

    /// Appends a sample, and returns whether it is selected. If it is not, the caller truncates `out` again.
    fn append_sample(&self, input: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<bool, Desynced> {
        let Some(mut entries) = Container::open(input, b'{') else {
            // A sample that is not an object has neither a time nor groups.
            input.skip_value()?;
            return Ok(false);
        };
        let mut time = None;
        let mut has_group = self.groups.is_empty();
        let mut before = b'{';
        while entries.next(input)? {
            input.token()?;
            let begin = input.at();
            let key = input.key()?;
            let name = key.name()?;
            let is_time = *name == *b"date_time";
            if is_time && time.is_none() {
                time = readable_time(*input)?;
            }
            let is_chosen = input.token()? == b'{' && self.names(&name);
            has_group |= is_chosen;
            input.skip_value()?;
            if is_time || is_chosen || self.groups.is_empty() {
                out.push(std::mem::replace(&mut before, b','));
                out.extend_from_slice(input.source().get(begin..input.at()).ok_or(Desynced)?);
            }
        }
        if before == b'{' {
            out.push(b'{');
        }
        out.push(b'}');
        Ok(has_group && self.is_in_window(time))
    }

    /// Returns whether the group is selected, by its name or by its first word.
    fn names(&self, group: &[u8]) -> bool {
        let first_word = group.split(|byte| *byte == b'_').next().unwrap_or(group);
        self.groups.iter().any(|wanted| [group, first_word].contains(&wanted.as_bytes()))
    }

    fn is_in_window(&self, time: Option<Timestamp>) -> bool {
        if !self.has_window() {
            return true;
        }
        time.is_some_and(|time| {
            self.since.is_none_or(|since| since <= time) && self.until.is_none_or(|until| time < until)
        })
    }
}

/// Returns the time in a JSON string; `None` if the value is not a time.
fn readable_time(mut ahead: Cursor<'_>) -> Result<Option<Timestamp>, Desynced> {
    if ahead.token()? != b'"' {
        return Ok(None);
    }
    let text = ahead.text()?.name()?;
    Ok(str::from_utf8(&text).ok().and_then(|text| text.parse().ok()))
}

/// Parses a time from the JSON text of a value. Returns `None` if the value is not a time.
pub(super) fn time_in(raw: &[u8]) -> Option<Timestamp> {
    readable_time(Cursor::new(raw)).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const JANE: &str = concat!(
        r#"{"user_id":"1","email":"jane@example.com","user_qos":["#,
        r#"{"audio_input":{"latency_ms":1},"date_time":"2021-06-24T20:00:00Z","cpu_usage":{"a":2},"level":"normal"},"#,
        r#"{"date_time":"2021-06-24T22:01:00+02:00","video_input":{"latency_ms":3},"audio_device_to_crc":{}},"#,
        r#"{"date_time":"soon","audio":{"x":4},"as_input":null}],"x":{"user_qos":[{}]}}"#
    );

    fn selected(selection: &Selection, cleaned: &str) -> Option<String> {
        let mut out = b"kept".to_vec();
        let found = selection.append(cleaned.as_bytes(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let text = text.strip_prefix("kept").unwrap();
        assert_eq!(found, !text.is_empty());
        found.then(|| text.to_owned())
    }

    /// Returns the selected samples of Jane, without the brackets.
    fn samples(groups: &[&str], since: &str, until: &str) -> Option<String> {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let time = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
        let selection = Selection { participant: None, groups, since: time(since), until: time(until) };
        let text = selected(&selection, JANE)?;
        let text = text.strip_prefix(r#"{"user_id":"1","email":"jane@example.com","user_qos":["#).unwrap();
        Some(text.strip_suffix(r#"],"x":{"user_qos":[{}]}}"#).unwrap().to_owned())
    }

    #[test]
    fn a_participant_is_wanted_by_any_of_four_values_exactly() {
        let of = |wanted: &str| Selection { participant: Some(wanted.to_owned()), ..Selection::default() };
        for cleaned in [
            r#"{"user_id":7}"#,
            r#"{"id":"7"}"#,
            r#"{"participant_uuid":"\u0037"}"#,
            r#"{"user_qos":[{"id":"x"}],"email":"7"}"#,
        ] {
            assert_eq!(selected(&of("7"), cleaned).as_deref(), Some(cleaned));
            for other in ["", "77", "x"] {
                assert_eq!(selected(&of(other), cleaned), None);
            }
        }
        assert_eq!(selected(&of("7"), r#"{"user_name":"7","join_time":"7"}"#), None);
        assert_eq!(selected(&of("JANE@example.com"), JANE), None);
    }

    #[test]
    fn a_group_is_chosen_by_its_name_or_its_first_word() {
        let of_one_sample = r#"{"audio_input":{"latency_ms":1},"date_time":"2021-06-24T20:00:00Z"}"#;
        assert_eq!(samples(&["audio_input"], "", "").as_deref(), Some(of_one_sample));
        let audio = [
            of_one_sample,
            r#"{"date_time":"2021-06-24T22:01:00+02:00","audio_device_to_crc":{}}"#,
            r#"{"date_time":"soon","audio":{"x":4}}"#,
        ];
        assert_eq!(samples(&["audio", "other"], "", ""), Some(audio.join(",")));
        for nobodys in ["aud", "audio_", "as", "as_input", "level", "date", "input", "other"] {
            assert_eq!(samples(&[nobodys], "", ""), None, "{nobodys}");
        }
    }

    #[test]
    fn a_window_includes_its_beginning_and_excludes_its_end() {
        let second = r#"{"date_time":"2021-06-24T22:01:00+02:00","video_input":{"latency_ms":3},"audio_device_to_crc":{}}"#;
        for (since, until) in [
            ("2021-06-24T20:01:00Z", ""),
            ("2021-06-24T22:00:01+02:00", "2021-06-24T20:01:01Z"),
            ("2021-06-24T20:01:00Z", "2031-06-24T20:01:00Z"),
        ] {
            assert_eq!(samples(&[], since, until).as_deref(), Some(second));
        }
        for (since, until) in [("2021-06-24T20:01:01Z", ""), ("", "2021-06-24T20:00:00Z")] {
            assert_eq!(samples(&[], since, until), None);
        }
        let first = samples(&["cpu"], "", "2021-06-24T20:01:00Z");
        assert_eq!(first.as_deref(), Some(r#"{"date_time":"2021-06-24T20:00:00Z","cpu_usage":{"a":2}}"#));
    }

    #[test]
    fn without_samples_there_is_nothing_to_restrict() {
        let of_audio = Selection { groups: vec!["audio".to_owned()], ..Selection::default() };
        for cleaned in [
            "{}",
            "null",
            "[]",
            r#"{"user_qos":[]}"#,
            r#"{"user_qos":{"audio":{}}}"#,
            r#"{"user_qos":[7,[]]}"#,
        ] {
            assert_eq!(selected(&of_audio, cleaned), None);
            assert_eq!(selected(&Selection::default(), cleaned).as_deref(), Some(cleaned));
        }
    }

    #[test]
    fn selections_that_differ_have_different_fingerprints() {
        let text = |text: &str| Some(text.to_owned());
        let groups = |groups: &[&str]| Selection {
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..Selection::default()
        };
        let time = Some(Timestamp::UNIX_EPOCH);
        let different = [
            Selection::default(),
            Selection { participant: text("a"), ..Selection::default() },
            Selection { participant: text("None"), ..Selection::default() },
            groups(&["a"]),
            groups(&["a", "b"]),
            groups(&["a\", \"b"]),
            Selection { since: time, ..Selection::default() },
            Selection { until: time, ..Selection::default() },
        ];
        let mut names: Vec<_> = different.iter().map(Selection::fingerprint).collect();
        assert_eq!(groups(&["b", "a", "b"]).fingerprint(), groups(&["a", "b"]).fingerprint());
        names.sort();
        names.dedup();
        assert_eq!(names.len(), different.len());
        assert!(names.iter().all(|name| name.len() == 32));
    }

    #[test]
    fn a_cut_participant_is_rejected() {
        let selection = Selection { groups: vec!["audio".to_owned()], ..Selection::default() };
        for end in 1..JANE.len() {
            let mut out = b"kept".to_vec();
            let cut = JANE.get(..end).unwrap();
            assert_eq!(selection.append(cut.as_bytes(), &mut out), Err(NotAParticipant), "{end}");
            assert_eq!(out, b"kept");
        }
    }
}
