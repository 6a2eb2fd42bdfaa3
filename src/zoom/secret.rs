//! Secrets: held in a type that cannot be printed, and read again from their files when they may have changed.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use super::config::ZoomConfig;
use crate::{failure::Redactor, regular_file};

/// The largest secret file, in bytes: secrets have a few hundred.
const LARGEST_FILE: u64 = 64 << 10;

/// A secret text. It has neither `Debug` nor `Display` nor `Serialize`, so that it cannot reach a log by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps a text that must not be printed.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text itself, for the code that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Where a secret comes from: the configuration itself, or a mounted file that may change at run time.
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

/// The sources of the three parts of our app's credentials.
#[derive(Clone)]
pub(super) struct Sources {
    /// Learns each secret before it can be sent.
    redactor: Redactor,
    account_id: SecretSource,
    client_id: SecretSource,
    client_secret: SecretSource,
}

/// Our app's credentials, read together.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secrets {
    pub(super) account_id: Secret,
    pub(super) client_id: Secret,
    pub(super) client_secret: Secret,
}

impl Secrets {
    /// The value of HTTP's Basic scheme, in base64.
    pub(super) fn basic(&self) -> Secret {
        Secret::new(&BASE64.encode(self.pair().expose()))
    }

    fn pair(&self) -> Secret {
        Secret::new(&format!("{}:{}", self.client_id.expose(), self.client_secret.expose()))
    }

    fn teach(&self, redactor: &Redactor) {
        // The redactor also recognizes the base64 of each: that of the pair is our Basic credentials.
        for secret in [&self.account_id, &self.client_id, &self.client_secret, &self.pair()] {
            redactor.learn(secret.expose());
        }
    }
}

impl Sources {
    pub(super) fn new(config: &ZoomConfig, redactor: Redactor) -> Self {
        Self {
            redactor,
            account_id: config.account_id.clone(),
            client_id: config.client_id.clone(),
            client_secret: config.client_secret.clone(),
        }
    }

    /// Whether any part can change at run time.
    pub(super) fn has_files(&self) -> bool {
        let all = [&self.account_id, &self.client_id, &self.client_secret];
        all.iter().any(|source| matches!(source, SecretSource::File(_)))
    }

    /// Reads on a blocking thread, because a mounted file can hang. `None` after an ERROR in the log: a file cannot be read.
    pub(super) async fn read(&self) -> Option<Secrets> {
        let sources = self.clone();
        let read = actix_rt::task::spawn_blocking(move || {
            Ok::<_, std::io::Error>(Secrets {
                account_id: sources.account_id.read()?,
                client_id: sources.client_id.read()?,
                client_secret: sources.client_secret.read()?,
            })
        });
        match read.await {
            Ok(Ok(secrets)) => {
                secrets.teach(&self.redactor);
                Some(secrets)
            }
            Ok(Err(error)) => {
                tracing::error!(error = %error.kind(), "a mounted Zoom secret cannot be read; using the one read last");
                None
            }
            Err(_) => None,
        }
    }
}
