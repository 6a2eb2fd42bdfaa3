//! Finds values that are more frequent among affected participants than among all.

use std::collections::HashMap;

use super::list::append_list;
use crate::json::{Cursor, Desynced};

/// The fields of a participant that are compared, in the order of the summary.
pub const COMMON_FIELDS: [&str; 7] =
    ["network_type", "connection_type", "location", "data_center", "os", "version", "device"];
/// The minimum number of affected participants that share a common value.
const LEAST_AFFECTED: usize = 2;
/// A value must be at least this many times as frequent among the affected participants as among all.
const TIMES_AS_FREQUENT: usize = 2;

/// A value that is frequent among the affected participants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommonValue {
    /// The field's name.
    pub field: &'static str,
    /// The value.
    pub value: String,
    /// How many affected participants have it.
    pub affected: usize,
    /// How many of all participants have it.
    pub of: usize,
}

/// Counts, for each field, how many participants have each value, and how many of them are affected.
#[derive(Default)]
pub(super) struct CommonValues {
    participants: usize,
    affected: usize,
    /// The values of each field, unescaped.
    values: [HashMap<Vec<u8>, Frequency>; COMMON_FIELDS.len()],
}

struct Frequency {
    /// The JSON text of the value as it first appeared. `order` counts the values that had appeared before.
    raw: Box<[u8]>,
    order: usize,
    affected: usize,
    participants: usize,
}

impl CommonValues {
    /// Counts a participant. `fields` has the raw JSON of each compared field. Values that are not strings are
    /// ignored.
    pub(super) fn add(&mut self, fields: &[Option<&[u8]>], is_affected: bool) -> Result<(), Desynced> {
        self.participants += 1;
        self.affected += usize::from(is_affected);
        for (values, raw) in self.values.iter_mut().zip(fields) {
            let Some(raw) = raw.filter(|raw| raw.starts_with(b"\"")) else { continue };
            let name = Cursor::new(raw).text()?.name()?.into_owned();
            let order = values.len();
            let new = || Frequency { raw: raw.into(), order, affected: 0, participants: 0 };
            let frequency = values.entry(name).or_insert_with(new);
            frequency.participants += 1;
            frequency.affected += usize::from(is_affected);
        }
        Ok(())
    }

    /// Appends the list of the values that the affected participants have in common.
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        append_list(out, *b"[]", self.shared(), |(field, value), out| {
            let Frequency { raw, affected, participants, .. } = value;
            out.extend_from_slice(format!("{{\"field\":\"{field}\",\"value\":").as_bytes());
            out.extend_from_slice(raw);
            out.extend_from_slice(format!(",\"affected\":{affected},\"of\":{participants}}}").as_bytes());
        });
    }

    /// Returns the values that the affected participants have in common.
    pub(super) fn values(&self) -> Vec<CommonValue> {
        let shared = self.shared().map(|(field, Frequency { raw, affected, participants: of, .. })| {
            let value = Cursor::new(raw).text().and_then(|text| text.name()).unwrap_or_default();
            let value = String::from_utf8_lossy(&value).into_owned();
            CommonValue { field, value, affected: *affected, of: *of }
        });
        shared.collect()
    }

    /// Returns the values that the affected participants have in common, each with its field, in the order of
    /// [`COMMON_FIELDS`]. Within a field, the values with the most affected participants come first.
    fn shared(&self) -> impl Iterator<Item = (&'static str, &Frequency)> {
        COMMON_FIELDS.into_iter().zip(&self.values).flat_map(|(field, values)| {
            let mut common: Vec<_> = values.values().filter(|value| self.is_common(value)).collect();
            common.sort_by_key(|value| (std::cmp::Reverse(value.affected), value.order));
            common.into_iter().map(move |value| (field, value))
        })
    }

    /// Returns whether the value is frequent enough. Example: 2 of 41 participants are affected, and both use Wifi.
    /// Eighteen of all 41 use Wifi. 2/2 is more than twice 18/41, so Wifi is common.
    fn is_common(&self, value: &Frequency) -> bool {
        value.affected >= LEAST_AFFECTED
            && value.affected * self.participants >= TIMES_AS_FREQUENT * value.participants * self.affected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common(participants: &[(&str, bool)]) -> String {
        let mut values = CommonValues::default();
        for (network_type, is_affected) in participants {
            let fields = [Some(network_type.as_bytes()), None, Some(network_type.as_bytes())];
            values.add(&fields, *is_affected).unwrap();
        }
        let mut out = Vec::new();
        values.append(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_common_value_is_twice_as_frequent_among_the_affected() {
        let wifi = (r#""Wifi""#, true);
        let others = [(r#""Wired""#, false), ("null", false)];
        let found = concat!(
            r#"[{"field":"network_type","value":"Wifi","affected":2,"of":2},"#,
            r#"{"field":"location","value":"Wifi","affected":2,"of":2}]"#
        );
        assert_eq!(common(&[wifi, others[0], (r#""W\u0069fi""#, true), others[1]]), found);
        assert_eq!(common(&[wifi, others[0], wifi]), "[]", "2/2 is less than twice 2/3");
        assert_eq!(common(&[wifi, others[0], others[1]]), "[]", "one participant has nothing in common");
        let unaffected = (r#""Wifi""#, false);
        assert_eq!(common(&[wifi, wifi, unaffected, others[0]]), "[]", "2/2 is less than twice 3/4");
        assert_eq!(common(&[]), "[]");
        for no_text in ["null", "7", "[]"] {
            assert_eq!(common(&[(no_text, true), (no_text, true), others[0], others[0]]), "[]");
        }
    }

    #[test]
    fn the_value_of_most_affected_participants_comes_first() {
        let mut participants = vec![(r#""a""#, true), (r#""b""#, true), (r#""a""#, true), (r#""c""#, true)];
        participants.extend([(r#""b""#, true), (r#""b""#, true), (r#""c""#, true)]);
        participants.extend([("null", false); 20]);
        let found = common(&participants);
        let order: Vec<_> = ["b\",\"affected\":3", "a\",\"affected\":2", "c\",\"affected\":2"]
            .iter()
            .map(|value| found.find(value))
            .collect();
        assert!(order.is_sorted() && order[0].is_some(), "{found}");
    }
}
