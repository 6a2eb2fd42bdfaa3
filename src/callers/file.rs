//! The callers' file on the disk: read as a whole or not at all, and looked at again while the service runs.
//!
//! What is in it is judged by `list`; what becomes of a changed file is decided by its keeper.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::list::{self, Entry, Wrong};
use crate::regular_file;

/// A thousand times a usual file; a log or a device that was named by mistake is not read every second.
const LARGEST_BYTES: u64 = 1 << 20;

/// What a look at the file shows: its text, or in words why there is none.
pub(super) type Look = Result<String, String>;

/// The file as it is at start.
pub struct CallersFile {
    pub(super) path: PathBuf,
    pub(super) look: Look,
    pub(super) entries: Vec<Entry>,
}

impl CallersFile {
    /// Reads and judges it.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn read(path: &Path) -> Result<Self, Vec<Wrong>> {
        let look = look(path);
        let entries = judge(&look)?;
        Ok(Self { path: path.to_owned(), look, entries })
    }

    /// How many callers are in it.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }
}

/// Follows symbolic links anew each time: Kubernetes changes a mounted file by changing one.
pub(super) fn look(path: &Path) -> Look {
    regular_file::read_text(path, LARGEST_BYTES).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => "is not UTF-8; TOML must be".to_owned(),
        _ => format!("cannot be read: {error}"),
    })
}

/// The callers that a look shows. None at all is a mistake: nobody could ask, and an editor that empties a file before it
/// writes it shows just that.
pub(super) fn judge(look: &Look) -> Result<Vec<Entry>, Vec<Wrong>> {
    let about_it_all = |what: &str| vec![Wrong { line: None, what: what.to_owned() }];
    let text = look.as_ref().map_err(|what| about_it_all(what))?;
    let entries = list::parse(text)?;
    if entries.is_empty() {
        return Err(about_it_all("has no callers: nobody could ask; add one with `callers add NAME`"));
    }
    Ok(entries)
}

/// Tells when a changed file is to be judged: once for each change, and only after two looks showed the same, so that
/// no half of a file counts that is being written.
pub(super) struct Watch {
    judged: Look,
    before: Option<Look>,
}

impl Watch {
    pub(super) fn new(judged: Look) -> Self {
        Self { judged, before: None }
    }

    /// Takes what was seen now; gives it back when it is to be judged.
    pub(super) fn see(&mut self, look: Look) -> Option<&Look> {
        if look == self.judged {
            self.before = None;
            return None;
        }
        if self.before.as_ref() == Some(&look) {
            self.before = None;
            self.judged = look;
            return Some(&self.judged);
        }
        self.before = Some(look);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sees these one after the other, `None` for a file that is gone; gives back which of them were judged.
    fn judged(first: &str, seen: &[Option<&str>]) -> Vec<bool> {
        let mut watch = Watch::new(Ok(first.to_owned()));
        let looks = seen.iter().map(|text| text.map(str::to_owned).ok_or_else(|| "gone".to_owned()));
        looks.map(|look| watch.see(look.clone()).is_some_and(|judged| *judged == look)).collect()
    }

    #[test]
    fn a_change_is_judged_once_when_two_looks_showed_the_same() {
        assert_eq!(judged("a", &[Some("a"), Some("a"), Some("a")]), [false; 3]);
        assert_eq!(judged("a", &[Some("b"), Some("b"), Some("b")]), [false, true, false]);
        assert_eq!(judged("a", &[Some("b"), Some("bc"), Some("bc")]), [false, false, true], "half of it");
        assert_eq!(judged("a", &[None, Some("a"), None, Some("a")]), [false; 4], "nothing happened");
        assert_eq!(judged("a", &[None, None, None, None]), [false, true, false, false]);
        let and_back = [None, None, Some("a"), Some("a"), Some("a")];
        assert_eq!(judged("a", &and_back), [false, true, false, true, false]);
    }

    #[test]
    fn what_is_no_file_or_too_large_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let said = |path: &Path| look(path).unwrap_err();
        assert!(said(folder.path()).contains("not a regular file"));
        let path = folder.path().join("callers.toml");
        assert!(said(&path).starts_with("cannot be read: No such file"));
        std::fs::write(&path, [0xff, b'\n']).unwrap();
        assert!(said(&path).contains("UTF-8"));
        std::fs::write(&path, " ".repeat((1 << 20) + 1)).unwrap();
        assert!(said(&path).contains("1048576"));
        std::fs::write(&path, " ".repeat(1 << 20)).unwrap();
        assert!(look(&path).is_ok());
        let wrong = CallersFile::read(&path).err().unwrap();
        assert!(wrong[0].to_string().starts_with("has no callers"), "{wrong:?}");
    }
}
