//! Removes our secrets from the strings that Zoom and its token endpoint send.
//!
//! A response may repeat parts of its request: an access token, a client secret, an `Authorization` header. Zoom's
//! strings are therefore shown only as [`RedactedText`]. Only a [`Redactor`], which knows the secrets that requests
//! contain, makes a [`RedactedText`] from such a string.

mod runs;
mod unescape;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Deserializer, Serialize};

use self::{runs::Runs, unescape::flat};

/// The maximum length of a text that is shown, in characters.
const LONGEST_SHOWN: usize = 300;
/// The number of characters of a text that are read and searched. It is much larger than [`LONGEST_SHOWN`], because
/// redaction shortens the text.
const LONGEST_READ: usize = 8 * 1024;
/// The longest word that is shown, in bytes. Zoom's longest scopes have 60 letters, and its access tokens have 300 or
/// more.
const LONGEST_WORD: usize = 100;
/// The number of secrets that are kept of each kind. Older secrets are no longer sent, so responses do not repeat them.
const MOST_SECRETS: usize = 32;
const LEFT_OUT: &str = "(left out)";

/// A string from another program, made safe for logs and callers: without our secrets, short, and on one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RedactedText(Box<str>);

impl RedactedText {
    /// Shortens a text that another replica has redacted.
    pub(crate) fn from_replica(text: &str) -> Self {
        Self(shortened(&flat(text, LONGEST_READ)).into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RedactedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RedactedText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::from_replica(&text))
    }
}

/// Redacts secrets. Clones share the list of secrets.
#[derive(Clone, Default)]
pub(crate) struct Redactor(Arc<Mutex<KnownSecrets>>);

#[derive(Default)]
struct KnownSecrets {
    configured: Vec<Box<str>>,
    /// Access tokens have a list of their own. A new token is issued about every hour, so in a common list they would
    /// displace the configured secrets.
    access_tokens: Vec<Box<str>>,
    runs: Runs,
}

impl Redactor {
    /// Adds a configured secret. Unless it has fewer than four bytes, it is redacted from now on, and so is every part
    /// of it that has at least eight bytes. It is found in upper and lower case, percent-encoded, escaped as in JSON or
    /// HTML, in base64 and in hexadecimal.
    pub(crate) fn learn(&self, secret: &str) {
        self.secrets().learn(secret, |secrets| &mut secrets.configured);
    }

    /// Like [`Self::learn`], but for an access token, which is replaced about every hour.
    pub(crate) fn learn_access_token(&self, secret: &str) {
        self.secrets().learn(secret, |secrets| &mut secrets.access_tokens);
    }

    /// Returns the part of a text that may be shown. The text is redacted before it is shortened, because a secret that
    /// was cut might not be recognized.
    pub(crate) fn redact(&self, text: &str) -> RedactedText {
        RedactedText(shortened(&self.remove_secrets(&flat(text, LONGEST_READ))).into())
    }

    fn remove_secrets(&self, text: &str) -> String {
        let (mut redacted, mut done) = (String::with_capacity(text.len()), 0);
        for place in self.secrets().runs.places_in(text) {
            let (start, end) = (text.floor_char_boundary(place.start), text.ceil_char_boundary(place.end));
            // Overlapping and adjacent ranges are replaced together.
            if start > done || done == 0 {
                redacted.push_str(text.get(done..start).unwrap_or_default());
                redacted.push_str(LEFT_OUT);
            }
            done = done.max(end);
        }
        redacted.push_str(text.get(done..).unwrap_or_default());
        redacted
    }

    fn secrets(&self) -> MutexGuard<'_, KnownSecrets> {
        // A panic while the lock is held leaves the secrets consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KnownSecrets {
    fn learn(&mut self, secret: &str, list: impl Fn(&mut Self) -> &mut Vec<Box<str>>) {
        let known = list(self);
        let count = known.len();
        known.retain(|known| &**known != secret);
        let is_new = known.len() == count;
        known.push(secret.into());
        if is_new {
            self.runs.add(secret);
        }
        let surplus = list(self).len().saturating_sub(MOST_SECRETS);
        if surplus > 0 {
            list(self).drain(..surplus);
            self.runs = Runs::default();
            for secret in self.configured.iter().chain(&self.access_tokens) {
                self.runs.add(secret);
            }
        }
    }
}

