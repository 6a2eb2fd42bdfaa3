//! The reason why bytes on a connection are not a response, or are an incomplete one.

/// The defect. The messages are for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not a head of HTTP/1.x, or an oversized one.
    #[error("the head of the response is malformed or too large")]
    Head,
    /// `101`, or a status below 100.
    #[error("the response's status is impossible")]
    Status,
    /// The end of the body is uncertain: for example, two lengths, or a transfer coding other than `chunked`.
    #[error("the response's length is ambiguous")]
    Framing,
    /// A chunk or a trailer is malformed or too long.
    #[error("a chunk of the response is malformed")]
    Chunk,
    /// More interim responses to one request than a sane server sends.
    #[error("too many interim responses")]
    Interim,
    /// The connection ended before a response began.
    #[error("the connection was closed without a response")]
    NoAnswer,
    /// The connection ended within a response.
    #[error("the connection was closed within the response")]
    Cut,
}
