//! Identifies the caller by the key in the request's headers.
//!
//! Handlers get the caller, never the key.

use std::sync::Arc;

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use super::problem::Problem;
use crate::callers::{Caller, CallerName, Callers};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The sender of a request.
pub(super) enum Identity {
    /// A caller of `callers.file`, or the anonymous one if that is not configured.
    Caller(Arc<Caller>),
    /// A key is required, and the request has none or an unknown one.
    Unknown,
    /// The route is open to everybody.
    NotRequired,
}

impl Identity {
    pub(super) fn of(headers: &HeaderMap, callers: &Callers) -> Self {
        // Without `callers.file`, keys are ignored.
        let key = if callers.need_keys() { presented_key(headers) } else { None };
        callers.find(key).map_or(Self::Unknown, Self::Caller)
    }

    /// Returns the name under which the request is logged.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Caller(caller) => caller.name.as_str(),
            Self::Unknown => CallerName::UNKNOWN,
            Self::NotRequired => CallerName::ANONYMOUS,
        }
    }

    /// Returns whether the caller is anonymous because no callers are configured.
    pub(super) fn is_anonymous(&self) -> bool {
        matches!(self, Self::Caller(caller) if caller.is_anonymous())
    }

    /// Returns the caller, or the problem to respond with if the request has no known key.
    pub(super) fn caller(&self) -> Result<&Arc<Caller>, Problem> {
        match self {
            Self::Caller(caller) => Ok(caller),
            Self::Unknown | Self::NotRequired => Err(Problem::UnknownCaller),
        }
    }
}

/// Returns the key in these headers, ignoring empty values. Returns `None` if two keys differ: either the caller sent
/// both, or a proxy added one, and it is unclear which one counts.
fn presented_key(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get_all(AUTHORIZATION).filter_map(bearer_key);
    let bare = headers.get_all(X_API_KEY).map(|value| value.as_bytes().trim_ascii());
    let mut keys = bearer.chain(bare).filter(|key| !key.is_empty());
    let first = keys.next()?;
    keys.all(|other| other == first).then_some(first)
}

/// Parses `Bearer KEY` (RFC 6750), with the scheme in any case (RFC 9110, 11.1). Returns `None` for other schemes.
fn bearer_key(value: &HeaderValue) -> Option<&[u8]> {
    let value = value.as_bytes();
    let (scheme, key) = value.split_at_checked(b"bearer".len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer") && key.first().is_none_or(|byte| *byte == b' ');
    is_bearer.then(|| key.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_of(headers: &[(&str, &str)]) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse().unwrap(), value.parse().unwrap());
        }
        presented_key(&map).map(|key| String::from_utf8(key.to_vec()).unwrap())
    }

    #[test]
    fn a_key_comes_in_either_header() {
        for headers in [
            &[("authorization", "Bearer k")][..],
            &[("authorization", "bearer k")],
            &[("authorization", "BEARER   k")],
            &[("x-api-key", "k")],
            &[("authorization", "Bearer k"), ("x-api-key", "k")],
            &[("authorization", "Basic dXNlcg=="), ("x-api-key", "k")],
            &[("x-api-key", "k"), ("x-api-key", "k")],
            &[("authorization", "Bearer k"), ("x-api-key", "")],
            &[("authorization", "Bearer"), ("x-api-key", "k")],
            &[("authorization", "Bearer  "), ("x-api-key", "k"), ("x-api-key", " ")],
        ] {
            assert_eq!(key_of(headers).as_deref(), Some("k"), "{headers:?}");
        }
    }

    #[test]
    fn no_key_and_two_keys_are_none() {
        for headers in [
            &[][..],
            &[("authorization", "Basic dXNlcg==")],
            &[("authorization", "Bearerk")],
            &[("authorization", "k")],
            &[("authorization", "Bearer k"), ("x-api-key", "other")],
            &[("authorization", "Bearer k"), ("authorization", "Bearer other")],
            &[("x-api-key", "k"), ("x-api-key", "other")],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer   ")],
            &[("x-api-key", "")],
            &[("x-api-key", " ")],
        ] {
            assert_eq!(key_of(headers), None, "{headers:?}");
        }
    }
}
