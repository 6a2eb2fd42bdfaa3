//! The content codings of a body.

use super::key::Tag;

/// A content coding (RFC 9110, 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// Not compressed.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// All of them, in the order of our preference if the caller has none.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Gzip, Self::Identity];

    /// Its name in `Accept-Encoding` and `Content-Encoding`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The strong entity tag of a body in this coding, with quotes.
    pub(super) fn etag(self, tag: Tag) -> String {
        match self {
            Self::Identity => format!("\"{tag}\""),
            coded => format!("\"{tag}-{}\"", coded.as_str()),
        }
    }
}
