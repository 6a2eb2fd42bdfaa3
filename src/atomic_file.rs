//! Replaces a file in one step: a reader sees the old content or the new, and never a part of it.
//!
//! The new content goes to `FILE.new` in the same folder, is synced and renamed. No crate for this, such as `tempfile`:
//! they write under a random name, and here the fixed name is also a lock between two writers, is checked before a
//! service starts, and is not left behind by each crash anew.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::regular_file;

const SUFFIX: &str = "new";

/// New content for a file, until [`Self::commit`] puts it in place. Dropping it removes what was written.
pub(crate) struct AtomicFile {
    pub(crate) file: File,
    target: PathBuf,
    temporary: PathBuf,
    committed: bool,
}

impl AtomicFile {
    /// For a file with one writer: what an interrupted write left is overwritten.
    pub(crate) fn create(target: &Path) -> io::Result<Self> {
        Self::with(target, regular_file::create)
    }

    /// For a file with several writers: `AlreadyExists` while another one is at it. Only the owner may read it.
    pub(crate) fn create_new(target: &Path) -> io::Result<Self> {
        Self::with(target, |path| OpenOptions::new().write(true).create_new(true).mode(0o600).open(path))
    }

    fn with(target: &Path, open: impl FnOnce(&Path) -> io::Result<File>) -> io::Result<Self> {
        let temporary = temporary_path(target);
        let file = open(&temporary)?;
        Ok(Self { file, target: target.to_owned(), temporary, committed: false })
    }

    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Writes the content through to the disk.
    pub(crate) fn write(&mut self, content: &[u8]) -> io::Result<()> {
        self.file.write_all(content)?;
        self.file.sync_all()
    }

    /// Puts what was written in the target's place.
    pub(crate) fn commit(mut self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.target)?;
        self.committed = true;
        // The rename survives a crash of the machine only once the folder is synced, which some file systems refuse.
        let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty());
        drop(File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all()));
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        // After the rename, a file of this name is another writer's.
        if !self.committed {
            drop(fs::remove_file(&self.temporary));
        }
    }
}

/// The error that [`AtomicFile::create`] would have, found without a change to anything.
pub(crate) fn could_create(target: &Path) -> io::Result<()> {
    regular_file::could_create(target)?;
    regular_file::could_create(&temporary_path(target))
}

/// The file in which the content of `target` is written.
pub(crate) fn temporary_path(target: &Path) -> PathBuf {
    sibling_path(target, SUFFIX)
}

/// `day.json.new` for `day.json` and `new`.
pub(crate) fn sibling_path(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.file_name().unwrap_or_default());
    name.push(".");
    name.push(suffix);
    path.with_file_name(name)
}
