//! Problems and warnings. Each has the key or the file, the origin of the value, and usually what to do.
//!
//! No message contains the value of a key for a secret: the code that reports a problem leaves it out.

use std::{error::Error, fmt, path::PathBuf};

use super::keys;
use crate::toml_document::one_line;

/// The place where a value was set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// The built-in `config/default.toml`.
    Default,
    /// A line of a `--config` file, counted from 1.
    File(PathBuf, usize),
    Environment(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", one_line(&path.to_string_lossy())),
            Self::Environment(name) => write!(f, "environment variable {}", one_line(name)),
        }
    }
}

/// One problem. Problems of files sort before problems of keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ConfigProblem {
    /// The file cannot be read, or a line is wrong. The line is `None` if the problem is not in a line.
    File { path: PathBuf, line: Option<usize>, message: String },
    /// The key is unknown, wrong or missing. The origin is `None` if the key is not set.
    Key { key: String, origin: Option<Origin>, message: String },
}

impl ConfigProblem {
    pub(super) fn new(key: &str, origin: Option<&Origin>, message: impl Into<String>) -> Self {
        Self::Key { key: key.to_owned(), origin: origin.cloned(), message: message.into() }
    }

    /// Returns the problem of an unknown key. The message names the key that was probably meant, if there is one.
    pub(super) fn unknown(key: &str, origin: &Origin) -> Self {
        let message = keys::closest(key).map_or_else(
            || "unknown key; remove it (config/default.toml lists every key)".to_owned(),
            |meant| {
                let (section, name) = keys::split(meant);
                if let Origin::Environment(_) = origin {
                    let (section, name) = (section.to_uppercase(), name.to_uppercase());
                    format!("unknown key; did you mean {meant}, {}{section}__{name}?", keys::PREFIX)
                } else {
                    format!("unknown key; did you mean {meant}, that is \"{name}\" under [{section}]?")
                }
            },
        );
        Self::new(key, Some(origin), message)
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, message } => {
                f.write_str(&one_line(&path.to_string_lossy()))?;
                line.map_or(Ok(()), |line| write!(f, ":{line}"))?;
                write!(f, ": {message}")
            }
            Self::Key { key, origin, message } => {
                write!(f, "{}: {message}", one_line(key))?;
                match origin {
                    None => Ok(()),
                    Some(Origin::Default) => f.write_str(" (default)"),
                    Some(origin @ Origin::File(..)) => write!(f, " (set in {origin})"),
                    Some(origin @ Origin::Environment(_)) => write!(f, " (set by {origin})"),
                }
            }
        }
    }
}

/// The problems found in a configuration, one line for each, sorted by file, section and key. No line contains the value
/// of a key for a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<ConfigProblem>);

impl Problems {
    pub(super) fn new(mut problems: Vec<ConfigProblem>) -> Self {
        problems.sort();
        problems.dedup();
        Self(problems)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl Error for Problems {}
