//! Opens regular files only, after following symbolic links: Kubernetes mounts files as links.
//!
//! Opening a FIFO blocks until another process opens it, and reading a device may never end. If a path is wrong, the
//! service must report an error rather than hang at start.

use std::{
    fs::{self, File, FileType, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
};

use rustix::fs::{Access, OFlags};

/// Reads a whole file of at most `max_bytes`. The error is a message for operators and repeats nothing of the content.
pub(crate) fn read(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        let message = format!("it is larger than {max_bytes} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// Like [`read`]; fails with `InvalidData` if the file is not UTF-8.
pub(crate) fn read_text(path: &Path, max_bytes: u64) -> io::Result<String> {
    let text = String::from_utf8(read(path, max_bytes)?);
    text.map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

fn open(path: &Path) -> io::Result<File> {
    // Checked before opening, because opening a device can have side effects.
    must_be_regular(fs::metadata(path)?.file_type())?;
    // Opened nonblocking and checked again, because a FIFO may have replaced the file since the first check.
    let file = OpenOptions::new().read(true).custom_flags(nonblocking()).open(path)?;
    must_be_regular(file.metadata()?.file_type())?;
    Ok(file)
}

/// Creates a file, or truncates an existing regular one, for writing.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    must_be_regular_or_missing(path)?;
    OpenOptions::new().write(true).create(true).truncate(true).custom_flags(nonblocking()).open(path)
}

/// Checks without side effects whether [`create`] is likely to succeed: the path is a regular file or unused, and its
/// folder is writable.
pub(crate) fn could_create(path: &Path) -> io::Result<()> {
    must_be_regular_or_missing(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let rights = Access::WRITE_OK | Access::EXEC_OK;
    Ok(rustix::fs::access(folder.unwrap_or(Path::new(".")), rights)?)
}

fn nonblocking() -> i32 {
    OFlags::NONBLOCK.bits().cast_signed()
}

fn must_be_regular_or_missing(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) => must_be_regular(metadata.file_type()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn must_be_regular(found: FileType) -> io::Result<()> {
    let kind = match found {
        found if found.is_file() => return Ok(()),
        found if found.is_dir() => "a directory",
        // For example `/dev/stdin` behind a pipe, or a shell's `<(…)`. A pipe can be read only once, but the service
        // reads files repeatedly.
        found if found.is_fifo() => "a pipe",
        found if found.is_socket() => "a socket",
        _ => "a device",
    };
    let message = format!("it is {kind}, not a regular file; write the content to a file and give its path");
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    #[test]
    fn only_regular_files_and_links_to_them_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "text").unwrap();
        symlink("file", at("link")).unwrap();
        assert_eq!(read_text(&at("link"), 4).unwrap(), "text");
        let error = |path: &Path| read(path, 4).unwrap_err().to_string();
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
            assert!(error(&path).contains(&format!("it is {kind}, not a regular file")), "{}", error(&path));
        }
        assert!(error(&at("none")).contains("No such file"));
        assert!(create(&at("fifo")).is_err() && create(&at("new")).is_ok());
    }

    #[test]
    fn a_file_that_is_too_large_or_not_utf8_is_rejected() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), [0xff; 5]).unwrap();
        assert_eq!(read(file.path(), 5).unwrap(), [0xff; 5]);
        assert_eq!(read(file.path(), 4).unwrap_err().to_string(), "it is larger than 4 bytes");
        assert_eq!(read_text(file.path(), 5).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
