//! `callers add` and `callers remove`: change the callers' file, completely or not at all.
//!
//! The new text is written to a temporary file that then replaces the original. The temporary file is also the lock
//! against a second command at the same time.

use std::{
    fs::{self, Permissions},
    io,
    num::NonZeroU32,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use super::{
    caller::CallerName,
    edit, file,
    key::CallerKey,
    oidc::TokenRule,
    parser::{self, CallerEntry, FileEntries, Issue, MAX_KEYS},
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

/// The reason why the file was not changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EditError {
    #[error(
        "{file}: there is already a caller named {1}; choose another name, remove that entry first, or add a key to it with --rotate",
        file = .0.display()
    )]
    NameTaken(PathBuf, CallerName),
    #[error("{file}: there is no caller named {1}; `callers list` shows the names", file = .0.display())]
    NoSuchCaller(PathBuf, CallerName),
    #[error("{file}: {1} already has {MAX_KEYS} keys; delete the hashes of the old ones from its key_sha256", file = .0.display())]
    TooManyKeys(PathBuf, CallerName),
    #[error(
        "{file}: {1} is the only caller, and a running service would ignore a file without callers; add another one first",
        file = .0.display()
    )]
    LastCaller(PathBuf, CallerName),
    #[error("{}", with_path(.0, .1))]
    Invalid(PathBuf, Vec<Issue>),
    #[error("{}: the entry cannot be edited; write every caller as a table that begins with [[caller]]", .0.display())]
    NotEditable(PathBuf),
    #[error(
        "{}: already exists: another `callers` command is running or was interrupted; if none is running, delete it",
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

/// A new key, whose hash is in the temporary file. Dropping it leaves the callers' file unchanged.
pub(crate) struct Addition {
    key: CallerKey,
    file: FileEdit,
}

impl Addition {
    /// Generates a key for a new caller.
    pub(crate) fn prepare(path: &Path, new: &NewCaller) -> Result<Self, EditError> {
        let (mut file, key) = (FileEdit::begin(path)?, CallerKey::random().map_err(EditError::Random)?);
        let (text, mut entries) = file.read()?;
        if entries.callers.iter().any(|entry| entry.name == new.name) {
            return Err(EditError::NameTaken(file.path(), new.name.clone()));
        }
        let NewCaller { name, weight, calls_per_minute } = new;
        let entry = CallerEntry {
            name: name.clone(),
            key_sha256: vec![key.digest()],
            tokens: TokenRule::default(),
            weight: *weight,
            calls_per_minute: *calls_per_minute,
            calls_per_day: None,
            hide: HiddenFields::default(),
        };
        let text = edit::with_caller(text, &entry);
        entries.callers.push(entry);
        file.write(Some(&text), &entries)?;
        Ok(Self { key, file })
    }

    /// Generates one more key for a caller of the file.
    pub(crate) fn prepare_rotation(path: &Path, name: &CallerName) -> Result<Self, EditError> {
        let (mut file, key) = (FileEdit::begin(path)?, CallerKey::random().map_err(EditError::Random)?);
        let (text, mut entries) = file.read()?;
        let Some(entry) = entries.callers.iter_mut().find(|entry| entry.name == *name) else {
            return Err(EditError::NoSuchCaller(file.path(), name.clone()));
        };
        if entry.key_sha256.len() >= MAX_KEYS {
            return Err(EditError::TooManyKeys(file.path(), name.clone()));
        }
        entry.key_sha256.push(key.digest());
        file.write(edit::with_next_key(&text, name, &key.digest()).as_deref(), &entries)?;
        Ok(Self { key, file })
    }

    /// Returns the key. Show it before [`Self::commit`]: a key that was shown but never became valid does less harm
    /// than a valid key that nobody saw.
    pub(crate) fn key(&self) -> &CallerKey {
        &self.key
    }

    pub(crate) fn commit(self) -> Result<(), EditError> {
        self.file.commit()
    }
}

/// Removes a caller from the file.
pub(crate) fn remove(path: &Path, name: &CallerName) -> Result<(), EditError> {
    let mut file = FileEdit::begin(path)?;
    let (text, mut entries) = file.read()?;
    let count = entries.callers.len();
    entries.callers.retain(|entry| entry.name != *name);
    match entries.callers.len() {
        left if left == count => Err(EditError::NoSuchCaller(file.path(), name.clone())),
        0 => Err(EditError::LastCaller(file.path(), name.clone())),
        _ => {
            file.write(edit::without_caller(&text, name).as_deref(), &entries)?;
            file.commit()
        }
    }
}

/// The temporary file. Dropping it leaves the callers' file unchanged.
struct FileEdit(AtomicFile);

