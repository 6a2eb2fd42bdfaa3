//! The layers: which keys are set, by whom, to what. Later layers come later.
//!
//! Whether a value makes sense is not judged here, only whether its key is known.

use std::{collections::BTreeMap, ffi::OsString, io::ErrorKind, path::Path};

use toml::de::DeValue;

use super::{
    PREFIX,
    keys::{self, Known},
    problem::{Origin, Problem, unknown},
};
use crate::{
    regular_file,
    toml_document::{Item, TomlDocument, integer},
};

/// Bytes of a `--config` file: a hundred times one that sets every key.
const LARGEST_FILE: u64 = 1 << 20;

/// What other programs heed, too.
const AMBIENT: [&str; 4] = ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE"];

/// A value as it was written, before anything is made of it.
pub(super) enum Written {
    /// A TOML string.
    Text(String),
    /// A TOML integer; `None` is beyond 128 bits.
    Integer(Option<i128>),
    /// The environment knows only text: a number may be meant.
    Variable(String),
    /// A TOML type that no key has.
    Other(&'static str),
}

impl Written {
    /// The text, where it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Variable(text) => Some(text),
            Self::Integer(_) | Self::Other(_) => None,
        }
    }
}

/// One setting of a key.
pub(super) struct Given {
    /// `None`: something that cannot be read, and is already reported.
    pub(super) written: Option<Written>,
    pub(super) origin: Origin,
}

/// All settings, and what was wrong with their files and names.
#[derive(Default)]
pub(super) struct Layers {
    given: BTreeMap<&'static str, Vec<Given>>,
    /// Variables that are not ours and mean something to us, by their names in capitals.
    ambient: BTreeMap<&'static str, (String, Origin)>,
    problems: Vec<Problem>,
}

impl Layers {
    /// The settings of a key, the winning one last.
    pub(super) fn of(&self, key: &str) -> &[Given] {
        self.given.get(key).map_or(&[], Vec::as_slice)
    }

    /// A variable that all programs heed, by its name in capitals.
    pub(super) fn ambient(&self, name: &str) -> Option<&(String, Origin)> {
        self.ambient.get(name)
    }

    /// The problems met while reading.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Adds the built-in defaults.
    pub(super) fn add_defaults(&mut self, text: &str) {
        self.add_document(text, Path::new("config/default.toml"), |_| Origin::Default);
    }

    /// Adds a `--config` file.
    pub(super) fn add_file(&mut self, path: &Path) {
        let unreadable = |what| Problem::File { path: path.to_owned(), line: None, what };
        match regular_file::read_text(path, LARGEST_FILE) {
            Ok(text) => self.add_document(&text, path, |line| Origin::File(path.to_owned(), line)),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                self.problems.push(unreadable("is not UTF-8; TOML must be".to_owned()));
            }
            Err(error) => {
                self.problems
                    .push(unreadable(format!("cannot be read: {error}; give --config a readable file")));
            }
        }
    }

    fn add_document(&mut self, text: &str, path: &Path, origin: impl Fn(usize) -> Origin) {
        let document = TomlDocument::parse(text);
        for (line, what) in &document.syntax_errors {
            let (path, line, what) = (path.to_owned(), Some(*line), what.clone());
            self.problems.push(Problem::File { path, line, what });
        }
        for Item { key: section, line, value, .. } in document.items(document.root()) {
            let DeValue::Table(settings) = value else {
                self.problems.push(outside(section, &origin(line)));
                continue;
            };
            if settings.is_empty() && !keys::is_section(section) {
                let what = "unknown section; remove it (config/default.toml lists every key)";
                self.problems.push(Problem::of(&format!("[{section}]"), &origin(line), what));
            }
            for Item { key, line, value, is_broken } in document.items(settings) {
                let written = (!is_broken).then(|| written(value));
                self.add(&format!("{section}.{key}"), written, origin(line));
            }
        }
    }

    /// Adds those variables that are ours.
    ///
    /// Ours begin with `QOS_PROXY__`, two underscores: Kubernetes gives every pod variables such as
    /// `QOS_PROXY_PORT` or `QOS_PROXY_SERVICE_HOST` when a service is called `qos-proxy`, and those must neither
    /// configure anything nor be errors.
    pub(super) fn add_environment(&mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) {
        let mut ours: Vec<(String, OsString)> =
            variables.into_iter().map(|(name, value)| (name.to_string_lossy().into_owned(), value)).collect();
        ours.sort();
        for (name, value) in ours {
            let Some(path) = name.strip_prefix(PREFIX) else {
                self.add_ambient(name, value);
                continue;
            };
            let key = path.to_ascii_lowercase().replace("__", ".");
            let origin = Origin::Environment(name);
            let written = value.into_string().map_or_else(
                |_| {
                    self.problems.push(Problem::of(&key, &origin, "is not UTF-8; write UTF-8"));
                    None
                },
                |text| Some(Written::Variable(text)),
            );
            if let Some(Given { origin: first @ Origin::Environment(_), .. }) = self.of(&key).last() {
                let what = format!("{first} means the same key; remove one");
                self.problems.push(Problem::of(&key, &origin, what));
            }
            self.add(&key, written, origin);
        }
    }

    /// One that is empty is as if it were not set. In small letters it wins, as with curl; variables come sorted, so it comes
    /// last.
    fn add_ambient(&mut self, name: String, value: OsString) {
        let Some(known) = AMBIENT.into_iter().find(|known| known.eq_ignore_ascii_case(&name)) else { return };
        let is_in_one_case = name == known || name == known.to_ascii_lowercase();
        if let Ok(value) = value.into_string()
            && !value.trim().is_empty()
            && is_in_one_case
        {
            self.ambient.insert(known, (value, Origin::Environment(name)));
        }
    }

    fn add(&mut self, name: &str, written: Option<Written>, origin: Origin) {
        let what = match keys::look_up(name) {
            Known::Accepted(key) => {
                self.given.entry(key).or_default().push(Given { written, origin });
                return;
            }
            Known::Unknown(meant) => unknown(meant, &origin),
        };
        self.problems.push(Problem::of(name, &origin, what));
    }
}

fn written(value: &DeValue<'_>) -> Written {
    match value {
        DeValue::String(text) => Written::Text(text.to_string()),
        DeValue::Integer(_) => Written::Integer(integer(value)),
        other => Written::Other(other.type_str()),
    }
}

/// A value that stands in no section.
fn outside(name: &str, origin: &Origin) -> Problem {
    let what = match keys::look_up(name) {
        _ if keys::is_section(name) => format!("is a section; write [{name}] and its keys below"),
        Known::Accepted(key) => unknown(Some(key), origin),
        Known::Unknown(meant) => unknown(meant, origin),
    };
    Problem::of(name, origin, what)
}
