//! Reads the credential of a request: a bearer value, Basic credentials or `X-Api-Key`.

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use base64::{Engine as _, engine::general_purpose::STANDARD};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The credential that identifies the caller. It has no `Debug`, because it contains a secret.
pub(super) enum Credential<'h> {
    /// A caller key or a signed token.
    Bearer(&'h [u8]),
    /// `None` if they cannot be decoded.
    Basic(Option<BasicCredentials>),
    ApiKey(&'h [u8]),
}

impl<'h> Credential<'h> {
    /// Returns the first credential that is not empty: `Bearer`, then `Basic`, then `X-Api-Key`. If that credential
    /// is wrong, no later one replaces it. Other schemes, which a proxy may add, do not count.
    pub(super) fn of(headers: &'h HeaderMap) -> Option<Self> {
        let mut bearer = with_scheme(headers, "bearer");
        if let Some(value) = bearer.find(|value| !value.is_empty()) {
            return Some(Self::Bearer(value));
        }
        let mut basic = with_scheme(headers, "basic").filter(|encoded| !encoded.is_empty());
        let not_empty = |encoded| match BasicCredentials::decode(encoded) {
            Some(credentials) if credentials.is_empty() => None,
            decoded => Some(Self::Basic(decoded)),
        };
        if let Some(credential) = basic.find_map(not_empty) {
            return Some(credential);
        }
        let mut keys = headers.get_all(X_API_KEY).map(|value| value.as_bytes().trim_ascii());
        keys.find(|key| !key.is_empty()).map(Self::ApiKey)
    }
}

/// Returns the credentials of this scheme, whose name may have any case (RFC 9110, 11.1).
fn with_scheme<'h>(headers: &'h HeaderMap, scheme: &str) -> impl Iterator<Item = &'h [u8]> {
    headers.get_all(AUTHORIZATION).filter_map(move |value| {
        let (start, rest) = value.as_bytes().split_at_checked(scheme.len())?;
        let is_scheme = start.eq_ignore_ascii_case(scheme.as_bytes());
        (is_scheme && rest.first().is_none_or(|byte| *byte == b' ')).then(|| rest.trim_ascii())
    })
}

/// The name and the key of `Basic` credentials (RFC 7617), joined by a colon.
pub(super) struct BasicCredentials(String);

impl BasicCredentials {
    /// Returns the first `Basic` credentials, unless they cannot be decoded or are empty.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let decoded = with_scheme(headers, "basic").next().and_then(Self::decode);
        decoded.filter(|credentials| !credentials.is_empty())
    }

    fn decode(encoded: &[u8]) -> Option<Self> {
        String::from_utf8(STANDARD.decode(encoded).ok()?).ok().map(Self)
    }

    /// Returns whether both parts are empty, as a client with unset variables sends them.
    fn is_empty(&self) -> bool {
        self.0 == ":"
    }

    pub(super) fn name_and_key(&self) -> Option<(&str, &str)> {
        self.0.split_once(':')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the kind of the credential and its value.
    fn read(headers: &[(&str, &str)]) -> Option<(&'static str, String)> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse().unwrap(), value.parse().unwrap());
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Credential::of(&map).map(|credential| match credential {
            Credential::Bearer(value) => ("bearer", text(value)),
            Credential::Basic(decoded) => ("basic", decoded.map_or("?".to_owned(), |pair| pair.0)),
            Credential::ApiKey(key) => ("key", text(key)),
        })
    }

    const BEARER: (&str, &str) = ("authorization", "Bearer k");
    /// The base64 of `name:secret:with a colon`.
    const BASIC: (&str, &str) = ("authorization", "Basic bmFtZTpzZWNyZXQ6d2l0aCBhIGNvbG9u");
    const KEY: (&str, &str) = ("x-api-key", "x");

    #[test]
    fn the_first_credential_that_is_not_empty_decides() {
        for (headers, expected) in [
            (&[BEARER][..], ("bearer", "k")),
            (&[("authorization", "bearer k")], ("bearer", "k")),
            (&[("authorization", "BEARER   k ")], ("bearer", "k")),
            (&[KEY], ("key", "x")),
            (&[BASIC], ("basic", "name:secret:with a colon")),
            (&[("authorization", "bASIC  eDp5")], ("basic", "x:y")),
            (&[KEY, BASIC, BEARER], ("bearer", "k")),
            (&[KEY, BASIC], ("basic", "name:secret:with a colon")),
            (&[BEARER, ("authorization", "Bearer other")], ("bearer", "k")),
            (&[KEY, ("x-api-key", "other")], ("key", "x")),
            (&[("authorization", "Bearer"), BASIC, KEY], ("basic", "name:secret:with a colon")),
            (&[("authorization", "Bearer  "), ("authorization", "Basic Og=="), KEY], ("key", "x")),
            (&[("authorization", "Basic"), ("x-api-key", " "), KEY], ("key", "x")),
            (&[("authorization", "Basic ???"), KEY], ("basic", "?")),
            (&[("authorization", "Basic bm8gY29sb24="), KEY], ("basic", "no colon")),
            (&[("authorization", "Negotiate TlRMTVNTUAAB"), KEY], ("key", "x")),
            (&[("authorization", "Bearerk"), ("authorization", "k"), KEY], ("key", "x")),
        ] {
            let found = read(headers);
            let found = found.as_ref().map(|(kind, value)| (*kind, value.as_str()));
            assert_eq!(found, Some(expected), "{headers:?}");
        }
    }

    #[test]
    fn empty_credentials_and_other_schemes_are_no_credential() {
        for headers in [
            &[][..],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer   ")],
            &[("authorization", "Bearerk")],
            &[("authorization", "k")],
            &[("authorization", "")],
            &[("authorization", "Negotiate TlRMTVNTUAAB")],
            &[("authorization", "Basic")],
            &[("authorization", "Basic Og==")],
            &[("x-api-key", "")],
            &[("x-api-key", " ")],
        ] {
            assert_eq!(read(headers), None, "{headers:?}");
        }
    }
}
