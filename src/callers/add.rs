//! A new caller: makes its key and appends its entry to the callers' file; all of it, or nothing.
//!
//! The new text is written beside the file and put into its place in one step. What is written beside is also the lock
//! against somebody else who adds at the same time.

use std::{
    fmt::Write as _,
    fs::{self, Permissions},
    io,
    num::NonZeroU32,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use super::{
    caller::Name,
    file,
    key::{self, CallerKey},
    list::{self, Entry, Wrong},
};
use crate::atomic_file::{self, AtomicFile};

/// What to add.
pub struct NewCaller {
    /// Must not be in the file yet.
    pub name: Name,
    /// One of [`list::WEIGHTS`].
    pub weight: u32,
    /// `None`: no ceiling.
    pub calls_per_minute: Option<NonZeroU32>,
}

/// Why no caller was added; the file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// There is one of that name.
    #[error("{path}: there is a caller named {name}; choose another name, or remove that entry first")]
    Taken {
        /// The name.
        name: Name,
        /// The file.
        path: PathBuf,
    },
    /// The file is not one of callers as it is.
    #[error("{}", each_with(path, wrong))]
    Broken {
        /// The file.
        path: PathBuf,
        /// All that is wrong.
        wrong: Vec<Wrong>,
    },
    /// The callers are written in a way that nothing can be appended to.
    #[error("{}: an entry cannot be appended; write every caller as a table that begins with [[caller]]", .0.display())]
    NotAppendable(PathBuf),
    /// What is written beside the file is there.
    #[error(
        "{}: is there already: somebody else adds a caller now, or was interrupted; if nobody does, remove it",
        .0.display()
    )]
    UnderWay(PathBuf),
    /// The system refuses.
    #[error("{}: {doing}: {source}", path.display())]
    Io {
        /// What could not be done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system has no randomness.
    #[error("no random bytes can be had from the system: {0}")]
    Random(getrandom::Error),
}

fn each_with(path: &Path, wrong: &[Wrong]) -> String {
    let lines: Vec<_> = wrong.iter().map(|wrong| format!("{}: {wrong}", path.display())).collect();
    lines.join("\n")
}

/// A caller that is about to be added, written but not in place. Dropping it leaves the file as it was.
pub struct Addition {
    key: CallerKey,
    file: AtomicFile,
}

impl Addition {
    /// Makes the key and writes the new content.
    ///
    /// # Errors
    /// If the name is taken, the file has mistakes, or the system refuses.
    pub fn prepare(path: &Path, new: &NewCaller) -> Result<Self, AddError> {
        // A link stays a link; the file that it leads to changes.
        let target = match fs::canonicalize(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => {
                path.to_owned()
            }
            found => found.map_err(io_error("cannot be found", path))?,
        };
        let file = AtomicFile::create_new(&target).map_err(|error| {
            let temporary = atomic_file::temporary_path(&target);
            match error.kind() {
                io::ErrorKind::AlreadyExists => AddError::UnderWay(temporary),
                _ => io_error("cannot be made", &temporary)(error),
            }
        })?;
        let key = CallerKey::random().map_err(AddError::Random)?;
        let mut addition = Self { key, file };
        let text = addition.new_text(new)?;
        addition.write(&text)?;
        Ok(addition)
    }

    /// The key, to be shown before [`Self::commit`]: a key that was shown and is void does less harm than one that is in
    /// the file and was never shown.
    #[must_use]
    pub fn key(&self) -> &CallerKey {
        &self.key
    }

    /// Puts the new content in place.
    ///
    /// # Errors
    /// If the system refuses; then the caller was not added.
    pub fn commit(self) -> Result<(), AddError> {
        let failed = io_error("cannot be replaced", self.file.target());
        self.file.commit().map_err(failed)
    }

    fn new_text(&self, new: &NewCaller) -> Result<String, AddError> {
        let path = self.file.target();
        let broken = |wrong| AddError::Broken { path: path.to_owned(), wrong };
        let mut text = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                "# The callers of zoom-qos-proxy. A change counts within 5 s, without a restart.\n".to_owned()
            }
            _ => file::look(path).map_err(|what| broken(vec![Wrong { line: None, what }]))?,
        };
        let mut entries = list::parse(&text).map_err(broken)?;
        if entries.iter().any(|entry| entry.name == new.name) {
            return Err(AddError::Taken { name: new.name.clone(), path: path.to_owned() });
        }
        let NewCaller { name, weight, calls_per_minute } = new;
        let entry = Entry {
            name: name.clone(),
            key_sha256: self.key.digest(),
            weight: *weight,
            calls_per_minute: *calls_per_minute,
        };
        append(&mut text, &entry);
        entries.push(entry);
        // What was read back is what was meant, or nothing is done.
        if list::parse(&text).is_ok_and(|read| read == entries) {
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
                // Otherwise the service could perhaps no longer read the file.
                fchown(&self.file.file, Some(old.uid()), Some(old.gid())).map_err(io_error(
                    "belongs to another user, and would not any more; add callers as its owner or as root",
                    &target,
                ))?;
            }
            let mode = Permissions::from_mode(old.mode() & 0o7777);
            self.file.file.set_permissions(mode).map_err(io_error("its mode cannot be kept", &target))?;
        }
        self.file.write(text.as_bytes()).map_err(io_error("cannot be written", &temporary))
    }
}

