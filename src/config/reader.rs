//! Takes the keys one by one out of the layers, through their rules, and remembers all that is wrong and how each
//! is shown.

use std::{collections::BTreeMap, path::Path};

use super::{
    keys,
    layers::{Given, Layers},
    problem::{Origin, Problem, Problems, Warning},
    rules::{FilePath, Inline, Rule, Size, usable},
};
use crate::{toml_document::one_line, zoom::secret::SecretSource};

/// The state of one reading of the configuration.
pub(super) struct Reader {
    layers: Layers,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
    shown: BTreeMap<&'static str, Shown>,
}

/// A key's value in TOML, and where it comes from.
struct Shown {
    value: String,
    comment: String,
}

/// What a finished reading leaves: what `check-config` prints, and what the log should say.
pub(super) struct Read {
    pub(super) effective: String,
    pub(super) warnings: Vec<Warning>,
}

impl Reader {
    pub(super) fn new(layers: Layers) -> Self {
        Self { layers, problems: Vec::new(), warnings: Vec::new(), shown: BTreeMap::new() }
    }

    /// The value of a key, from the last layer that sets it. `None` when nobody does, or when it is wrong: then a
    /// problem is noted. A wrong value is a problem even where a later layer overrides it.
    pub(super) fn optional<R: Rule>(&mut self, key: &'static str, rule: &R) -> Option<R::Value> {
        let mut last = None;
        for Given { written, origin } in self.layers.of(key) {
            last = written.as_ref().and_then(|written| match rule.read(written) {
                Ok(value) => {
                    let shown = Shown { value: rule.show(written, &value), comment: origin.to_string() };
                    self.shown.insert(key, shown);
                    Some(value)
                }
                Err(what) => {
                    self.problems.push(Problem::of(key, origin, what));
                    None
                }
            });
        }
        last
    }

    /// The value of a key that must be set.
    pub(super) fn required<R: Rule>(&mut self, key: &'static str, rule: &R) -> Option<R::Value> {
        let value = self.optional(key, rule);
        if self.origin(key).is_none() {
            self.problems.push(Problem::unset(key, format!("required: set {key}")));
        }
        value
    }

    /// A size that must be set. One without a unit counts bytes, which hardly anybody means.
    pub(super) fn size(&mut self, key: &'static str) -> Option<usize> {
        let size = self.required(key, &Size)?;
        let last = self.layers.of(key).last();
        let bare = last.and_then(|given| given.written.as_ref()?.text()).map(str::trim);
        if let Some(bare) = bare.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            && let Some(at) = self.origin(key)
        {
            self.warn(
                key,
                &at,
                format!("has no unit and means {bare} bytes; write \"{bare}B\", or a unit such as MiB"),
            );
        }
        Some(size)
    }

    /// A secret that stands under `key` or in the file that `file_key` names: one of both, in whatever layers.
    pub(super) fn secret(&mut self, key: &'static str, file_key: &'static str) -> Option<SecretSource> {
        let secret = self.optional_secret(key, file_key);
        if self.origin(key).is_none() && self.origin(file_key).is_none() {
            self.problems.push(Problem::unset(key, format!("required: set {key} or {file_key}")));
        }
        secret
    }

    /// The same where it may be missing.
    pub(super) fn optional_secret(
        &mut self,
        key: &'static str,
        file_key: &'static str,
    ) -> Option<SecretSource> {
        let inline = self.optional(key, &Inline).map(SecretSource::Inline);
        let file = self.optional(file_key, &FilePath).map(SecretSource::File);
        match (self.origin(key), self.origin(file_key)) {
            (Some(at), Some(file_at)) => {
                self.problem(key, &at, format!("{file_key} is set too ({file_at}); keep one of them"));
            }
            (None, Some(file_at)) => {
                if let Some(what) = file.as_ref().and_then(|file| unusable(file).err()) {
                    self.problem(file_key, &file_at, what);
                }
            }
            (_, None) => {}
        }
        inline.or(file)
    }

    /// Where the winning value of a key was set, if it was.
    pub(super) fn origin(&self, key: &str) -> Option<Origin> {
        self.layers.of(key).last().map(|given| given.origin.clone())
    }

    /// The first of these keys that is set, and where.
    pub(super) fn first_set(
        &self,
        keys: impl IntoIterator<Item = &'static str>,
    ) -> Option<(&'static str, Origin)> {
        keys.into_iter().find_map(|key| Some((key, self.origin(key)?)))
    }

    /// A variable of the environment that all programs heed, by its name in capitals, and how it is written.
    pub(super) fn ambient(&self, name: &str) -> Option<(String, Origin)> {
        self.layers.ambient(name).cloned()
    }

    /// Notes what is wrong with a key's winning value.
    pub(super) fn problem(&mut self, key: &str, origin: &Origin, what: String) {
        self.problems.push(Problem::of(key, origin, what));
    }

    /// Notes what is wrong in a file that a key names, which is no secret.
    pub(super) fn problem_in_file(&mut self, path: &Path, line: usize, what: String) {
        self.problems.push(Problem::File { path: path.to_owned(), line: Some(line), what });
    }

    /// Notes what is remarkable about a key's winning value.
    pub(super) fn warn(&mut self, key: &str, origin: &Origin, what: String) {
        self.warnings.push(Warning::new(key, origin, what));
    }

    /// Shows a value that was derived and not set.
    pub(super) fn show_derived(&mut self, key: &'static str, value: &str, comment: &str) {
        self.shown.insert(key, Shown { value: value.to_owned(), comment: comment.to_owned() });
    }

    /// Adds to what is shown beside a value.
    pub(super) fn remark(&mut self, key: &str, remark: &str) {
        if let Some(shown) = self.shown.get_mut(key) {
            shown.comment.push_str("; ");
            shown.comment.push_str(remark);
        }
    }

    /// What was read, unless something is wrong.
    pub(super) fn finish(self) -> Result<Read, Problems> {
        let effective = effective(&self.shown);
        let mut problems = self.layers.into_problems();
        problems.extend(self.problems);
        if problems.is_empty() {
            Ok(Read { effective, warnings: self.warnings })
        } else {
            Err(Problems::new(problems))
        }
    }
}

/// Reads a secret's file once, so that a wrong mount is told at start. Says nothing of what is in it.
fn unusable(file: &SecretSource) -> Result<(), String> {
    let secret =
        file.read().map_err(|error| format!("the file cannot be used: {}", one_line(&error.to_string())))?;
    usable(secret.expose()).map_err(|what| format!("the file {what}"))
}

/// All accepted keys as TOML, with their sections; those that are not set as comments.
fn effective(shown: &BTreeMap<&'static str, Shown>) -> String {
    let mut lines = Vec::new();
    let mut current = "";
    for key in keys::ACCEPTED {
        let (section, name) = keys::split(key);
        if section != current {
            if !current.is_empty() {
                lines.push(String::new());
            }
            lines.push(format!("[{section}]"));
            current = section;
        }
        lines.push(match shown.get(key) {
            Some(Shown { value, comment }) => format!("{name} = {value} # {comment}"),
            None => format!("# {name} is not set"),
        });
    }
    lines.push(String::new());
    lines.join("\n")
}
