//! The rules of the values. A rule is a function that converts a raw value into a typed one, or returns a message with the
//! problem and with what to write instead.
//!
//! A rule checks one value. `sections.rs` checks values that depend on each other.

pub(super) mod address;
pub(super) mod quantity;
pub(super) mod text;

use std::fmt::Write as _;

use super::layers::RawValue;
use crate::toml_document::one_line;

/// The typed value, and the TOML that `check-config` prints for it; or the problem.
pub(super) type Checked<T> = Result<(T, String), String>;

/// Returns the text of a value that must be text and not empty.
fn text_of<'a>(raw: &'a RawValue, example: &str) -> Result<&'a str, String> {
    match raw {
        RawValue::Text(text) | RawValue::Variable(text) if text.trim().is_empty() => {
            Err(format!("is empty; write text, like {example}, or remove it"))
        }
        RawValue::Text(text) | RawValue::Variable(text) => Ok(text),
        RawValue::Integer(_) => Err(format!("must be text in quotes, like {example}, not an integer")),
        RawValue::Float(_) => Err(format!("must be text in quotes, like {example}, not a float")),
        RawValue::Boolean(_) => Err(format!("must be text in quotes, like {example}, not a boolean")),
        RawValue::Texts(_) => Err(format!("must be text in quotes, like {example}, not an array")),
        RawValue::Other(kind) => {
            Err(format!("must be text in quotes, like {example}, not {}", with_article(kind)))
        }
    }
}

/// Returns the word with its article: "an array", "a float".
fn with_article(kind: &str) -> String {
    let article = if kind.starts_with('a') { "an" } else { "a" };
    format!("{article} {kind}")
}

/// Returns a value for a message. It must not be a secret.
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
