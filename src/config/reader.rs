//! Reads keys from the layers, applies their rules, and collects the problems and the values that `check-config`
//! shows.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    keys,
    layers::{Layers, RawValue, Setting},
    problem::{ConfigProblem, Origin, Problems},
    rules::{Checked, address, quantity, text},
};
use crate::{toml_document::one_line, zoom::secret::SecretSource};

pub(super) struct Reader {
    layers: Layers,
    problems: Vec<ConfigProblem>,
    warnings: Vec<String>,
    displayed: BTreeMap<&'static str, DisplayValue>,
    /// Whether files of secrets, certificates, callers and issuers may be missing.
    files_may_be_missing: bool,
    /// Whether the files of issuers are checked. The service starts without them, because it reads them again later.
    pub(super) checks_issuer_files: bool,
}

/// A value as TOML, and a comment with its origin.
struct DisplayValue {
    value: String,
    comment: String,
}

impl Reader {
    pub(super) fn new(layers: Layers) -> Self {
        Self {
            layers,
            problems: Vec::new(),
            warnings: Vec::new(),
            displayed: BTreeMap::new(),
            files_may_be_missing: false,
            checks_issuer_files: false,
        }
    }

    /// Makes the reader also check the files of issuers, for `check-config`, and sets whether files may be missing.
    pub(super) fn check_files(&mut self, may_be_missing: bool) {
        self.files_may_be_missing = may_be_missing;
        self.checks_issuer_files = true;
    }

    /// If the file that `key` names is missing and is allowed to be, warns and returns true.
    pub(super) fn skip_missing_file(&mut self, key: &str, path: &Path) -> bool {
        let skipped = self.may_skip(path);
        if skipped {
            self.warn(key, "the file does not exist, so its content is not checked");
        }
        skipped
    }

    /// Returns whether this file is missing and is allowed to be.
    pub(super) fn may_skip(&self, path: &Path) -> bool {
        self.files_may_be_missing && !path.exists()
    }

