//! The settings of an issuer in the callers' file.

use std::path::PathBuf;

use url::Url;

/// One `[[issuer]]` of the callers' file.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::callers) struct IssuerEntry {
    pub(in crate::callers) name: String,
    /// The issuer's URL. The `iss` of a token must equal it byte for byte.
    pub(in crate::callers) url: String,
    pub(in crate::callers) audience: String,
    pub(in crate::callers) keys: KeySource,
}

/// Where the keys of an issuer are.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::callers) enum KeySource {
    File(PathBuf),
    Url {
        /// The URL of the keys; `None` to find it in the issuer's discovery document.
        jwks_url: Option<Url>,
        /// The issuer's own URL, for discovery.
        issuer_url: Url,
        /// The file with the bearer token that is sent to the issuer.
        token_file: Option<PathBuf>,
        /// The file of PEM certificates that are trusted for the issuer.
        ca_file: Option<PathBuf>,
    },
}
