//! Reads the files that the configuration names, and only regular ones.
//!
//! Opening a FIFO waits until somebody writes to it, and a device may never end: a path that was mistyped or mounted
//! wrongly must be an error, not a service that does not start. Symbolic links are followed, because that is how
//! Kubernetes mounts files.

use std::{
    fs::{self, File, FileType, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
};

use rustix::fs::{Access, OFlags};

/// Reads a whole file of at most `most` bytes.
///
/// # Errors
/// When there is no such file, it is a FIFO, a device, a socket or a directory, or it is too large. The message is for
/// operators and repeats nothing of the content.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let what = format!("it is larger than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

/// The same as text.
///
/// # Errors
/// As [`read`], and `InvalidData` when the file is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let text = String::from_utf8(read(path, most)?);
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

fn open(path: &Path) -> io::Result<File> {
    // Before it is opened: opening a device can do something to it.
    must_be_regular(fs::metadata(path)?.file_type())?;
    // It can be replaced by a FIFO in between, and opening must not wait then either.
    let file = OpenOptions::new().read(true).custom_flags(nonblocking()).open(path)?;
    must_be_regular(file.metadata()?.file_type())?;
    Ok(file)
}

/// Creates a file, or empties the one that is there, to be written to.
///
/// # Errors
/// When that cannot be done, or something else than a regular file is there.
pub fn create(path: &Path) -> io::Result<File> {
    match fs::metadata(path) {
        Ok(metadata) => must_be_regular(metadata.file_type())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    OpenOptions::new().write(true).create(true).truncate(true).custom_flags(nonblocking()).open(path)
}

/// What would keep [`create`] from it, without a change to anything.
///
/// # Errors
/// When something else than a regular file is there, or the folder is missing or may not be written to.
pub fn could_create(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) => must_be_regular(metadata.file_type())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let rights = Access::WRITE_OK | Access::EXEC_OK;
    Ok(rustix::fs::access(folder.unwrap_or(Path::new(".")), rights)?)
}

fn nonblocking() -> i32 {
    OFlags::NONBLOCK.bits().cast_signed()
}

fn must_be_regular(found: FileType) -> io::Result<()> {
    let what = match found {
        found if found.is_file() => return Ok(()),
        found if found.is_dir() => "a directory",
        // `/dev/stdin` and `<(…)` of a shell are such, too. They could be read once, and files are read again.
        found if found.is_fifo() => "a pipe",
        found if found.is_socket() => "a socket",
        _ => "a device",
    };
    let what = format!("it is {what}, not a regular file; write the content to a file and give its path");
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    #[test]
    fn only_regular_files_are_read_and_links_to_them() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "text").unwrap();
        symlink("file", at("link")).unwrap();
        assert_eq!(read_text(&at("link"), 4).unwrap(), "text");
        let said = |path: &Path| read(path, 4).unwrap_err().to_string();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), rustix::fs::Mode::RUSR).unwrap();
        symlink("fifo", at("link to fifo")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        for (path, kind) in [
            (at("fifo"), "a pipe"),
            (at("link to fifo"), "a pipe"),
            (at("socket"), "a socket"),
            (at("."), "a directory"),
            ("/dev/zero".into(), "a device"),
        ] {
            assert!(said(&path).contains(&format!("it is {kind}, not a regular file")), "{}", said(&path));
        }
        assert!(said(&at("none")).contains("No such file"));
        assert!(create(&at("fifo")).is_err() && create(&at("new")).is_ok());
    }

    #[test]
    fn a_file_larger_than_its_bound_is_refused_and_one_that_is_not_utf8_no_text() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), [0xff; 5]).unwrap();
        assert_eq!(read(file.path(), 5).unwrap(), [0xff; 5]);
        assert_eq!(read(file.path(), 4).unwrap_err().to_string(), "it is larger than 4 bytes");
        assert_eq!(read_text(file.path(), 5).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