impl FileEdit {
    fn begin(path: &Path) -> Result<Self, EditError> {
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
                io::ErrorKind::AlreadyExists => EditError::InProgress(temporary),
                _ => io_error("cannot be created", &temporary)(error),
            }
        })?;
        Ok(Self(file))
    }

    fn path(&self) -> PathBuf {
        self.0.target().to_owned()
    }

    /// Returns the text and its entries. For a missing file, the text is a comment only.
    fn read(&self) -> Result<(String, FileEntries), EditError> {
        let path = self.0.target();
        let invalid = |issues| EditError::Invalid(path.to_owned(), issues);
        let text = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                "# The callers of zoom-qos-proxy. A change takes effect within 5 s, without a restart.\n"
                    .to_owned()
            }
            _ => file::read_contents(path).map_err(|error| invalid(Issue::whole_file(error)))?,
        };
        let entries = parser::parse(&text).map_err(invalid)?;
        Ok((text, entries))
    }

    /// Writes the new text if it parses as the expected entries. It does not, for example, when a caller is added to an
    /// inline list, which `edit` cannot extend.
    fn write(&mut self, text: Option<&str>, expected: &FileEntries) -> Result<(), EditError> {
        let target = self.path();
        let parses = |text: &&str| parser::parse(text).is_ok_and(|entries| entries == *expected);
        let Some(text) = text.filter(parses) else { return Err(EditError::NotEditable(target)) };
        let temporary = atomic_file::temporary_path(&target);
        if let Ok(old) = fs::metadata(&target) {
            let new = self.0.file.metadata().map_err(io_error("cannot be read", &temporary))?;
            if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
                // With another owner, the service might not be able to read the file.
                fchown(&self.0.file, Some(old.uid()), Some(old.gid())).map_err(io_error(
                    "its owner cannot be kept; run this command as the owner of the file or as root",
                    &target,
                ))?;
            }
            let mode = Permissions::from_mode(old.mode() & 0o7777);
            self.0.file.set_permissions(mode).map_err(io_error("its mode cannot be kept", &target))?;
        }
        self.0.write(text.as_bytes()).map_err(io_error("cannot be written", &temporary))
    }

    fn commit(self) -> Result<(), EditError> {
        let failed = io_error("cannot be replaced", self.0.target());
        self.0.commit().map_err(failed)
    }
}

fn io_error(problem: &'static str, path: &Path) -> impl FnOnce(io::Error) -> EditError + use<> {
    let path = path.to_owned();
    move |source| EditError::Io(path, problem, source)
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
        let entries = parser::parse(&fs::read_to_string(path).unwrap()).ok().unwrap().callers;
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
        assert!(matches!(Addition::prepare(&path, &new("b")), Err(EditError::InProgress(_))));
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
        assert!(matches!(dangling, EditError::Io(..)), "{dangling}");
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
        assert!(matches!(Addition::prepare(&path, &new("a")), Err(EditError::NameTaken(..))));
    }

    #[test]
    fn a_caller_gets_up_to_four_keys_and_keeps_its_entry() {
        let (folder, path) = with("# ours\n[[caller]]\nname = \"b\"\nsubject = \"s\"\n");
        assert!(Addition::prepare_rotation(&path, &new("b").name).is_err(), "an invalid file");
        let hash = "0".repeat(64);
        fs::write(
            &path,
            format!("# ours\n[[caller]]\nname = \"b\"\nkey_sha256 = \"{hash}\" # old\nweight = 7\n"),
        )
        .unwrap();
        let mut hashes = vec![hash];
        for _ in 1..MAX_KEYS {
            let addition = Addition::prepare_rotation(&path, &new("b").name).unwrap();
            hashes.push(hex::encode(addition.key().digest()));
            addition.commit().unwrap();
        }
        let list = hashes.join("\", \"");
        let expected =
            format!("# ours\n[[caller]]\nname = \"b\"\nkey_sha256 = [\"{list}\"] # old\nweight = 7\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        let full = Addition::prepare_rotation(&path, &new("b").name).err().unwrap();
        assert!(matches!(full, EditError::TooManyKeys(..)), "{full}");
        let unknown = Addition::prepare_rotation(&path, &new("a").name).err().unwrap();
        assert!(matches!(unknown, EditError::NoSuchCaller(..)), "{unknown}");
        assert_eq!(files_in(&folder), 1);
    }

    #[test]
    fn the_last_caller_and_an_unknown_one_are_not_removed() {
        let (folder, path) = with("");
        for name in ["a", "b"] {
            Addition::prepare(&path, &new(name)).unwrap().commit().unwrap();
        }
        let unknown = remove(&path, &new("c").name).unwrap_err();
        assert!(matches!(unknown, EditError::NoSuchCaller(..)), "{unknown}");
        remove(&path, &new("a").name).unwrap();
        assert_eq!(names(&path), ["b"]);
        let last = remove(&path, &new("b").name).unwrap_err();
        assert!(matches!(last, EditError::LastCaller(..)), "{last}");
        assert_eq!((names(&path), files_in(&folder)), (vec!["b".to_owned()], 1));
    }
}
