//! The credentials of the Zoom app, which are read together.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use crate::{
    failure::Redactor,
    zoom::{
        config::ZoomConfig,
        secret::{Secret, SecretSource},
    },
};

pub(super) struct Sources {
    /// Learns each secret before it is sent, so that it can be removed from Zoom's messages.
    redactor: Redactor,
    /// The sources of the account id, the client id and the client secret.
    sources: [SecretSource; 3],
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secrets {
    pub(super) account_id: Secret,
    pub(super) client_id: Secret,
    pub(super) client_secret: Secret,
}

impl Secrets {
    /// Returns the credentials of HTTP's Basic scheme, in base64.
    pub(super) fn basic(&self) -> Secret {
        Secret::new(&BASE64.encode(self.pair().expose()))
    }

    fn pair(&self) -> Secret {
        Secret::new(&format!("{}:{}", self.client_id.expose(), self.client_secret.expose()))
    }

    fn teach(&self, redactor: &Redactor) {
        // The redactor also recognizes the base64 of each secret. The base64 of the pair is our Basic credentials.
        for secret in [&self.account_id, &self.client_id, &self.client_secret, &self.pair()] {
            redactor.learn(secret.expose());
        }
    }
}

impl Sources {
    pub(super) fn new(config: &ZoomConfig, redactor: Redactor) -> Self {
        let sources = [&config.account_id, &config.client_id, &config.client_secret].map(Clone::clone);
        Self { redactor, sources }
    }

    /// Returns whether a part of the credentials is in a file, and can therefore change at run time.
    pub(super) fn has_files(&self) -> bool {
        self.sources.iter().any(|source| matches!(source, SecretSource::File(_)))
    }

    /// Reads the credentials on a blocking thread, because a mounted file can hang. Returns `None`, and logs an
    /// error, if a file cannot be read.
    pub(super) async fn read(&self) -> Option<Secrets> {
        let sources = self.sources.clone();
        let read = actix_rt::task::spawn_blocking(move || {
            let [account_id, client_id, client_secret] = sources.map(|source| source.read());
            Ok::<_, std::io::Error>(Secrets {
                account_id: account_id?,
                client_id: client_id?,
                client_secret: client_secret?,
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
