//! The rules of the values. A rule is a function that converts a raw value into a typed one, or returns a message with the
//! problem and usually with what to write instead.
//!
//! A rule checks one value. The files that read the sections check values that depend on each other.

pub(super) mod address;
pub(super) mod quantity;
pub(super) mod text;

use std::fmt::Write as _;

use super::layers::RawValue;
use crate::toml_document::one_line;

/// The typed value, and the TOML that `check-config` prints for it; or the problem.
pub(super) type Checked<T> = Result<(T, String), String>;

/// Returns the string of a value. Rejects a value that is not a string, and a blank string.
fn text_of<'a>(raw: &'a RawValue, example: &str) -> Result<&'a str, String> {
    match raw {
        RawValue::Text(text) | RawValue::Variable(text) if text.trim().is_empty() => {
            Err(format!("is empty; write text, like {example}, or remove it"))
        }
        RawValue::Text(text) | RawValue::Variable(text) => Ok(text),
        other => Err(format!("must be text in quotes, like {example}, not {}", type_of(other))),
    }
}

/// Returns the type of a value with its article: "an array", "a float".
fn type_of(raw: &RawValue) -> String {
    let kind = match raw {
        RawValue::Text(_) | RawValue::Variable(_) => "string",
        RawValue::Integer(_) => "integer",
        RawValue::Float(_) => "float",
        RawValue::Boolean(_) => "boolean",
        RawValue::Texts(_) => "array",
        RawValue::Other(kind) => kind,
    };
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {kind}")
}

/// Puts a value in quotes for a message. The value must not be a secret.
fn quoted(text: &str) -> String {
    format!("\"{}\"", one_line(text))
}

/// Returns the text as a TOML basic string.
fn toml_text(text: &str) -> String {
    let mut toml = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => toml.extend(['\\', letter]),
            _ if letter.is_control() => {
                // Writing to a String cannot fail.
                _ = write!(toml, "\\u{:04X}", u32::from(letter));
            }
            _ => toml.push(letter),
        }
    }
    toml.push('"');
    toml
}
