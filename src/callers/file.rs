//! Reads the callers' file, and detects its changes while the service runs.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use super::{
    oidc::{IssuerEntry, KeyFetcher, unusable_files},
    parser::{self, CallerEntry, FileEntries, Issue},
};
use crate::{egress::EnvironmentProxies, regular_file};

/// The maximum size of the file, in bytes: far above any usual size. If `callers.file` names a large log by mistake,
/// the service does not read all of it every second.
const MAX_BYTES: u64 = 1 << 20;

/// The text of the file, or the reason why it cannot be read.
pub(super) type FileContents = Result<String, String>;

/// The contents of a valid callers' file.
pub struct CallersFile {
    pub(super) path: PathBuf,
    pub(super) contents: FileContents,
    pub(super) entries: FileEntries,
    pub(super) fetcher: KeyFetcher,
}

impl CallersFile {
    /// Reads the file. If it is invalid, returns the problems in it.
    pub(crate) fn read(path: &Path) -> Result<Self, Vec<Issue>> {
        let contents = read_contents(path);
        let entries = validate(&contents)?;
        Ok(Self { path: path.to_owned(), contents, entries, fetcher: KeyFetcher::default() })
    }

    /// Uses these proxies for the keys of issuers.
    pub(crate) fn with_proxies(self, proxies: EnvironmentProxies) -> Self {
        Self { fetcher: KeyFetcher { proxies }, ..self }
    }

    /// Describes each caller in one line, such as `bi weight=2 keys=1 calls_per_minute=60 hide=identity`. The line
    /// contains no part of a hash.
    pub(crate) fn descriptions(&self) -> impl Iterator<Item = String> {
        self.entries.callers.iter().map(|entry| {
            let CallerEntry { name, key_sha256, tokens, weight, calls_per_minute, calls_per_day, hide } =
                entry;
            let mut line = format!("{name} weight={weight} keys={}", key_sha256.len());
            for (key, limit) in [("calls_per_minute", calls_per_minute), ("calls_per_day", calls_per_day)] {
                line.extend(limit.map(|limit| format!(" {key}={limit}")));
            }
            if !hide.is_empty() {
                line.extend([format!(" hide={hide}")]);
            }
            line.extend(tokens.claims().map(|(claim, value)| format!(" {claim}={}", quoted(&value))));
            let issuer = self.entries.issuer_of(tokens);
            line.extend(issuer.map(|IssuerEntry { name, url, audience, .. }| {
                format!(" issuer={name} url={} audience={}", quoted(url), quoted(audience))
            }));
            line
        })
    }

    /// Returns every file of an issuer that cannot be used, and why.
    pub(crate) fn unusable_files(&self) -> impl Iterator<Item = (&Path, String)> {
        self.entries.issuers.iter().flat_map(|issuer| {
            let problems = unusable_files(&issuer.keys).into_iter();
            problems.map(move |(path, problem)| (path, format!("issuer {}: {problem}", issuer.name)))
        })
    }

    /// Returns a warning about content that is valid but probably a mistake.
    pub(crate) fn warning(&self) -> Option<&'static str> {
        self.entries.warning()
    }

    /// Returns the number of callers.
    pub fn count(&self) -> usize {
        self.entries.callers.len()
    }
}

/// Quotes a string that contains white space, quotes or backslashes, so that it stays one word of the line.
fn quoted(text: &str) -> Cow<'_, str> {
    let is_word = !text.contains(|character: char| character.is_whitespace() || "\"'\\".contains(character));
    if is_word { text.into() } else { format!("{text:?}").into() }
}

/// Reads the file. Each read resolves symbolic links, because Kubernetes updates a mounted file by changing a link.
pub(super) fn read_contents(path: &Path) -> FileContents {
    regular_file::read_text(path, MAX_BYTES).map_err(|error| format!("cannot be read: {error}"))
}

/// Parses the callers. Rejects a list without callers, because every request would fail. An editor that truncates a
/// file before it writes leaves the file empty for a moment.
pub(super) fn validate(contents: &FileContents) -> Result<FileEntries, Vec<Issue>> {
    let text = contents.as_ref().map_err(Issue::whole_file)?;
    let entries = parser::parse(text)?;
    if entries.callers.is_empty() {
        let message = "has no callers, so every request would be rejected; add one with `callers add NAME`";
        return Err(Issue::whole_file(message));
    }
    Ok(entries)
}

/// Reports a change of a file once, after two successive reads gave the same contents. A file that is half written at
/// one read is therefore normally not used.
pub(super) struct ChangeDetector {
    reported: FileContents,
    /// The contents of the last read, if they differ from `reported`.
    pending: Option<FileContents>,
}

impl ChangeDetector {
    pub(super) fn new(current: FileContents) -> Self {
        Self { reported: current, pending: None }
    }

    /// Handles the contents of one read, and returns them if they are a change to report.
    pub(super) fn update(&mut self, contents: FileContents) -> Option<&FileContents> {
        if contents == self.reported {
            self.pending = None;
            return None;
        }
        if self.pending.as_ref() == Some(&contents) {
            self.pending = None;
            self.reported = contents;
            return Some(&self.reported);
        }
        self.pending = Some(contents);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads these contents in turn, `None` for a missing file; returns which of the reads reported a change.
    fn reported(first: &str, reads: &[Option<&str>]) -> Vec<bool> {
        let mut detector = ChangeDetector::new(Ok(first.to_owned()));
        let contents = reads.iter().map(|text| text.map(str::to_owned).ok_or_else(|| "gone".to_owned()));
        contents.map(|read| detector.update(read.clone()).is_some_and(|change| *change == read)).collect()
    }

    #[test]
    fn a_change_is_reported_once_after_two_equal_reads() {
        assert_eq!(reported("a", &[Some("a"), Some("a"), Some("a")]), [false; 3]);
        assert_eq!(reported("a", &[Some("b"), Some("b"), Some("b")]), [false, true, false]);
        assert_eq!(reported("a", &[Some("b"), Some("bc"), Some("bc")]), [false, false, true], "half-written");
        assert_eq!(reported("a", &[None, Some("a"), None, Some("a")]), [false; 4], "no lasting change");
        assert_eq!(reported("a", &[None, None, None, None]), [false, true, false, false]);
        let and_back = [None, None, Some("a"), Some("a"), Some("a")];
        assert_eq!(reported("a", &and_back), [false, true, false, true, false]);
    }

    #[test]
    fn only_a_regular_utf8_file_of_at_most_1_mib_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let error = |path: &Path| read_contents(path).unwrap_err();
        assert!(error(folder.path()).contains("not a regular file"));
        let path = folder.path().join("callers.toml");
        assert!(error(&path).starts_with("cannot be read: No such file"));
        std::fs::write(&path, [0xff, b'\n']).unwrap();
        assert!(error(&path).contains("UTF-8"));
        std::fs::write(&path, " ".repeat((1 << 20) + 1)).unwrap();
        assert!(error(&path).contains("1048576"));
        std::fs::write(&path, " ".repeat(1 << 20)).unwrap();
        assert!(read_contents(&path).is_ok());
        let issues = CallersFile::read(&path).err().unwrap();
        assert!(issues[0].to_string().starts_with("has no callers"), "{issues:?}");
    }
}
