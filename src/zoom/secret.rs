//! Secrets: a type that cannot be printed, and their sources. Files are read again each time, because they may have
//! changed.

use std::path::{Path, PathBuf};

use crate::regular_file;

/// The largest secret file, in bytes: secrets have a few hundred.
const LARGEST_FILE: u64 = 64 << 10;

/// A secret text. It has neither `Debug` nor `Display` nor `Serialize`, so that it cannot reach a log by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps a text that must not be printed.
    pub(crate) fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the text, for the code that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The source of a secret: the configuration itself, or a mounted file that may change at run time.
#[derive(Clone)]
pub enum SecretSource {
    /// Set in a configuration file or the environment.
    Inline(Secret),
    /// In a file of its own, without its trailing newline.
    File(PathBuf),
}

impl SecretSource {
    /// Reads the secret's present value.
    ///
    /// # Errors
    /// The file cannot be read, is not a regular file, is not UTF-8, or is empty.
    pub fn read(&self) -> std::io::Result<Secret> {
        match self {
            Self::Inline(secret) => Ok(secret.clone()),
            Self::File(path) => read_file(path),
        }
    }
}

fn read_file(path: &Path) -> std::io::Result<Secret> {
    let text = regular_file::read_text(path, LARGEST_FILE)?;
    // Windows editors begin a file with an invisible byte order mark, which is not part of the secret.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "the file is empty"));
    }
    Ok(Secret::new(text))
}
