//! Decodes URLs and forms: percent-encoding, and `key=value&…`.
//!
//! Decoding never fails: an invalid escape stays as it is, because the simulator should record clients' mistakes, not reject them.

/// Decodes `%XX` once, and nothing else: `+` stays `+`.
pub(crate) fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    loop {
        match rest {
            [] => break,
            [b'%', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(hex_value(*high) * 16 + hex_value(*low));
                rest = tail;
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

const fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => 0,
    }
}

/// The first value of `key` in a query or form body, decoded; `+` stands for a space.
pub(crate) fn form_value(form: &str, key: &str) -> Option<String> {
    form.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (form_decoded(name) == key).then(|| form_decoded(value))
    })
}

fn form_decoded(text: &str) -> String {
    percent_decoded(&text.replace('+', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_goes_one_level_deep() {
        assert_eq!(percent_decoded("%252Fa%253D"), "%2Fa%3D");
        assert_eq!(percent_decoded("%2fa+b%3D"), "/a+b=");
    }

    #[test]
    fn an_invalid_escape_stays() {
        assert_eq!(percent_decoded("100%"), "100%");
        assert_eq!(percent_decoded("%zz%4"), "%zz%4");
    }

    #[test]
    fn a_plus_in_a_query_is_a_space() {
        assert_eq!(form_value("a=1&t=x+y%2B", "t").as_deref(), Some("x y+"));
        assert_eq!(form_value("a=1&t", "t").as_deref(), Some(""));
        assert_eq!(form_value("a=1", "t"), None);
    }
}