fn append(text: &mut String, entry: &Entry) {
    let Entry { name, key_sha256, weight, calls_per_minute } = entry;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    if !text.is_empty() {
        text.push('\n');
    }
    let key_sha256 = key::hex(key_sha256);
    // Writing to a String cannot fail.
    _ = write!(text, "[[caller]]\nname = \"{name}\"\nkey_sha256 = \"{key_sha256}\"\nweight = {weight}\n");
    if let Some(ceiling) = calls_per_minute {
        _ = writeln!(text, "calls_per_minute = {ceiling}");
    }
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AddError + use<> {
    let path = path.to_owned();
    move |source| AddError::Io { doing, path, source }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn new(name: &str) -> NewCaller {
        NewCaller { name: Name::parse(name).unwrap(), weight: 1, calls_per_minute: None }
    }

    fn with(text: &str) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("callers.toml");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn names(path: &Path) -> Vec<String> {
        let entries = list::parse(&fs::read_to_string(path).unwrap()).ok().unwrap();
        entries.iter().map(|entry| entry.name.to_string()).collect()
    }

    fn files_in(folder: &TempDir) -> usize {
        fs::read_dir(folder.path()).unwrap().count()
    }

    #[test]
    fn what_was_there_stays_letter_by_letter() {
        let hash = "0".repeat(64);
        let before =
            format!("# ours\n\n[[caller]] # old\nname = \"a\"\nkey_sha256 = \"{hash}\" # no newline");
        let (folder, path) = with(&before);
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let wanted =
            NewCaller { name: Name::parse("b").unwrap(), weight: 3, calls_per_minute: NonZeroU32::new(7) };
        let addition = Addition::prepare(&path, &wanted).unwrap();
        let digest = key::hex(&addition.key().digest());
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
    fn what_is_not_committed_never_was() {
        let (folder, path) = with("");
        drop(Addition::prepare(&path, &new("a")).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        assert_eq!(files_in(&folder), 1);
    }

    #[test]
    fn a_file_that_is_not_there_is_made_for_its_owner_only() {
        let (_folder, path) = with("");
        fs::remove_file(&path).unwrap();
        Addition::prepare(&path, &new("a")).unwrap().commit().unwrap();
        assert_eq!(names(&path), ["a"]);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    }

    #[test]
    fn who_adds_at_the_same_time_is_told_and_nobody_is_lost() {
        let (_folder, path) = with("");
        let first = Addition::prepare(&path, &new("a")).unwrap();
        assert!(matches!(Addition::prepare(&path, &new("b")), Err(AddError::UnderWay(_))));
        first.commit().unwrap();
        Addition::prepare(&path, &new("b")).unwrap().commit().unwrap();
        assert_eq!(names(&path), ["a", "b"]);
    }

    #[test]
    fn a_link_stays_a_link() {
        let (folder, path) = with("");
        let link = folder.path().join("link.toml");
        std::os::unix::fs::symlink("callers.toml", &link).unwrap();
        Addition::prepare(&link, &new("a")).unwrap().commit().unwrap();
        assert_eq!(names(&path), ["a"]);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        fs::remove_file(&path).unwrap();
        let dangling = Addition::prepare(&link, &new("a")).err().unwrap();
        assert!(matches!(dangling, AddError::Io { .. }), "{dangling}");
    }

    #[test]
    fn what_cannot_be_appended_to_is_left_alone() {
        let hash = "0".repeat(64);
        let inline = format!("caller = [{{ name = \"a\", key_sha256 = \"{hash}\" }}]\n");
        for (text, said) in [
            (inline.as_str(), "[[caller]]"),
            ("[[caller]]\nname = \"a\"\n", "line 1: this caller has no key_sha256"),
            ("[[caller]]\nname = \"B\"\nweight = 0\n", "line 3: weight"),
        ] {
            let (folder, path) = with(text);
            let error = Addition::prepare(&path, &new("b")).err().unwrap();
            assert!(error.to_string().contains(said), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(files_in(&folder), 1);
        }
        let (_folder, path) = with(&format!("[[caller]]\nname = \"a\"\nkey_sha256 = \"{hash}\"\n"));
        assert!(matches!(Addition::prepare(&path, &new("a")), Err(AddError::Taken { .. })));
    }
}
