//! Faults as JSON: `{"kind":"hang","times":2,"meeting":"…","page":0,"endpoint":"token"}`.
//!
//! `kind` is any variant of [`FaultKind`] except `StatusWith`, in `snake_case`. The variant's parameters are further
//! members of the object, and all have defaults. Durations are in milliseconds. `times` is a number or `"forever"`.

use std::time::Duration;

use serde::Deserialize;

use crate::endpoint::QosEndpoint;
use crate::fault::{Fault, FaultKind};

/// The JSON as read; [`FaultOrder::parse`] validates it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FaultOrder {
    kind: String,
    times: Option<Times>,
    meeting: Option<String>,
    page: Option<usize>,
    endpoint: Option<Endpoint>,
    status: Option<u16>,
    body: Option<String>,
    code: Option<i64>,
    message: Option<String>,
    retry_after: Option<String>,
    #[serde(default)]
    headers: bool,
    bytes: Option<usize>,
    chunk: Option<usize>,
    every_ms: Option<u64>,
    delay_ms: Option<u64>,
    location: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Times {
    Number(usize),
    Word(Forever),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Forever {
    Forever,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Endpoint {
    Qos,
    Token,
    MeetingList,
    MeetingParticipant,
    WebinarList,
    WebinarParticipant,
}

impl FaultOrder {
    /// Parses a JSON text. The error says what is wrong with it.
    pub(crate) fn parse(json: &str) -> Result<Fault, String> {
        let order: Self = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let kind = order.plain().or_else(|| order.with_parameters());
        let mut fault = Fault::new(kind.ok_or_else(|| format!("no fault is called {}", order.kind))?);
        fault = match order.times {
            Some(Times::Number(n)) => fault.times(n),
            Some(Times::Word(Forever::Forever)) => fault.forever(),
            None => fault,
        };
        if let Some(id) = order.meeting {
            fault = fault.for_meeting(id);
        }
        if let Some(page) = order.page {
            fault = fault.on_page(page);
        }
        Ok(match order.endpoint {
            None | Some(Endpoint::Qos) => fault,
            Some(Endpoint::Token) => fault.on_token_endpoint(),
            Some(Endpoint::MeetingList) => fault.on_endpoint(QosEndpoint::MeetingList),
            Some(Endpoint::MeetingParticipant) => fault.on_endpoint(QosEndpoint::MeetingParticipant),
            Some(Endpoint::WebinarList) => fault.on_endpoint(QosEndpoint::WebinarList),
            Some(Endpoint::WebinarParticipant) => fault.on_endpoint(QosEndpoint::WebinarParticipant),
        })
    }

    /// The fault, if it is of a kind without parameters.
    fn plain(&self) -> Option<FaultKind> {
        Some(match self.kind.as_str() {
            "plan_too_low" => FaultKind::PlanTooLow,
            "page_token_invalid" => FaultKind::PageTokenInvalid,
            "page_token_invalid_status300" => FaultKind::PageTokenInvalidStatus300,
            "webinar" => FaultKind::Webinar,
            "too_old" => FaultKind::TooOld,
            "not_available" => FaultKind::NotAvailable,
            "does_not_exist" => FaultKind::DoesNotExist,
            "endpoint_unknown" => FaultKind::EndpointUnknown,
            "missing_scope" => FaultKind::MissingScope,
            "missing_scope104" => FaultKind::MissingScope104,
            "missing_scope_malformed" => FaultKind::MissingScopeMalformed,
            "token_expired" => FaultKind::TokenExpired,
            "token_invalid" => FaultKind::TokenInvalid,
            "token_expired_with400" => FaultKind::TokenExpiredWith400,
            "token_expired_in200" => FaultKind::TokenExpiredIn200,
            "hang" => FaultKind::Hang,
            "hang_body" => FaultKind::HangBody,
            "reset_before_answer" => FaultKind::ResetBeforeAnswer,
            "reset_in_body" => FaultKind::ResetInBody,
            "close_before_answer" => FaultKind::CloseBeforeAnswer,
            "truncated" => FaultKind::Truncated,
            "truncated_chunked" => FaultKind::TruncatedChunked,
            "short_valid_json" => FaultKind::ShortValidJson,
            "empty_body" => FaultKind::EmptyBody,
            "close_delimited" => FaultKind::CloseDelimited,
            "not_json" => FaultKind::NotJson,
            "empty_object" => FaultKind::EmptyObject,
            "repeat_page_token" => FaultKind::RepeatPageToken,
            "endless_pages" => FaultKind::EndlessPages,
            "invalid_client" => FaultKind::InvalidClient,
            "token_not_json" => FaultKind::TokenNotJson,
            "token_without_expiry" => FaultKind::TokenWithoutExpiry,
            _ => return None,
        })
    }

    fn with_parameters(&self) -> Option<FaultKind> {
        let retry_after = self.retry_after.clone();
        let headers = self.headers;
        Some(match self.kind.as_str() {
            "status" => FaultKind::Status {
                status: self.status.unwrap_or(500),
                body: self.body.clone().unwrap_or_default(),
            },
            "rate_second" => FaultKind::RateSecond { retry_after, headers },
            "rate_day" => FaultKind::RateDay { retry_after, headers },
            "rate_mystery" => FaultKind::RateMystery { retry_after },
            "server_error_html" => FaultKind::ServerErrorHtml(self.status.unwrap_or(502)),
            "oversized" => FaultKind::Oversized(self.bytes.unwrap_or(20 * 1024 * 1024)),
            "error_in200" => FaultKind::ErrorIn200 {
                code: self.code.unwrap_or(500),
                message: self.message.clone().unwrap_or_else(|| "Internal error.".to_owned()),
            },
            "slow_drip" => FaultKind::SlowDrip {
                chunk: self.chunk.unwrap_or(100),
                every: Duration::from_millis(self.every_ms.unwrap_or(100)),
            },
            "slow" => FaultKind::Slow(Duration::from_millis(self.delay_ms.unwrap_or(3_000))),
            "redirect" => FaultKind::Redirect(self.location.clone().unwrap_or_else(|| "/".to_owned())),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_have_defaults_and_unknown_names_are_rejected() {
        assert!(FaultOrder::parse(r#"{"kind":"hang","times":2,"meeting":"1","page":0}"#).is_ok());
        assert!(FaultOrder::parse(r#"{"kind":"slow","times":"forever","endpoint":"token"}"#).is_ok());
        assert!(FaultOrder::parse(r#"{"kind":"webinar","endpoint":"webinar_list"}"#).is_ok());
        assert_eq!(FaultOrder::parse(r#"{"kind":"hum"}"#).unwrap_err(), "no fault is called hum");
        assert!(FaultOrder::parse(r#"{"kind":"hang","tims":2}"#).is_err());
    }
}