    /// Returns the value of the last layer that sets the key; `None` if no layer does, or if the value is wrong,
    /// which is reported. A wrong value is reported even if a later layer overrides it.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        rule: impl Fn(&RawValue) -> Checked<T>,
    ) -> Option<T> {
        let mut last = None;
        for Setting { value, origin } in self.layers.settings(key) {
            last = value.as_ref().and_then(|raw| match rule(raw) {
                Ok((typed, value)) => {
                    self.displayed.insert(key, DisplayValue { value, comment: origin.to_string() });
                    Some(typed)
                }
                Err(message) => {
                    self.problems.push(ConfigProblem::new(key, Some(origin), message));
                    None
                }
            });
        }
        last
    }

    /// Returns the value like [`Self::optional`], and reports a key that is not set.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        rule: impl Fn(&RawValue) -> Checked<T>,
    ) -> Option<T> {
        let value = self.optional(key, rule);
        if !self.is_set(key) {
            self.reject(key, format!("required: set {key}"));
        }
        value
    }

    // In place of a wrong value, the following methods return a placeholder such as 0. The wrong value is reported,
    // so the service never runs with the placeholder.

    pub(super) fn address(&mut self, key: &'static str) -> SocketAddr {
        self.required(key, address::socket_addr).unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into())
    }

    pub(super) fn duration(&mut self, key: &'static str) -> Duration {
        self.required(key, quantity::duration).unwrap_or_default()
    }

    pub(super) fn positive_duration(&mut self, key: &'static str) -> Duration {
        self.required(key, quantity::positive_duration).unwrap_or_default()
    }

    pub(super) fn integer(&mut self, key: &'static str, range: &RangeInclusive<u32>) -> u32 {
        self.required(key, |raw| quantity::integer(raw, range)).unwrap_or_default()
    }

    /// Reads a size in bytes. Warns of a size without a unit, which is rarely meant in bytes.
    pub(super) fn size(&mut self, key: &'static str) -> usize {
        let Some(size) = self.required(key, quantity::size) else { return 0 };
        let last = self.layers.settings(key).last();
        let text = last.and_then(|setting| setting.value.as_ref()?.text()).unwrap_or_default().trim();
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let message =
                format!("has no unit and means {text} bytes; write \"{text}B\", or a unit such as MiB");
            self.warn(key, message);
        }
        size
    }

    /// Reads a secret, which is the value of `key` or in the file that `file_key` names.
    pub(super) fn secret(&mut self, key: &'static str, file_key: &'static str) -> Option<SecretSource> {
        let secret = self.optional_secret(key, file_key);
        if self.first_set([key, file_key]).is_none() {
            self.reject(key, format!("required: set {key} or {file_key}"));
        }
        secret
    }

    /// Reads a secret like [`Self::secret`], but it may be missing. Reads the file once, so that a wrong mount is
    /// reported at start.
    pub(super) fn optional_secret(
        &mut self,
        key: &'static str,
        file_key: &'static str,
    ) -> Option<SecretSource> {
        let inline = self.optional(key, text::secret).map(SecretSource::Inline);
        let file = self.file_instead_of(key, file_key, |path| check_secret_file(&SecretSource::File(path)));
        inline.or(file.map(SecretSource::File))
    }

    /// Reads the path of a file that can be set instead of `key`. Reports a problem if both are set, or if `check`
    /// rejects the file.
    pub(super) fn file_instead_of(
        &mut self,
        key: &'static str,
        file_key: &'static str,
        check: impl FnOnce(PathBuf) -> Result<(), String>,
    ) -> Option<PathBuf> {
        let path = self.optional(file_key, text::file_path);
        if let Some(origin) = self.origin(file_key).filter(|_| self.is_set(key)) {
            self.reject(key, format!("{file_key} is set too ({origin}); keep one of them"));
        } else if let Some(path) = path.clone().filter(|path| !self.skip_missing_file(file_key, path))
            && let Err(message) = check(path)
        {
            self.reject(file_key, message);
        }
        path
    }

    pub(super) fn is_set(&self, key: &str) -> bool {
        !self.layers.settings(key).is_empty()
    }

    pub(super) fn origin(&self, key: &str) -> Option<Origin> {
        self.layers.settings(key).last().map(|setting| setting.origin.clone())
    }

    pub(super) fn first_set<const N: usize>(&self, keys: [&'static str; N]) -> Option<&'static str> {
        keys.into_iter().find(|key| self.is_set(key))
    }

    /// Returns the value and the origin of one of the variables without `QOS_PROXY__`.
    pub(super) fn common_variable(&self, name: &str) -> Option<(String, Origin)> {
        self.layers.common_variables.get(name).cloned()
    }

    pub(super) fn reject(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(ConfigProblem::new(key, self.origin(key).as_ref(), message));
    }

    /// Reports a problem with a value that replaces `key` but comes from elsewhere, for example from `HTTPS_PROXY`.
    pub(super) fn reject_at(&mut self, key: &str, origin: &Origin, message: impl Into<String>) {
        self.problems.push(ConfigProblem::new(key, Some(origin), message));
    }

    pub(super) fn reject_line(&mut self, path: &Path, line: usize, message: String) {
        self.problems.push(ConfigProblem::File { path: path.to_owned(), line: Some(line), message });
    }

    pub(super) fn warn(&mut self, key: &str, message: impl Into<String>) {
        self.warnings.push(ConfigProblem::new(key, self.origin(key).as_ref(), message).to_string());
    }

    /// Warns of a value that replaces a key but was set elsewhere.
    pub(super) fn warn_at(&mut self, key: &str, origin: &Origin, message: impl Into<String>) {
        self.warnings.push(ConfigProblem::new(key, Some(origin), message).to_string());
    }

    /// Sets the displayed value of a key that was derived rather than set.
    pub(super) fn display(&mut self, key: &'static str, value: &str, comment: &str) {
        self.displayed.insert(key, DisplayValue { value: value.to_owned(), comment: comment.to_owned() });
    }

    pub(super) fn annotate(&mut self, key: &str, note: &str) {
        if let Some(displayed) = self.displayed.get_mut(key) {
            displayed.comment.push_str("; ");
            displayed.comment.push_str(note);
        }
    }

    /// Returns the output of `check-config` and the warnings, or the problems.
    pub(super) fn finish(self) -> Result<(String, Vec<String>), Problems> {
        let mut problems = self.layers.problems;
        problems.extend(self.problems);
        if problems.is_empty() {
            Ok((effective(&self.displayed), self.warnings))
        } else {
            Err(Problems::new(problems))
        }
    }
}

fn check_secret_file(file: &SecretSource) -> Result<(), String> {
    let secret =
        file.read().map_err(|error| format!("the file cannot be used: {}", one_line(&error.to_string())))?;
    text::check_secret(secret.expose()).map_err(|message| format!("the file {message}"))
}

/// Returns all accepted keys as TOML. A key that is not set is written as a comment.
fn effective(displayed: &BTreeMap<&'static str, DisplayValue>) -> String {
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
        lines.push(match displayed.get(key) {
            Some(DisplayValue { value, comment }) => format!("{name} = {value} # {comment}"),
            None => format!("# {name} is not set"),
        });
    }
    lines.push(String::new());
    lines.join("\n")
}
