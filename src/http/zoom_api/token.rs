//! `POST /oauth/token`: returns the caller key as an access token, for clients that fetch a token before their first
//! request.
//!
//! No new secret is issued: if callers are configured, the token is the key that the client presented, so replacing the
//! key also ends its tokens.

use std::time::Duration;

use actix_web::{
    HttpResponse,
    dev::Payload,
    http::{StatusCode, header::CACHE_CONTROL},
    web::Bytes,
};
use futures_util::StreamExt as _;
use serde::Serialize;

use super::query::first;
use crate::{
    callers::Callers,
    http::{auth::find_by_basic, credentials::BasicCredentials, exchange::Exchange},
    metrics::Outcome,
};

/// The maximum length of a form, in bytes. A usual form has a few hundred.
const LONGEST_FORM: usize = 8 * 1024;
/// How long a client may take to send the form.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);

const GRANT_TYPE: &str = "account_credentials";
/// The lifetime of Zoom's own tokens. The key stays valid after this time, and clients only request a token again.
pub(in crate::http) const EXPIRES_IN_SECONDS: u32 = 3599;
const SCOPE: &str = "dashboard:read:list_meeting_participants_qos:admin";
/// The token for every client if no callers are configured.
const ANONYMOUS_TOKEN: &str = "anonymous";

#[derive(Serialize)]
struct TokenDocument<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u32,
    scope: &'static str,
}

/// An error in Zoom's wording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct TokenRefusal {
    reason: &'static str,
    error: &'static str,
}

pub(in crate::http) const INVALID_CLIENT_CODE: &str = "invalid_client";
const INVALID_CLIENT: TokenRefusal =
    TokenRefusal { reason: "Invalid client_id or client_secret", error: INVALID_CLIENT_CODE };
const UNSUPPORTED_GRANT: TokenRefusal =
    TokenRefusal { reason: "unsupported grant type", error: "unsupported_grant_type" };

pub(in crate::http) async fn post(exchange: Exchange<'_>, payload: Payload) -> HttpResponse {
    let Exchange { request, state, context } = exchange;
    let credentials = BasicCredentials::of(request.headers());
    let token = match &credentials {
        Some(credentials) => key_of_caller(credentials, &state.callers),
        None => (!state.callers.need_keys()).then_some(ANONYMOUS_TOKEN),
    };
    let query = request.uri().query().unwrap_or_default();
    let refusal = match token {
        None => INVALID_CLIENT,
        Some(token) if is_known_grant(&read_form(payload).await, query) => return granted(token),
        Some(_) => UNSUPPORTED_GRANT,
    };
    context.outcome.set(Some(Outcome::Refused));
    context.problem_code.set(Some(refusal.error));
    answer(StatusCode::BAD_REQUEST, &refusal)
}

fn granted(access_token: &str) -> HttpResponse {
    let expires_in = EXPIRES_IN_SECONDS;
    answer(StatusCode::OK, &TokenDocument { access_token, token_type: "bearer", expires_in, scope: SCOPE })
}

fn answer(status: StatusCode, document: &impl Serialize) -> HttpResponse {
    HttpResponse::build(status).insert_header((CACHE_CONTROL, "no-store")).json(document)
}

/// Returns whether the grant type is the supported one. The body takes precedence over the query.
fn is_known_grant(form: &[u8], query: &str) -> bool {
    let grant = first(form, "grant_type").or_else(|| first(query.as_bytes(), "grant_type"));
    grant.is_some_and(|grant| grant == GRANT_TYPE)
}

/// Reads the body up to [`LONGEST_FORM`], or as much of it as arrives within [`FORM_TIMEOUT`].
async fn read_form(mut payload: Payload) -> Vec<u8> {
    let mut form = Vec::new();
    let read = async {
        while let Some(Ok(part)) = payload.next().await {
            let part: Bytes = part;
            form.extend(part.iter().take(LONGEST_FORM - form.len()));
            if form.len() == LONGEST_FORM {
                break;
            }
        }
    };
    // A timeout needs no error of its own. The form is then cut off, and its grant type is incomplete or came before the
    // cut.
    let _in_time = tokio::time::timeout(FORM_TIMEOUT, read).await;
    form
}

/// Returns the key if it belongs to the caller with this name. If no callers are configured, returns the anonymous
/// token for any key.
fn key_of_caller<'c>(credentials: &'c BasicCredentials, callers: &Callers) -> Option<&'c str> {
    if !callers.need_keys() {
        return Some(ANONYMOUS_TOKEN);
    }
    find_by_basic(credentials, callers)?;
    credentials.name_and_key().map(|(_, key)| key)
}
