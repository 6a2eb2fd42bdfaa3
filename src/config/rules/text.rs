//! Texts: one of a list of words, paths, secrets and log filters.

use std::path::PathBuf;

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::{Rule, quoted, text_of, toml_text};
use crate::{config::layers::RawValue, zoom::secret::Secret};

/// One of a list of words.
pub(crate) struct ChoiceRule<T: 'static>(pub(crate) &'static [(&'static str, T)]);

impl<T: Copy> Rule for ChoiceRule<T> {
    type Value = T;

    fn read(&self, raw: &RawValue) -> Result<T, String> {
        let words = self.0.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        let text = text_of(raw, &words)?;
        let found = self.0.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| format!("must be one of {words}, not {}", quoted(text)))
    }
}

/// A path, which need not exist. No message repeats it, because it may be a secret under the wrong key.
pub(crate) struct FilePathRule;

impl Rule for FilePathRule {
    type Value = PathBuf;

    fn read(&self, raw: &RawValue) -> Result<PathBuf, String> {
        let text = text_of(raw, "\"/a/file\"")?;
        if text.chars().any(char::is_control) {
            return Err("must be a file's path, without control characters".to_owned());
        }
        Ok(PathBuf::from(text))
    }
}

/// A secret given as text. No message repeats any part of it.
pub(crate) struct SecretRule;

impl Rule for SecretRule {
    type Value = Secret;

    fn read(&self, raw: &RawValue) -> Result<Secret, String> {
        let text = text_of(raw, "\"…\"")?;
        check_secret(text)?;
        Ok(Secret::new(text))
    }

    fn show(&self, _raw: &RawValue, _value: &Secret) -> String {
        toml_text("[redacted]")
    }
}

/// Checks that a secret can be sent in an HTTP header.
pub(crate) fn check_secret(secret: &str) -> Result<(), String> {
    if secret.trim().is_empty() {
        return Err("contains nothing but white space".to_owned());
    }
    if secret.chars().any(char::is_control) {
        return Err("contains a control character, perhaps a line break; write the secret alone".to_owned());
    }
    Ok(())
}

/// `EnvFilter` directives.
pub(crate) struct LogFilterRule;

impl Rule for LogFilterRule {
    type Value = String;

    fn read(&self, raw: &RawValue) -> Result<String, String> {
        let text = text_of(raw, "\"info\"")?;
        // EnvFilter mishandles white space: it can panic on a multi-byte space.
        if text.contains(char::is_whitespace) {
            return Err(format!("{} contains a space; write directives without", quoted(text)));
        }
        EnvFilter::builder()
            .parse(text)
            .map_err(|error| format!("{} is not an EnvFilter directive: {error}", quoted(text)))?;
        // EnvFilter takes an unknown word for a module to trace: "inof" would silence every other module.
        let is_level = |word: &str| word.is_empty() || word.parse::<LevelFilter>().is_ok();
        let mut words = text.split(',').filter(|word| !word.contains(['=', '[']));
        match words.find(|word| !is_level(word)) {
            Some(word) => Err(format!(
                "{} is not a level; write error, warn, info, debug, trace or off, or give a module's level: {}",
                quoted(word),
                quoted(&format!("{word}=info")),
            )),
            None => Ok(text.to_owned()),
        }
    }
}
