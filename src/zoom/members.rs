//! Reads members of a JSON object that may be cut off: Zoom's error bodies are read only up to a limit. Pure.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor},
};

/// A member's value. `code` is a number, or in some responses a string.
#[derive(Deserialize, Default)]
#[serde(untagged)]
pub(super) enum Scalar {
    Number(i64),
    Text(String),
    #[default]
    None,
    Other(IgnoredAny),
}

impl Scalar {
    pub(super) fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            Self::None | Self::Other(_) => None,
        }
    }

    pub(super) fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Returns the values of the members with these names, in this order; [`Scalar::None`] for a member that is missing or
/// cut, and for all if the body is not a JSON object. For example, `{"code":3001,"message":"Meeting do` has a code and no
/// message.
pub(super) fn read<const N: usize>(body: &[u8], names: [&str; N]) -> [Scalar; N] {
    // A JSON object never ends with a digit, so a number at the end may be cut: `300` may be the beginning of `3001`.
    let digits = body.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let body = body.get(..body.len() - digits).unwrap_or_default();
    let mut members = Members { names, values: names.map(|_| Scalar::None) };
    match (&mut members).deserialize(&mut serde_json::Deserializer::from_slice(body)) {
        Err(error) if !error.is_eof() => names.map(|_| Scalar::None),
        Ok(()) | Err(_) => members.values,
    }
}

struct Members<'n, const N: usize> {
    names: [&'n str; N],
    values: [Scalar; N],
}

impl<'de, const N: usize> DeserializeSeed<'de> for &mut Members<'_, N> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for &mut Members<'_, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an error body")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<Cow<'de, str>>()? {
            match self.names.iter().zip(&mut self.values).find(|(known, _)| **known == name) {
                Some((_, value)) => *value = members.next_value()?,
                None => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}
