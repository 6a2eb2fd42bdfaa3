//! `callers add`: generates a key and appends a caller to the callers' file, completely or not at all.
//!
//! The new text is written to a temporary file that then replaces the original. The temporary file is also the lock
//! against a second `callers add` at the same time.

use std::{
    fmt::Write as _,
    fs::{self, Permissions},
    io,
    num::NonZeroU32,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use super::{
    caller::CallerName,
    file,
    key::CallerKey,
    parser::{self, CallerEntry, Issue},
};
use crate::{
    atomic_file::{self, AtomicFile},
    hiding::HiddenFields,
};

pub(crate) struct NewCaller {
    pub(crate) name: CallerName,
    pub(crate) weight: u32,
    pub(crate) calls_per_minute: Option<NonZeroU32>,
}

/// The reason why no caller was added. The file is unchanged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddError {
    #[error("{file}: there is already a caller named {1}; choose another name, or remove that entry first", file = .0.display())]
    NameTaken(PathBuf, CallerName),
    #[error("{}", with_path(.0, .1))]
    Invalid(PathBuf, Vec<Issue>),
    #[error("{}: an entry cannot be appended; write every caller as a table that begins with [[caller]]", .0.display())]
    NotAppendable(PathBuf),
    #[error(
        "{}: already exists: another `callers add` is running or was interrupted; if none is running, delete it",
        .0.display()
    )]
    InProgress(PathBuf),
    #[error("{file}: {1}: {2}", file = .0.display())]
    Io(PathBuf, &'static str, io::Error),
    #[error("the system's random number generator failed: {0}")]
    Random(getrandom::Error),
}

fn with_path(path: &Path, issues: &[Issue]) -> String {
    let lines: Vec<_> = issues.iter().map(|issue| format!("{}: {issue}", path.display())).collect();
    lines.join("\n")
}

/// A new caller, written to the temporary file. Dropping it leaves the callers' file unchanged.
pub(crate) struct Addition {
    key: CallerKey,
    file: AtomicFile,
}

impl Addition {
    /// Generates the key and writes the new content to the temporary file.
    pub(crate) fn prepare(path: &Path, new: &NewCaller) -> Result<Self, AddError> {
        // A symbolic link stays as it is, and its target is replaced.
        let target = match fs::canonicalize(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => {
                path.to_owned()
            }
            found => found.map_err(io_error("cannot be found", path))?,
        };
        let file = AtomicFile::create_new(&target).map_err(|error| {
            let temporary = atomic_file::temporary_path(&target);
            match error.kind() {
                io::ErrorKind::AlreadyExists => AddError::InProgress(temporary),
                _ => io_error("cannot be created", &temporary)(error),
            }
        })?;
        let key = CallerKey::random().map_err(AddError::Random)?;
        let mut addition = Self { key, file };
        let text = addition.new_text(new)?;
        addition.write(&text)?;
        Ok(addition)
    }

    /// Returns the key. Show it before [`Self::commit`]: a key that was shown but never became valid does less harm than a valid
    /// key that nobody saw.
    pub(crate) fn key(&self) -> &CallerKey {
        &self.key
    }

    pub(crate) fn commit(self) -> Result<(), AddError> {
        let failed = io_error("cannot be replaced", self.file.target());
        self.file.commit().map_err(failed)
    }

    fn new_text(&self, new: &NewCaller) -> Result<String, AddError> {
        let path = self.file.target();
        let invalid = |issues| AddError::Invalid(path.to_owned(), issues);
        let mut text = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                "# The callers of zoom-qos-proxy. A change takes effect within 5 s, without a restart.\n"
                    .to_owned()
            }
            _ => file::read_contents(path).map_err(|error| invalid(Issue::whole_file(error)))?,
        };
        let mut entries = parser::parse(&text).map_err(invalid)?;
        if entries.iter().any(|entry| entry.name == new.name) {
            return Err(AddError::NameTaken(path.to_owned(), new.name.clone()));
        }
        let NewCaller { name, weight, calls_per_minute } = new;
        let entry = CallerEntry {
            name: name.clone(),
            key_sha256: vec![self.key.digest()],
            weight: *weight,
            calls_per_minute: *calls_per_minute,
            calls_per_day: None,
            hide: HiddenFields::default(),
        };
        append(&mut text, &entry);
        entries.push(entry);
        // An inline list of callers cannot be extended by a table. The new text would not parse.
        if parser::parse(&text).is_ok_and(|read| read == entries) {
            Ok(text)
        } else {
            Err(AddError::NotAppendable(path.to_owned()))
        }
    }

    fn write(&mut self, text: &str) -> Result<(), AddError> {
        let target = self.file.target().to_owned();
        let temporary = atomic_file::temporary_path(&target);
        if let Ok(old) = fs::metadata(&target) {
            let new = self.file.file.metadata().map_err(io_error("cannot be read", &temporary))?;
            if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
                // With another owner, the service might not be able to read the file.
                fchown(&self.file.file, Some(old.uid()), Some(old.gid())).map_err(io_error(
                    "its owner cannot be kept; run `callers add` as the owner of the file or as root",
                    &target,
                ))?;
            }
            let mode = Permissions::from_mode(old.mode() & 0o7777);
            self.file.file.set_permissions(mode).map_err(io_error("its mode cannot be kept", &target))?;
        }
        self.file.write(text.as_bytes()).map_err(io_error("cannot be written", &temporary))
    }
}

