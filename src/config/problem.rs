//! What is said about a configuration: where a value came from, what is wrong, what is only remarkable.
//!
//! Texts of secrets never get here: whoever makes a problem leaves them out.

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
    /// The environment variable of this name.
    Environment(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => write!(f, "default"),
            Self::File(path, line) => write!(f, "{}:{line}", one_line(&path.to_string_lossy())),
            Self::Environment(name) => write!(f, "environment variable {}", one_line(name)),
        }
    }
}

impl Origin {
    /// The end of a sentence that speaks of the value.
    fn said(&self) -> String {
        match self {
            Self::Default => "default".to_owned(),
            Self::File(..) => format!("set in {self}"),
            Self::Environment(_) => format!("set by {self}"),
        }
    }
}

/// One thing that is wrong. Files as such sort before keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Problem {
    /// A file that cannot be read or understood, with the line where that is known.
    File { path: PathBuf, line: Option<usize>, what: String },
    /// A key, or a name that is none.
    Key { key: String, origin: Option<Origin>, what: String },
}

impl Problem {
    /// A problem with a key, and where its value was set.
    pub(super) fn of(key: &str, origin: &Origin, what: impl Into<String>) -> Self {
        Self::Key { key: key.to_owned(), origin: Some(origin.clone()), what: what.into() }
    }

    /// A key that is required and nowhere set.
    pub(super) fn unset(key: &str, what: impl Into<String>) -> Self {
        Self::Key { key: key.to_owned(), origin: None, what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, what } => {
                write!(f, "{}", one_line(&path.to_string_lossy()))?;
                if let Some(line) = line {
                    write!(f, ":{line}")?;
                }
                write!(f, ": {what}")
            }
            Self::Key { key, origin, what } => {
                write!(f, "{}: {what}", one_line(key))?;
                match origin {
                    Some(origin) => write!(f, " ({})", origin.said()),
                    None => Ok(()),
                }
            }
        }
    }
}

/// Everything that is wrong with a configuration: `Display` gives one line each, sorted by file, section and key.
///
/// No line contains the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        Self(problems)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl Error for Problems {}

/// Something allowed that an operator should know of, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(Problem);

impl Warning {
    pub(super) fn new(key: &str, origin: &Origin, what: impl Into<String>) -> Self {
        Self(Problem::of(key, origin, what))
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What to say about a name that is not accepted, with the name to write instead if one is close.
pub(super) fn unknown(meant: Option<&'static str>, origin: &Origin) -> String {
    let Some(meant) = meant else {
        return "unknown key; remove it (config/default.toml lists every key)".to_owned();
    };
    let (section, key) = keys::split(meant);
    match origin {
        Origin::Environment(_) => {
            let variable = format!("{}{}__{}", super::PREFIX, section.to_uppercase(), key.to_uppercase());
            format!("unknown key; did you mean {meant}, {variable}?")
        }
        Origin::Default | Origin::File(..) => {
            format!("unknown key; did you mean {meant}, that is \"{key}\" under [{section}]?")
        }
    }
}
