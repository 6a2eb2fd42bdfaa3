//! The content codings of a body.

use super::key::Tag;

vocabulary! {
    /// A content coding (RFC 9110, 8.4.1). If the caller has no preference, the coding that is listed first is used,
    /// unless only a later one is stored. The word is the coding's name in `Accept-Encoding` and `Content-Encoding`.
    pub enum Coding {
        /// Zstandard (RFC 8878).
        Zstd = "zstd",
        /// gzip (RFC 1952).
        Gzip = "gzip",
        /// Not compressed.
        Identity = "identity",
    }
}

impl Coding {
    /// Returns the strong entity tag of a body in this coding, with quotes.
    pub(crate) fn etag(self, tag: Tag) -> String {
        match self {
            Self::Identity => format!("\"{tag}\""),
            coded => format!("\"{tag}-{}\"", coded.as_str()),
        }
    }
}
