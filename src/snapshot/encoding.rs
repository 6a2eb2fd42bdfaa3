//! The forms in which a body can go over the wire.

use super::Tag;

/// A content coding (RFC 9110, 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// The bytes as they are.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// All of them; of two that a caller likes as well, the first is the better answer.
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

    /// The strong entity tag of a body in this coding, with its quotes.
    pub(super) fn etag(self, tag: Tag) -> String {
        match self {
            Self::Identity => format!("\"{tag}\""),
            coded => format!("\"{tag}-{}\"", coded.as_str()),
        }
    }
}
