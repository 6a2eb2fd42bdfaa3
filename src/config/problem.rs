//! Problems and warnings: which key, where it was set, and what to do.
//!
//! They never contain a secret: the code that reports a problem leaves it out.

use std::{error::Error, fmt, path::PathBuf};

use super::keys;
use crate::toml_document::one_line;

/// Where a value was set.
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

/// Problems of files sort before those of keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ConfigProblem {
    /// A file that cannot be read or parsed, with the line if it is known.
    File { path: PathBuf, line: Option<usize>, message: String },
    /// A key or an unknown name; without an origin if it is required and not set.
    Key { key: String, origin: Option<Origin>, message: String },
}

impl ConfigProblem {
    pub(super) fn new(key: &str, origin: Option<&Origin>, message: impl Into<String>) -> Self {
        Self::Key { key: key.to_owned(), origin: origin.cloned(), message: message.into() }
    }

    /// A key that may not be set, with the one to write instead if one is close.
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

/// Every problem of a configuration: one line each, sorted by file, section and key. No line contains a secret.
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