fn append(text: &mut String, entry: &CallerEntry) {
    let CallerEntry { name, key_sha256, weight, calls_per_minute, .. } = entry;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    if !text.is_empty() {
        text.push('\n');
    }
    let key_sha256: Vec<_> = key_sha256.iter().map(hex::encode).collect();
    let key_sha256 = key_sha256.join("\", \"");
    // Writing to a String cannot fail.
    _ = write!(text, "[[caller]]\nname = \"{name}\"\nkey_sha256 = \"{key_sha256}\"\nweight = {weight}\n");
    if let Some(limit) = calls_per_minute {
        _ = writeln!(text, "calls_per_minute = {limit}");
    }
}

fn io_error(problem: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AddError + use<> {
    let path = path.to_owned();
    move |source| AddError::Io(path, problem, source)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn new(name: &str) -> NewCaller {
        NewCaller { name: CallerName::parse(name).unwrap(), weight: 1, calls_per_minute: None }
    }

    fn with(text: &str) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("callers.toml");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn names(path: &Path) -> Vec<String> {
        let entries = parser::parse(&fs::read_to_string(path).unwrap()).ok().unwrap();
        entries.iter().map(|entry| entry.name.to_string()).collect()
    }

    fn files_in(folder: &TempDir) -> usize {
        fs::read_dir(folder.path()).unwrap().count()
    }

    #[test]
    fn the_existing_text_stays_byte_for_byte() {
        let hash = "0".repeat(64);
        let before =
            format!("# ours\n\n[[caller]] # old\nname = \"a\"\nkey_sha256 = \"{hash}\" # no newline");
        let (folder, path) = with(&before);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let wanted = NewCaller {
            name: CallerName::parse("b").unwrap(),
            weight: 3,
            calls_per_minute: NonZeroU32::new(7),
        };
        let addition = Addition::prepare(&path, &wanted).unwrap();
        let digest = hex::encode(addition.key().digest());
        addition.commit().unwrap();
        let after = fs::read_to_string(&path).unwrap();
        assert_eq!(
            after,
            format!(
                "{before}\n\n[[caller]]\nname = \"b\"\nkey_sha256 = \"{digest}\"\nweight = 3\ncalls_per_minute = 7\n"
            )
        );
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(files_in(&folder), 1);
    }

    #[test]
    fn a_concurrent_addition_is_rejected_and_no_caller_is_lost() {
        let (_folder, path) = with("");
        let first = Addition::prepare(&path, &new("a")).unwrap();
        assert!(matches!(Addition::prepare(&path, &new("b")), Err(AddError::InProgress(_))));
        first.commit().unwrap();
        Addition::prepare(&path, &new("b")).unwrap().commit().unwrap();
        assert_eq!(names(&path), ["a", "b"]);
    }

    #[test]
    fn a_symbolic_link_stays_one() {
        let (folder, path) = with("");
        let link = folder.path().join("link.toml");
        std::os::unix::fs::symlink("callers.toml", &link).unwrap();
        Addition::prepare(&link, &new("a")).unwrap().commit().unwrap();
        assert_eq!(names(&path), ["a"]);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        fs::remove_file(&path).unwrap();
        let dangling = Addition::prepare(&link, &new("a")).err().unwrap();
        assert!(matches!(dangling, AddError::Io(..)), "{dangling}");
    }

    #[test]
    fn an_unsuitable_file_is_left_unchanged() {
        let hash = "0".repeat(64);
        let inline = format!("caller = [{{ name = \"a\", key_sha256 = \"{hash}\" }}]\n");
        for (text, expected) in [
            (inline.as_str(), "[[caller]]"),
            ("[[caller]]\nname = \"a\"\n", "line 1: this caller has no key_sha256"),
            ("[[caller]]\nname = \"B\"\nweight = 0\n", "line 3: weight"),
        ] {
            let (folder, path) = with(text);
            let error = Addition::prepare(&path, &new("b")).err().unwrap();
            assert!(error.to_string().contains(expected), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(files_in(&folder), 1);
        }
        let (_folder, path) = with(&format!("[[caller]]\nname = \"a\"\nkey_sha256 = \"{hash}\"\n"));
        assert!(matches!(Addition::prepare(&path, &new("a")), Err(AddError::NameTaken(..))));
    }
}