/// Returns the beginning of the text, without URLs, and without long words, which may be keys or tokens.
fn shortened(text: &str) -> String {
    let fits = |word: &str| !word.contains("://") && word.len() <= LONGEST_WORD;
    let words: Vec<_> = text.split(' ').map(|word| if fits(word) { word } else { LEFT_OUT }).collect();
    words.join(" ").chars().take(LONGEST_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::{runs::SHORTEST_BEGINNING, *};

    const SECRET: &str = "Zebra/0+1=\"2";

    fn shown(text: &str) -> String {
        let redactor = Redactor::default();
        redactor.learn(SECRET);
        redactor.redact(text).to_string()
    }

    #[test]
    fn a_secret_is_redacted_in_every_form() {
        for form in [
            SECRET,
            "zEBRA/0+1=\"2",
            "Zebra%2F0%2B1%3D%222",
            "Zebra%2f0+1%3d%222",
            "%5A%65%62%72%61%2F%30%2B%31%3D%22%32",
            "Zebra%252F0%252B1%253D%25222",
            "Zebra%25252F0+1=%2525222",
            "Zebra\\/0\\u002b1\\u003D\\\"2",
            "Ze\u{7}bra/0+1=\"2",
        ] {
            assert_eq!(shown(&format!("<{form}> for é {form}!")), "<(left out)> for é (left out)!", "{form}");
        }
        assert_eq!(shown("Zebra/0-1=\"2 100% \\u12 %2"), "Zebra/0-1=\"2 100% \\u12 %2");
    }

    #[test]
    fn no_part_of_a_secret_is_shown_at_the_cut() {
        for before in 280..310 {
            let text = format!("{} {SECRET} and so on", "x ".repeat(before / 2).split_at(before - 1).0);
            assert!(!shown(&text).contains("Zebra"), "{before}");
        }
        let filled = format!("{}{SECRET}", "\u{1}".repeat(LONGEST_READ));
        assert_eq!(shown(&filled), "(left out)");
        for cut in 1..SECRET.len() {
            let beginning = SECRET.split_at(cut).0;
            assert_eq!(shown(beginning) == "(left out)", cut >= SHORTEST_BEGINNING, "{beginning}");
        }
    }

    #[test]
    fn a_long_word_is_redacted_even_if_cut() {
        let text = format!("{} {}", "x".repeat(99).replace('x', "x "), "y".repeat(200));
        assert!(!shown(&format!("{text} {text}")).contains('y'));
        assert_eq!(shown("See https://zoom.us/x?token=1 for more."), "See (left out) for more.");
    }

    #[test]
    fn access_tokens_do_not_displace_configured_secrets() {
        let redactor = Redactor::default();
        redactor.learn("configured");
        for number in 0..=MOST_SECRETS {
            redactor.learn_access_token(&format!("{number:03}-token"));
            // A token that is added again is no longer the oldest.
            redactor.learn_access_token("000-token");
        }
        let shown = redactor.redact("configured 000-token 001-token 002-token");
        assert_eq!(shown.as_str(), "(left out) (left out) 001-token (left out)");
        redactor.learn("abc");
        assert_eq!(redactor.redact("abc").as_str(), "abc", "too short to be a secret");
    }

    #[test]
    fn a_part_of_eight_characters_is_redacted_anywhere() {
        const LONG: &str = "Abcdefghijklmnopqrstuvwxyz012345";
        let redactor = Redactor::default();
        redactor.learn(LONG);
        for (text, expected) in [
            ("Not Abcdefgh... here", "Not (left out)... here"),
            ("Not Abcdefg... here", "Not Abcdefg... here"),
            ("it ends with yz012345.", "it ends with (left out)."),
            ("Abcdefghijklmnop qrstuvwxyz012345!", "(left out)!"),
            ("Abcd efgh ijkl", "(left out)"),
            ("Abcdef\u{200b}ghijk\u{202e}l\u{2009}mn.", "(left out)."),
            ("&#65;&#x62;cdefgh;", "(left out);"),
            ("&amp;#65;bcdefgh&quot;", "(left out)&quot;"),
            ("\\\\\\u0041bcdefgh\\\\\"", "(left out)\\\\\""),
            ("QWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU=", "(left out)"),
            ("<QWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU>", "<(left out)>"),
            ("4162636465666768696A6B", "(left out)"),
        ] {
            assert_eq!(redactor.redact(text).as_str(), expected, "{text}");
        }
        // The URL-safe alphabet of base64, and characters of several bytes.
        let redactor = Redactor::default();
        redactor.learn("???>>>ééé~~~");
        let forms = "<Pz8_Pj4-w6nDqcOpfn5-> <Pz8/Pj4+w6nDqcOpfn5+> <é???>>>éx>";
        assert_eq!(redactor.redact(forms).as_str(), "<(left out)> <(left out)> <é(left out)x>");
    }

    proptest::proptest! {
        #[test]
        fn no_eight_characters_of_a_secret_survive(
            text in "(\\PC|%|\\\\|&|u|25|[0-9a-f]){0,60}",
            secret in "[^\\p{C}\\p{Z}]{8,40}",
            from in 0..33_usize,
            count in 8..40_usize,
        ) {
            let redactor = Redactor::default();
            redactor.learn(&secret);
            let part: String = secret.chars().skip(from).take(count).collect();
            let letters: Vec<_> = flat(&secret, LONGEST_READ).chars().collect();
            for around in [format!("{text}{secret}{text}"), format!("{text}{part}...{text}")] {
                let shown = redactor.remove_secrets(&flat(&around, LONGEST_READ)).replace(LEFT_OUT, "\n");
                for run in letters.windows(8).map(String::from_iter) {
                    proptest::prop_assert!(!shown.contains(&run), "{run} in {shown}");
                }
            }
        }
    }
}
