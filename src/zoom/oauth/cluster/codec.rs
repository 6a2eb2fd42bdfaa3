//! The access token, or the reason why there is no token, as replicas exchange it over Redis.

use std::time::Instant;

use crate::{
    cluster::{
        Cluster,
        clock::ServerClock,
        failure_codec,
        keys::RecordKey,
        record_codec::{self, RecordKind},
        token::TokenRecord,
    },
    failure::{Failure, Reason, Redactor, ZoomError},
    zoom::oauth::{endpoint::RequestError, token::AccessToken},
};

pub(super) fn encode_token(
    cluster: &Cluster,
    key: &RecordKey,
    token: &AccessToken,
    clock: &ServerClock,
    now: Instant,
) -> Option<Vec<u8>> {
    let content = TokenRecord {
        text: token.text().to_owned(),
        renew_from: token.renew_from(),
        use_until: token.use_until(),
    };
    let content = content.to_bytes(clock);
    record_codec::encode(cluster.cipher().as_deref(), key, RecordKind::AccessToken, clock.at(now), &content)
}

pub(super) fn decode_token(
    cluster: &Cluster,
    key: &RecordKey,
    bytes: &[u8],
    clock: &ServerClock,
    redactor: &Redactor,
) -> Option<AccessToken> {
    let cipher = cluster.cipher();
    let record = record_codec::decode(cipher.as_deref(), key, bytes);
    let Some(record) = record.filter(|record| record.kind == RecordKind::AccessToken) else {
        if !record_codec::is_foreign(cipher.as_deref(), bytes) {
            cluster.record_rejected();
        }
        return None;
    };
    let TokenRecord { text, renew_from, use_until } =
        TokenRecord::from_bytes(&record.content, clock, Instant::now())?;
    AccessToken::new(&text, renew_from, use_until, redactor)
}

/// Encodes an error that the other replicas would probably also get: refused credentials, or a response after which an
/// immediate retry would not help. Returns an empty string for any other error, or if it cannot be encoded.
pub(super) fn encode_error(cluster: &Cluster, error: &RequestError) -> String {
    let (reason, zoom_error, delay) = match error {
        RequestError::Denied(zoom_error) => (Reason::ZoomRejectedCredentials, zoom_error, None),
        RequestError::Permanent(Some(zoom_error)) => (Reason::ZoomFailed, zoom_error, None),
        RequestError::RetryAfter { zoom_error, delay } => (Reason::ZoomFailed, zoom_error, Some(*delay)),
        RequestError::Permanent(None) | RequestError::TimedOut | RequestError::Transient(_) => {
            return String::new();
        }
    };
    let mut failure = Failure::new(reason).with_zoom_error(zoom_error.clone());
    failure.retry_at = delay.map(|delay| Instant::now() + delay);
    cluster.clock().and_then(|clock| failure_codec::encode(&failure, &clock)).unwrap_or_default()
}

pub(super) fn decode_error(cluster: &Cluster, encoded: &str) -> Option<RequestError> {
    let now = Instant::now();
    let failure = failure_codec::decode(encoded, &cluster.clock()?, now)?;
    let zoom_error = failure.zoom.map_or_else(ZoomError::default, |zoom_error| (*zoom_error).clone());
    match (failure.reason, failure.retry_at) {
        (Reason::ZoomRejectedCredentials, _) => Some(RequestError::Denied(zoom_error)),
        (Reason::ZoomFailed, None) => Some(RequestError::Permanent(Some(zoom_error))),
        (Reason::ZoomFailed, Some(at)) => {
            Some(RequestError::RetryAfter { zoom_error, delay: at.saturating_duration_since(now) })
        }
        _ => None,
    }
}
