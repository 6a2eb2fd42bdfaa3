//! Errors of operations on Redis, and their texts for the log, without secrets.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::failure::Redactor;

const BAD_LOGIN: &str = "the user or the password is refused";
/// Redis puts this before the arguments of a command that it repeats in an error. They may be secrets, so the text is
/// cut here.
const REPEATED: &str = ", with args beginning with";

#[derive(Debug, thiserror::Error)]
pub(super) enum OpError {
    /// There is no connection, or it broke. The operation may have taken effect.
    #[error("no connection")]
    Broken,
    /// There was no reply in time. The operation may have taken effect.
    #[error("no answer in time")]
    TimedOut,
    /// The server refused the operation, or its reply is invalid. The operation counts as having had no effect.
    #[error("{0}")]
    Refused(String),
}

impl OpError {
    pub(super) fn of(error: &RedisError, redactor: &Redactor) -> Self {
        match error.kind() {
            ErrorKind::Io if error.is_timeout() => Self::TimedOut,
            ErrorKind::Server(_) | ErrorKind::Extension => Self::Refused(message(error, redactor)),
            _ => Self::Broken,
        }
    }
}

/// Returns the text of an error for the log. A server may repeat the user and the password that it received, so the
/// text is redacted.
pub(super) fn message(error: &RedisError, redactor: &Redactor) -> String {
    if matches!(error.code(), Some("WRONGPASS" | "NOAUTH")) {
        return BAD_LOGIN.to_owned();
    }
    let message = match error.kind() {
        ErrorKind::AuthenticationFailed => BAD_LOGIN.to_owned(),
        ErrorKind::Server(ServerErrorKind::NoPerm) => {
            format!("the user lacks a permission: {}", error.detail().unwrap_or_default())
        }
        ErrorKind::Server(ServerErrorKind::ReadOnly) => "the server is a replica and read-only".to_owned(),
        _ => error.to_string(),
    };
    let lower_case = message.to_ascii_lowercase();
    if lower_case.contains("unknown command") && lower_case.contains("hello") {
        return "the server does not know HELLO: Redis before 6, or HELLO is renamed".to_owned();
    }
    let message = message.split_once(REPEATED).map_or(message.as_str(), |(before, _)| before);
    redactor.redact(message).to_string()
}
