//! The effect of each fault: it replaces the answer, or spoils the natural one.

use std::time::Duration;

use super::FaultKind;
use crate::config::SimConfig;
use crate::endpoint::{MeetingKind, QosEndpoint};
use crate::limits;
use crate::reply::{self, Delivery, Reply};

const HTML: &str = "text/html;charset=UTF-8";
/// The number of bytes that `ShortValidJson` announces beyond the end of the body.
const OVERANNOUNCED: usize = 1_000;

impl FaultKind {
    /// The answer that replaces the natural one; `None` for kinds that only change the natural answer.
    pub(crate) fn replacement(
        &self,
        meeting: &str,
        endpoint: QosEndpoint,
        config: &SimConfig,
    ) -> Option<Reply> {
        self.refusal(meeting, endpoint).or_else(|| self.rate(config)).or_else(|| self.nonsense())
    }

    /// Errors as Zoom sends them.
    fn refusal(&self, meeting: &str, endpoint: QosEndpoint) -> Option<Reply> {
        Some(match self {
            Self::PlanTooLow => Reply::error(
                400,
                200,
                "This API is only available for ZMP and Business or higher accounts that have enabled the \
                 Dashboard feature.",
            ),
            Self::PageTokenInvalid => Reply::error(400, 300, reply::PAGE_TOKEN_INVALID),
            Self::PageTokenInvalidStatus300 => Reply::error(300, 300, reply::PAGE_TOKEN_INVALID),
            Self::Webinar => reply::is_another_kind(MeetingKind::Webinar, meeting),
            Self::TooOld => Reply::error(400, 12_702, "Can not access a meeting a year ago."),
            Self::NotAvailable => Reply::error(404, 3_001, reply::NOT_AVAILABLE),
            Self::DoesNotExist => reply::does_not_exist(endpoint, meeting),
            Self::EndpointUnknown => reply::not_recognized(),
            Self::MissingScope => reply::missing_scope(endpoint),
            Self::MissingScope104 => Reply::error(400, 104, &reply::lacks_scope(endpoint)),
            Self::MissingScopeMalformed => {
                let message =
                    format!("Invalid access token, does not contain scopes:[\"{}\"].", endpoint.scope());
                Reply::json(400, format!(r#"{{"code":4711,"message":"{message}"}}"#)).coded(4_711)
            }
            Self::TokenExpired => Reply::error(401, 124, reply::TOKEN_EXPIRED),
            Self::TokenInvalid => Reply::error(401, 124, reply::TOKEN_INVALID),
            Self::TokenExpiredWith400 => Reply::error(400, 124, reply::TOKEN_EXPIRED),
            Self::TokenExpiredIn200 => Reply::error(200, 124, reply::TOKEN_EXPIRED),
            Self::ErrorIn200 { code, message } => Reply::error(200, *code, message),
            Self::InvalidClient => crate::oauth::invalid_client(),
            _ => return None,
        })
    }

    /// The 429s.
    fn rate(&self, config: &SimConfig) -> Option<Reply> {
        let (reply, retry_after) = match self {
            Self::RateSecond { retry_after, headers } => {
                let reply = Reply::error(429, 429, limits::PER_SECOND);
                let limit = u64::from(config.per_second);
                (if *headers { limits::with_headers(reply, "QPS", limit) } else { reply }, retry_after)
            }
            Self::RateDay { retry_after, headers } => {
                let reply = Reply::error(429, 429, limits::PER_DAY);
                let limit = config.per_day;
                (
                    if *headers { limits::with_headers(reply, "Daily-limit", limit) } else { reply },
                    retry_after,
                )
            }
            Self::RateMystery { retry_after } => (Reply { bare: true, ..Reply::json(429, "") }, retry_after),
            _ => return None,
        };
        Some(match retry_after {
            Some(retry_after) => reply.with("Retry-After", retry_after),
            None => reply,
        })
    }

    /// Arbitrary, unintelligible and missing answers.
    fn nonsense(&self) -> Option<Reply> {
        Some(match self {
            Self::Status { status, body } => {
                let code = serde_json::from_str::<serde_json::Value>(body).ok();
                let code = code.and_then(|body| body.get("code")?.as_i64());
                Reply { code, ..Reply::json(*status, body.as_str()) }
            }
            Self::StatusWith { status, headers, body } => {
                Reply { headers: headers.clone(), ..Reply::json(*status, body.as_str()) }
            }
            Self::ServerErrorHtml(status) => {
                let body = format!(
                    "<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status}</h1></center>\
                     \r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
                );
                Reply::text(*status, HTML, body)
            }
            Self::EmptyBody => Reply::json(200, ""),
            Self::NotJson => Reply::text(200, "text/plain", "We will be back soon."),
            Self::TokenNotJson => Reply::text(200, HTML, "<!DOCTYPE html><title>Zoom</title>Sign in"),
            Self::EmptyObject => Reply::json(200, "{}"),
            Self::Redirect(location) => Reply::text(302, HTML, "").with("Location", location),
            Self::Hang => Reply::silence(Delivery::Hang),
            Self::ResetBeforeAnswer => Reply::silence(Delivery::ResetBeforeAnswer),
            Self::CloseBeforeAnswer => Reply::silence(Delivery::CloseBeforeAnswer),
            _ => return None,
        })
    }

    /// Changes the body or the delivery of the natural answer, if this kind does so.
    pub(crate) fn spoil(&self, reply: &mut Reply) {
        reply.delivery = match self {
            Self::HangBody => Delivery::HangInBody,
            Self::ResetInBody => Delivery::ResetInBody,
            Self::Truncated => Delivery::Truncated,
            Self::TruncatedChunked => Delivery::TruncatedChunked,
            Self::ShortValidJson => Delivery::Overannounced(OVERANNOUNCED),
            Self::CloseDelimited => Delivery::CloseDelimited,
            Self::SlowDrip { chunk, every } => Delivery::Drip { chunk: *chunk, every: *every },
            Self::Oversized(bytes) => {
                pad(&mut reply.body, *bytes);
                return;
            }
            _ => return,
        };
    }

    /// How much longer the request waits for its answer.
    pub(crate) fn delay(&self) -> Duration {
        match self {
            Self::Slow(delay) => *delay,
            _ => Duration::ZERO,
        }
    }
}

/// Pads a JSON object to exactly `bytes` with a last field, if the field fits.
fn pad(body: &mut Vec<u8>, bytes: usize) {
    const FIELD: &[u8] = br#","padding":""#;
    let missing = bytes.checked_sub(body.len() + FIELD.len() + 1);
    let Some(missing) = missing.filter(|_| body.ends_with(b"}")) else {
        return;
    };
    body.pop();
    body.extend_from_slice(FIELD);
    body.resize(body.len() + missing, b'x');
    body.extend_from_slice(b"\"}");
}
