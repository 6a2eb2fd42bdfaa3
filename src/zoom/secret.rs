//! Secrets: a type that cannot be printed, and their sources. Files are read again each time, because they may have
//! changed.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::regular_file;

/// The largest secret file, in bytes: secrets have a few hundred.
const LARGEST_FILE: u64 = 64 << 10;

/// How often a watched file is read. The documentation promises 5 s.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// A secret string. It has no `Debug`, `Display` or `Serialize`, so that it cannot reach a log by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps a string that must not be printed.
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
    /// The path of a separate file. Its trailing line breaks are not part of the secret.
    File(PathBuf),
}

impl SecretSource {
    /// Reads the secret's current value.
    ///
    /// # Errors
    /// The file cannot be read, is not a regular file, is too large, is not UTF-8, or has no text.
    pub fn read(&self) -> std::io::Result<Secret> {
        match self {
            Self::Inline(secret) => Ok(secret.clone()),
            Self::File(path) => read_file(path),
        }
    }

    /// Passes the current value to `each` every few seconds, and never returns. Skips a file that cannot be read:
    /// the next renewal of the access token reports that.
    pub(crate) async fn watch(self, each: impl Fn(&Secret)) {
        let mut interval = tokio::time::interval(POLL_INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let source = self.clone();
            // On a blocking thread, because reading from a mounted volume can hang.
            if let Ok(Ok(secret)) = actix_rt::task::spawn_blocking(move || source.read()).await {
                each(&secret);
            }
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
