//! The token endpoint, `POST /oauth/token`, and which access tokens are valid.
//!
//! It supports only the `account_credentials` grant of Server-to-Server OAuth.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::config::{SimConfig, TokenParameters};
use crate::random::Dice;
use crate::reply::{self, Reply};
use crate::server::Request;
use crate::text;

/// The access tokens issued so far.
#[derive(Debug, Default)]
pub(crate) struct AccessTokens(HashMap<String, Issued>);

#[derive(Debug)]
struct Issued {
    expires: Instant,
    revoked: bool,
}

impl AccessTokens {
    /// Invalidates all tokens issued so far.
    pub(crate) fn revoke_all(&mut self) {
        self.0.values_mut().for_each(|issued| issued.revoked = true);
    }

    /// The error for a request without a valid access token; `None` if its token is valid.
    pub(crate) fn refusal(&self, request: &Request, now: Instant) -> Option<Reply> {
        let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        match token.and_then(|token| self.0.get(token)) {
            None | Some(Issued { revoked: true, .. }) => Some(Reply::error(401, 124, reply::TOKEN_INVALID)),
            Some(issued) if issued.expires <= now => Some(Reply::error(401, 124, reply::TOKEN_EXPIRED)),
            Some(_) => None,
        }
    }

    fn issue(&mut self, now: Instant, life: Duration, dice: &mut Dice) -> String {
        let part = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
        let head = part(br#"{"sv":"000002","alg":"HS512","v":"2.0","kid":"sim"}"#.to_vec());
        // The shape of a JWT of more than 300 characters, with random content.
        let token = format!("{head}.eyJ{}.{}", part(dice.bytes(22)), part(dice.bytes(8)));
        self.0.insert(token.clone(), Issued { expires: now + life, revoked: false });
        token
    }
}

/// The answer to a token request, with `expires_in` if `with_expiry`.
pub(crate) fn answer(
    tokens: &mut AccessTokens,
    config: &SimConfig,
    dice: &mut Dice,
    request: &Request,
    now: Instant,
    with_expiry: bool,
) -> Reply {
    if !authorized(request, config) {
        return invalid_client();
    }
    let is_form = |value: &str| value.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded");
    let form = if request.header("content-type").is_some_and(is_form) { request.body.as_str() } else { "" };
    let parameter = |key| {
        let from_query =
            || request.query(key).filter(|_| config.token_parameters == TokenParameters::FormOrQuery);
        text::form_value(form, key).or_else(from_query)
    };
    if parameter("grant_type").as_deref() != Some("account_credentials") {
        return failure("unsupported grant type", "unsupported_grant_type");
    }
    if parameter("account_id").as_deref() != Some(&config.account_id) {
        return failure("Bad request", "invalid_request");
    }
    if config.new_token_kills_old {
        tokens.revoke_all();
    }
    let token = tokens.issue(now, config.access_token_life, dice);
    let expiry = if with_expiry {
        format!(r#""expires_in":{},"#, config.access_token_life.as_secs())
    } else {
        String::new()
    };
    let scope = "dashboard:read:list_meeting_participants_qos:admin";
    Reply::json(
        200,
        format!(
            r#"{{"access_token":"{token}","token_type":"bearer",{expiry}"scope":"{scope}","api_url":"https://api.zoom.us"}}"#
        ),
    )
}

/// 400 for wrong credentials.
pub(crate) fn invalid_client() -> Reply {
    failure("Invalid client_id or client_secret", "invalid_client")
}

fn failure(reason: &str, error: &str) -> Reply {
    Reply::json(400, format!(r#"{{"reason":"{reason}","error":"{error}"}}"#))
}

fn authorized(request: &Request, config: &SimConfig) -> bool {
    let sent = request.header("authorization").and_then(|value| value.strip_prefix("Basic "));
    let sent = sent.and_then(|encoded| STANDARD.decode(encoded).ok());
    sent.is_some_and(|sent| sent == format!("{}:{}", config.client_id, config.client_secret).into_bytes())
}
