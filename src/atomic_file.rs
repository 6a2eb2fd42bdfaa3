//! Replaces a file in one step: a reader sees either the old content or the new content, never a mixture.
//!
//! The new content goes to `FILE.new` in the same folder, which is synced and renamed. Crates such as `tempfile` use
//! a random name instead. Here the name is fixed for three reasons: it is a lock between two writers, the service
//! can check at start that the file can be written, and repeated crashes leave one file behind rather than many.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::regular_file;

const SUFFIX: &str = "new";

/// New content for a file, until [`Self::commit`] replaces the file. Dropping it deletes the temporary file.
pub(crate) struct AtomicFile {
    pub(crate) file: File,
    target: PathBuf,
    temporary: PathBuf,
    committed: bool,
}

impl AtomicFile {
    /// Starts to write a file that has only one writer. Overwrites the temporary file of an interrupted write.
    pub(crate) fn create(target: &Path) -> io::Result<Self> {
        Self::with(target, regular_file::create)
    }

    /// Starts to write a file that has several writers. Fails with `AlreadyExists` while another writer is at work, or
    /// if an interrupted writer has left its temporary file. Only its owner may read the new file, unless the caller
    /// changes the mode.
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

    pub(crate) fn write(&mut self, content: &[u8]) -> io::Result<()> {
        self.file.write_all(content)?;
        self.file.sync_all()
    }

    pub(crate) fn commit(mut self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.target)?;
        self.committed = true;
        // Without a sync of the folder, a crash of the machine can undo the rename. Some file systems do not support
        // this sync, so its error is ignored.
        let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty());
        drop(File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all()));
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        // After the rename, a file with this name belongs to another writer.
        if !self.committed {
            drop(fs::remove_file(&self.temporary));
        }
    }
}

/// Checks without side effects whether [`AtomicFile::create`] is likely to succeed.
pub(crate) fn could_create(target: &Path) -> io::Result<()> {
    regular_file::could_create(target)?;
    regular_file::could_create(&temporary_path(target))
}

pub(crate) fn temporary_path(target: &Path) -> PathBuf {
    sibling_path(target, SUFFIX)
}

/// Returns `path` with the suffix appended: `day.json` and `new` give `day.json.new`.
pub(crate) fn sibling_path(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path.file_name().unwrap_or_default());
    name.push(".");
    name.push(suffix);
    path.with_file_name(name)
}
