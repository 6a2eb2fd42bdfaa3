//! The layers of the configuration: the values of the keys and their origins. Later layers override earlier ones.
//!
//! This module checks the names of the keys, but not their values.

use std::{collections::BTreeMap, ffi::OsString, path::Path};

use toml::de::{DeArray, DeValue};

use super::{
    keys,
    problem::{ConfigProblem, Origin},
};
use crate::{
    regular_file,
    toml_document::{Item, TomlDocument, integer},
};

/// The maximum size of a `--config` file, in bytes. A file that sets every key, with comments, takes about 12 KB.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The environment variables without `QOS_PROXY__` that the service reads, as many other programs do.
const COMMON_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE"];

/// A value before its rule is applied.
pub(super) enum RawValue {
    /// A TOML string.
    Text(String),
    /// A TOML integer; `None` if it does not fit 128 bits.
    Integer(Option<i128>),
    /// The text of a TOML float.
    Float(String),
    Boolean(bool),
    /// A TOML array of strings.
    Texts(Vec<String>),
    /// The text of an environment variable. Its type depends on the key.
    Variable(String),
    /// The name of a TOML type that no key has.
    Other(&'static str),
}

impl RawValue {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Variable(text) => Some(text),
            Self::Integer(_) | Self::Float(_) | Self::Boolean(_) | Self::Texts(_) | Self::Other(_) => None,
        }
    }
}

/// The value of a key in one layer.
pub(super) struct Setting {
    /// The value; `None` if it could not be read, which was reported.
    pub(super) value: Option<RawValue>,
    pub(super) origin: Origin,
}

/// All settings, and the problems found while reading them.
#[derive(Default)]
pub(super) struct Layers {
    settings: BTreeMap<&'static str, Vec<Setting>>,
    /// The values and origins of [`COMMON_VARIABLES`].
    pub(super) common_variables: BTreeMap<&'static str, (String, Origin)>,
    pub(super) problems: Vec<ConfigProblem>,
}

impl Layers {
    /// Returns the settings of a key. The last one is effective.
    pub(super) fn settings(&self, key: &str) -> &[Setting] {
        self.settings.get(key).map_or(&[], Vec::as_slice)
    }

    pub(super) fn add_defaults(&mut self, text: &str) {
        self.add_document(text, Path::new("config/default.toml"), |_| Origin::Default);
    }

    pub(super) fn add_file(&mut self, path: &Path) {
        match regular_file::read_text(path, MAX_FILE_BYTES) {
            Ok(text) => self.add_document(&text, path, |line| Origin::File(path.to_owned(), line)),
            Err(error) => {
                let message = format!("cannot be read: {error}; give --config a readable file");
                self.problems.push(ConfigProblem::File { path: path.to_owned(), line: None, message });
            }
        }
    }

    fn add_document(&mut self, text: &str, path: &Path, origin: impl Fn(usize) -> Origin) {
        let document = TomlDocument::parse(text);
        for (line, message) in &document.syntax_errors {
            let (path, line, message) = (path.to_owned(), Some(*line), message.clone());
            self.problems.push(ConfigProblem::File { path, line, message });
        }
        for Item { key: section, line, value, .. } in document.items(document.root()) {
            let origin_of_section = origin(line);
            match value {
                DeValue::Table(settings) => {
                    if settings.is_empty() && !keys::is_section(section) {
                        let message = "unknown section; remove it (config/default.toml lists every key)";
                        let name = format!("[{section}]");
                        self.problems.push(ConfigProblem::new(&name, Some(&origin_of_section), message));
                    }
                    for Item { key, line, value, is_broken } in document.items(settings) {
                        let value = (!is_broken).then(|| raw_value(value));
                        self.add(&format!("{section}.{key}"), value, origin(line));
                    }
                }
                _ if keys::is_section(section) => {
                    let message = format!("is a section; write [{section}] and its keys below");
                    self.problems.push(ConfigProblem::new(section, Some(&origin_of_section), message));
                }
                _ => self.problems.push(ConfigProblem::unknown(section, &origin_of_section)),
            }
        }
    }

    /// Adds the variables that begin with `QOS_PROXY__`.
    ///
    /// The second underscore matters. For a service called `qos-proxy`, Kubernetes sets variables such as
    /// `QOS_PROXY_PORT` in the pods of its namespace, which must neither configure anything nor be errors.
    pub(super) fn add_environment(&mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) {
        let mut variables: Vec<(String, OsString)> =
            variables.into_iter().map(|(name, value)| (name.to_string_lossy().into_owned(), value)).collect();
        variables.sort();
        for (name, value) in variables {
            let Some(path) = name.strip_prefix(keys::PREFIX) else {
                self.add_common_variable(name, value);
                continue;
            };
            let key = path.to_ascii_lowercase().replace("__", ".");
            let origin = Origin::Environment(name);
            let value = value.into_string().map(RawValue::Variable).ok();
            if value.is_none() {
                self.problems.push(ConfigProblem::new(&key, Some(&origin), "is not UTF-8; write UTF-8"));
            }
            if let Some(Setting { origin: first @ Origin::Environment(_), .. }) = self.settings(&key).last() {
                let message = format!("{first} sets the same key; remove one of them");
                self.problems.push(ConfigProblem::new(&key, Some(&origin), message));
            }
            self.add(&key, value, origin);
        }
    }

    /// Adds one of [`COMMON_VARIABLES`] unless it is blank or not UTF-8. The name in lower case takes precedence: the
    /// variables are sorted, so that name is inserted last.
    fn add_common_variable(&mut self, name: String, value: OsString) {
        let names = COMMON_VARIABLES.into_iter();
        let mut known = names.filter(|known| name == *known || name == known.to_ascii_lowercase());
        if let (Some(known), Ok(value)) = (known.next(), value.into_string())
            && !value.trim().is_empty()
        {
            self.common_variables.insert(known, (value, Origin::Environment(name)));
        }
    }

    fn add(&mut self, name: &str, value: Option<RawValue>, origin: Origin) {
        match keys::accepted(name) {
            Some(key) => self.settings.entry(key).or_default().push(Setting { value, origin }),
            None => self.problems.push(ConfigProblem::unknown(name, &origin)),
        }
    }
}

fn raw_value(value: &DeValue<'_>) -> RawValue {
    match value {
        DeValue::String(text) => RawValue::Text(text.to_string()),
        DeValue::Integer(_) => RawValue::Integer(integer(value)),
        DeValue::Float(number) => RawValue::Float(number.as_str().to_owned()),
        DeValue::Boolean(value) => RawValue::Boolean(*value),
        DeValue::Array(values) => texts(values).map_or(RawValue::Other(value.type_str()), RawValue::Texts),
        other => RawValue::Other(other.type_str()),
    }
}

/// Returns the strings of an array; `None` if any value is not a string.
fn texts(values: &DeArray<'_>) -> Option<Vec<String>> {
    values.iter().map(|value| Some(value.get_ref().as_str()?.to_owned())).collect()
}
