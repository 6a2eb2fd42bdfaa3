//! What a value must be: text, as written, to a typed value, or one sentence about what is wrong and what to write.
//!
//! A rule sees one value. What two values mean together is judged in `sections.rs`; addresses have their rules in
//! `rules/address.rs`.

pub(super) mod address;

use std::{fmt::Write as _, ops::RangeInclusive, path::PathBuf, time::Duration};

use bytesize::ByteSize;
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::layers::Written;
use crate::{toml_document::one_line, zoom::secret::Secret};

/// How one kind of value is read and shown again.
pub(super) trait Rule {
    /// What the text becomes.
    type Value;

    /// The typed value, or what is wrong with the written one.
    fn read(&self, written: &Written) -> Result<Self::Value, String>;

    /// The value as `check-config` prints it, in TOML.
    fn show(&self, written: &Written, _value: &Self::Value) -> String {
        toml_text(written.text().unwrap_or_default())
    }
}

/// A span of time with its unit.
pub(super) enum Span {
    /// `0s` is an error.
    Positive,
    /// `0s` is allowed.
    OrZero,
}

impl Rule for Span {
    type Value = Duration;

    fn read(&self, written: &Written) -> Result<Duration, String> {
        /// Far from where adding to an `Instant` could overflow.
        const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);
        if let Written::Integer(number) = written {
            let seconds = number.filter(|number| (0..=1_000_000).contains(number)).unwrap_or(30);
            return Err(format!("needs a unit and quotes: write \"{seconds}s\", not an integer"));
        }
        let text = text(written, "\"30s\"")?;
        let digits = text.trim();
        // humantime takes a bare "0"; a unit is asked of every number here.
        if digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Err(format!("has no unit: write \"{}s\" if seconds are meant", one_line(digits)));
        }
        if let Some(number) = months(digits) {
            return Err(format!(
                "{} would be months: write \"{number}m\" if minutes are meant",
                quoted(text)
            ));
        }
        let span = humantime::parse_duration(text).map_err(|error| {
            format!(
                "{} is not a duration: {}; write one like \"30s\", \"5m\" or \"24h\"",
                quoted(text),
                error
            )
        })?;
        match self {
            Self::Positive if span.is_zero() => Err("must be longer than 0".to_owned()),
            _ if span > LONGEST => Err(format!("{} is too long: at most 366 days", quoted(text))),
            _ => Ok(span),
        }
    }
}

/// The number before an `M` that is a unit by itself, which is humantime's month: a capital letter too many, and far too long.
fn months(text: &str) -> Option<&str> {
    let is_unit = |before: &str, after: &str| {
        !before.ends_with(char::is_alphabetic) && !after.starts_with(char::is_alphabetic)
    };
    let mut units = text
        .match_indices('M')
        .filter_map(|(at, unit)| Some((text.get(..at)?, text.get(at + unit.len()..)?)));
    let (before, _) = units.find(|(before, after)| is_unit(before, after))?;
    let before = before.trim_end();
    let digits = before.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.').len();
    before.get(digits..).filter(|number| !number.is_empty())
}

/// A number of bytes, at least 1 and no more than can be allocated.
pub(super) struct Size;

impl Rule for Size {
    type Value = usize;

    fn read(&self, written: &Written) -> Result<usize, String> {
        if let Written::Integer(_) = written {
            return Err("must be text with a unit, like \"256MiB\", not an integer".to_owned());
        }
        let text = text(written, "\"256MiB\"")?;
        let size: ByteSize = text.trim().parse().map_err(|_| {
            format!("{} is not a size; write one like \"64KiB\", \"256MiB\" or \"1GiB\"", quoted(text))
        })?;
        match usize::try_from(size.as_u64()) {
            Ok(0) => Err("must be more than 0".to_owned()),
            Ok(bytes) if isize::try_from(bytes).is_ok() => Ok(bytes),
            _ => Err(format!("{} is more than this machine can address", quoted(text))),
        }
    }
}

/// A whole number in a range.
pub(super) struct Count(pub(super) RangeInclusive<u32>);

impl Rule for Count {
    type Value = u32;

