//! Rules for values that are text: choices, booleans, hidden fields, paths, key hashes, secrets and log filters.

use std::path::PathBuf;

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::{Checked, quoted, text_of, toml_text};
use crate::{
    callers::PurgeKeyHash,
    config::layers::RawValue,
    hiding::{FieldGroup, HiddenFields},
    zoom::secret::Secret,
};

pub(crate) fn choice<T: Copy>(raw: &RawValue, choices: &[(&str, T)]) -> Checked<T> {
    let words = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    let text = text_of(raw, &words)?;
    let found = choices.iter().find(|(word, _)| *word == text);
    let found = found.map(|(_, value)| (*value, toml_text(text)));
    found.ok_or_else(|| format!("must be one of {words}, not {}", quoted(text)))
}

/// Parses `true` or `false`, which an environment variable has as text.
pub(crate) fn boolean(raw: &RawValue) -> Checked<bool> {
    let value = match raw {
        RawValue::Boolean(value) => Some(*value),
        RawValue::Variable(text) if text.trim().is_empty() => {
            return Err("is empty; write true or false, or remove it".to_owned());
        }
        RawValue::Variable(text) => text.parse().ok(),
        _ => None,
    };
    value
        .map(|value| (value, value.to_string()))
        .ok_or_else(|| "must be true or false, without quotes".to_owned())
}

/// Parses groups of fields: a list, or words with commas between them in an environment variable.
pub(crate) fn hidden_fields(raw: &RawValue) -> Checked<HiddenFields> {
    let rule = format!("must be a list such as [\"identity\", \"address\"], of: {}", FieldGroup::names());
    let words: Vec<_> = match raw {
        RawValue::Variable(text) if text.is_empty() => return Err(format!("is empty; it {rule}")),
        RawValue::Variable(text) => text.split(',').map(str::trim).collect(),
        RawValue::Texts(words) => words.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    };
    let groups: Option<HiddenFields> = words.iter().map(|word| FieldGroup::from_name(word)).collect();
    let shown = words.iter().map(|word| toml_text(word)).collect::<Vec<_>>().join(", ");
    groups.filter(|groups| !groups.is_empty()).map(|groups| (groups, format!("[{shown}]"))).ok_or(rule)
}

/// Parses a path, which need not exist. No message repeats the text, because it may be a secret under the wrong key.
pub(crate) fn file_path(raw: &RawValue) -> Checked<PathBuf> {
    let text = text_of(raw, "\"/a/file\"")?;
    if text.chars().any(char::is_control) {
        return Err("must be a file's path, without control characters".to_owned());
    }
    Ok((PathBuf::from(text), toml_text(text)))
}

/// Parses the hash of a key. No message repeats the text, which may be the key itself.
pub(crate) fn purge_key_hash(raw: &RawValue) -> Checked<PurgeKeyHash> {
    let hash = PurgeKeyHash::parse(text_of(raw, "\"9f86d0…\"")?)?;
    Ok((hash, toml_text("[redacted]")))
}

/// Parses a secret that is given as text. No message repeats any part of it.
pub(crate) fn secret(raw: &RawValue) -> Checked<Secret> {
    let text = text_of(raw, "\"…\"")?;
    check_secret(text)?;
    Ok((Secret::new(text), toml_text("[redacted]")))
}

/// Rejects a blank secret, and one with a control character, which an HTTP header cannot contain.
pub(crate) fn check_secret(secret: &str) -> Result<(), String> {
    if secret.trim().is_empty() {
        return Err("contains nothing but white space".to_owned());
    }
    if secret.chars().any(char::is_control) {
        return Err("contains a control character, perhaps a line break; write the secret alone".to_owned());
    }
    Ok(())
}

pub(crate) fn log_filter(raw: &RawValue) -> Checked<String> {
    let text = text_of(raw, "\"info\"")?;
    // EnvFilter can panic on a multi-byte space, so all white space is rejected.
    if text.contains(char::is_whitespace) {
        return Err(format!("{} contains a space; write directives without", quoted(text)));
    }
    EnvFilter::builder()
        .parse(text)
        .map_err(|error| format!("{} is not an EnvFilter directive: {error}", quoted(text)))?;
    // EnvFilter takes an unknown word for the name of a module: "inof" would silence every other module.
    let is_level = |word: &str| word.is_empty() || word.parse::<LevelFilter>().is_ok();
    let mut words = text.split(',').filter(|word| !word.contains(['=', '[']));
    match words.find(|word| !is_level(word)) {
        Some(word) => Err(format!(
            "{} is not a level; write error, warn, info, debug, trace or off, or give a module's level: {}",
            quoted(word),
            quoted(&format!("{word}=info")),
        )),
        None => Ok((text.to_owned(), toml_text(text))),
    }
}