    fn read(&self, written: &Written) -> Result<u32, String> {
        let range = format!("must be a whole number from {} to {}", self.0.start(), self.0.end());
        let number = match written {
            Written::Integer(number) => *number,
            Written::Variable(text) if text.is_empty() => return Err(format!("is empty; it {range}")),
            Written::Variable(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            Written::Variable(text) => return Err(format!("{range}, not {}", quoted(text))),
            Written::Text(_) => return Err(format!("{range}, without quotes")),
            Written::Other(kind) => return Err(format!("{range}, not {}", a(kind))),
        };
        let in_range = number.and_then(|number| u32::try_from(number).ok()).filter(|n| self.0.contains(n));
        in_range.ok_or_else(|| match number {
            Some(number) => format!("{range}, not {number}"),
            None => range,
        })
    }

    fn show(&self, _written: &Written, value: &u32) -> String {
        value.to_string()
    }
}

/// One of a few words.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy> Rule for Choice<T> {
    type Value = T;

    fn read(&self, written: &Written) -> Result<T, String> {
        let words = self.0.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        let text = text(written, &words)?;
        let found = self.0.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| format!("must be one of {words}, not {}", quoted(text)))
    }
}

/// A file's name. Whether the file is there is not asked here, and the name is not repeated: it may be a secret that
/// was put into the wrong key.
pub(super) struct FilePath;

impl Rule for FilePath {
    type Value = PathBuf;

    fn read(&self, written: &Written) -> Result<PathBuf, String> {
        let text = text(written, "\"/a/file\"")?;
        if text.chars().any(char::is_control) {
            return Err("must be a file's path, without control characters".to_owned());
        }
        Ok(PathBuf::from(text))
    }
}

/// A secret given as text. Nothing of it is ever repeated.
pub(super) struct Inline;

impl Rule for Inline {
    type Value = Secret;

    fn read(&self, written: &Written) -> Result<Secret, String> {
        let text = text(written, "\"…\"")?;
        usable(text)?;
        Ok(Secret::new(text))
    }

    fn show(&self, _written: &Written, _value: &Secret) -> String {
        toml_text("[redacted]")
    }
}

/// Whether a secret can be sent in an HTTP header.
pub(super) fn usable(secret: &str) -> Result<(), String> {
    if secret.trim().is_empty() {
        return Err("contains nothing but white space".to_owned());
    }
    if secret.chars().any(char::is_control) {
        return Err("contains a control character, perhaps a line break; write the secret alone".to_owned());
    }
    Ok(())
}

/// `EnvFilter` directives.
pub(super) struct Directives;

impl Rule for Directives {
    type Value = String;

    fn read(&self, written: &Written) -> Result<String, String> {
        let text = text(written, "\"info\"")?;
        // EnvFilter trims and then counts in the untrimmed text: wrong, or a panic within a wide space.
        if text.contains(char::is_whitespace) {
            return Err(format!("{} contains a space; write directives without", quoted(text)));
        }
        EnvFilter::builder()
            .parse(text)
            .map_err(|error| format!("{} is not an EnvFilter directive: {error}", quoted(text)))?;
        // EnvFilter takes a word that is no level for a module to trace: "inof" would silence every log.
        let is_level = |word: &str| word.is_empty() || word.parse::<LevelFilter>().is_ok();
        let mut words = text.split(',').filter(|word| !word.contains(['=', '[']));
        match words.find(|word| !is_level(word)) {
            Some(word) => Err(format!(
                "{} is no level; write error, warn, info, debug, trace or off, or give a module's level: {}",
                quoted(word),
                quoted(&format!("{word}=info")),
            )),
            None => Ok(text.to_owned()),
        }
    }
}

/// The text of a value that must be text, and not empty.
fn text<'a>(written: &'a Written, example: &str) -> Result<&'a str, String> {
    match written {
        Written::Text(text) | Written::Variable(text) if text.trim().is_empty() => {
            Err(format!("is empty; write text, like {example}, or remove it"))
        }
        Written::Text(text) | Written::Variable(text) => Ok(text),
        Written::Integer(_) => Err(format!("must be text in quotes, like {example}, not an integer")),
        Written::Other(kind) => Err(format!("must be text in quotes, like {example}, not {}", a(kind))),
    }
}

/// A TOML type with its article.
fn a(kind: &str) -> String {
    let article = if kind.starts_with('a') { "an" } else { "a" };
    format!("{article} {kind}")
}

/// A value repeated in a message. Never that of a secret.
fn quoted(text: &str) -> String {
    format!("\"{}\"", one_line(text))
}

/// A TOML basic string.
pub(super) fn toml_text(text: &str) -> String {
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
