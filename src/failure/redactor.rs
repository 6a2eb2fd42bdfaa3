//! Words of Zoom, its token endpoint and other replicas, without our secrets. Pure.
//!
//! An answer may repeat what it was asked with: an access token, a client secret, an `Authorization` header. Whatever is
//! shown of an answer is [`Words`], and only a [`Redactor`], which knows every secret that was sent, makes those.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Characters of a text that are shown.
const LONGEST_SHOWN: usize = 300;
/// Characters of a text that are looked at: enough to fill that, however much is taken out.
const LONGEST_READ: usize = 8 * 1024;
/// Bytes of the longest word that is shown: the longest of Zoom's scopes have 60 letters, its access tokens 300 and more.
const LONGEST_WORD: usize = 100;
/// Bytes of the shortest secret: taking out a shorter one would only garble the words.
const SHORTEST_SECRET: usize = 4;
/// Bytes of a secret's beginning that are taken out at the end of a text, which may have been cut there.
const SHORTEST_BEGINNING: usize = 6;
/// Secrets of each kind that are kept, the ones learned last. An older one is no longer sent, and so in no answer.
const MOST_SECRETS: usize = 32;
const LEFT_OUT: &str = "(left out)";

/// A text that somebody else wrote, fit for logs and callers: without our secrets, short, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(Box<str>);

impl Words {
    /// Words that another replica of this service has redacted.
    #[must_use]
    pub fn of_replica(text: &str) -> Self {
        Self(shortened(&flat(text)).into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Takes secrets out of texts. Clones share the list of secrets.
#[derive(Clone, Default)]
pub struct Redactor(Arc<Mutex<Secrets>>);

#[derive(Default)]
struct Secrets {
    configured: Vec<Box<str>>,
    /// Apart, or they would displace the others: there is a new one every hour.
    access_tokens: Vec<Box<str>>,
}

impl Redactor {
    /// Has a configured secret left out from now on, in any case of its letters, percent-encoded or escaped as in JSON, too.
    pub fn learn(&self, secret: &str) {
        add(&mut self.secrets().configured, secret);
    }

    /// The same for a secret that is replaced time and again.
    pub fn learn_access_token(&self, secret: &str) {
        add(&mut self.secrets().access_tokens, secret);
    }

    /// What may be shown of a text. It is redacted before it is shortened: the beginning of a secret is secret, too.
    #[must_use]
    pub fn words(&self, text: &str) -> Words {
        Words(shortened(&self.redact(&flat(text))).into())
    }

    fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let secrets = self.secrets();
        let mut redacted = Vec::new();
        let (bytes, mut done, mut at) = (text.as_bytes(), 0, 0);
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let all = secrets.configured.iter().chain(&secrets.access_tokens);
            let found = all.filter_map(|secret| length_of(secret.as_bytes(), rest)).max();
            if let Some(length) = found {
                redacted.extend_from_slice(bytes.get(done..at).unwrap_or_default());
                redacted.extend_from_slice(LEFT_OUT.as_bytes());
                done = at + length;
            }
            at += found.unwrap_or(1);
        }
        if done == 0 {
            return text.into();
        }
        redacted.extend_from_slice(bytes.get(done..).unwrap_or_default());
        String::from_utf8_lossy(&redacted).into_owned().into()
    }

    fn secrets(&self) -> MutexGuard<'_, Secrets> {
        // Nothing in there is half done when a thread panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(secrets: &mut Vec<Box<str>>, secret: &str) {
    if secret.len() < SHORTEST_SECRET {
        return;
    }
    secrets.retain(|known| &**known != secret);
    secrets.push(secret.into());
    let surplus = secrets.len().saturating_sub(MOST_SECRETS);
    secrets.drain(..surplus);
}

/// How a secret may be written.
#[derive(Clone, Copy)]
enum Form {
    Plain,
    /// Percent-encoded, or escaped as in JSON.
    Encoded,
    /// Percent-encoded twice or more often.
    EncodedAgain,
}

/// How long the secret is that the text begins with, in one form or another.
fn length_of(secret: &[u8], text: &[u8]) -> Option<usize> {
    let forms = [Form::Plain, Form::Encoded, Form::EncodedAgain];
    forms.into_iter().filter_map(|form| length_in(form, secret, text)).max()
}

fn length_in(form: Form, secret: &[u8], text: &[u8]) -> Option<usize> {
    let mut length = 0;
    for (index, wanted) in secret.iter().enumerate() {
        let Some((byte, taken)) = text.get(length..).and_then(|text| first_byte(form, text)) else {
            return (index >= SHORTEST_BEGINNING).then_some(length);
        };
        if !byte.eq_ignore_ascii_case(wanted) {
            return None;
        }
        length += taken;
    }
    Some(length)
}

/// The byte that the text begins with, and the length of its form. `None` at the end, also in the middle of a form.
fn first_byte(form: Form, text: &[u8]) -> Option<(u8, usize)> {
    let (first, rest) = text.split_first()?;
    match (form, first, rest) {
        (Form::Encoded | Form::EncodedAgain, b'%', _) => {
            let mut digits = rest;
            while let (Form::EncodedAgain, [b'2', b'5', again @ ..]) = (form, digits) {
                if hexadecimal(again, 2).is_none() {
                    break;
                }
                digits = again;
            }
            escaped(text, digits, 2)
        }
        (Form::Encoded, b'\\', [b'u', digits @ ..]) => escaped(text, digits, 4),
        (Form::Encoded, b'\\', [byte @ (b'"' | b'\\' | b'/'), ..]) => Some((*byte, 2)),
        (Form::Encoded, b'\\', []) => None,
        _ => Some((*first, 1)),
    }
}

/// An escape at the beginning of the text, of which so many digits are expected. Without them it is no escape.
fn escaped(text: &[u8], digits: &[u8], count: usize) -> Option<(u8, usize)> {
    let first = *text.first()?;
    if digits.len() < count {
        return None;
    }
    let length = text.len() - digits.len() + count;
    Some(hexadecimal(digits, count).map_or((first, 1), |byte| (byte, length)))
}

/// The byte in so many hexadecimal digits.
fn hexadecimal(text: &[u8], digits: usize) -> Option<u8> {
    let digits = std::str::from_utf8(text.get(..digits)?).ok()?;
    u8::try_from(u32::from_str_radix(digits, 16).ok()?).ok()
}

fn flat(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(LONGEST_READ).collect()
}

/// The first of it, without addresses and without words so long that they can only be keys or tokens.
fn shortened(text: &str) -> String {
    let fits = |word: &str| !word.contains("://") && word.len() <= LONGEST_WORD;
    let words: Vec<_> = text.split(' ').map(|word| if fits(word) { word } else { LEFT_OUT }).collect();
    words.join(" ").chars().take(LONGEST_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "Zebra/0+1=\"2";

    fn shown(text: &str) -> String {
        let redactor = Redactor::default();
        redactor.learn(SECRET);
        redactor.words(text).to_string()
    }

    #[test]
    fn a_secret_is_left_out_however_it_is_written() {
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
    fn no_part_of_a_secret_is_shown_where_a_text_is_cut() {
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
    fn a_long_word_is_left_out_also_where_the_text_is_cut_in_it() {
        let text = format!("{} {}", "x".repeat(99).replace('x', "x "), "y".repeat(200));
        assert!(!shown(&format!("{text} {text}")).contains('y'));
        assert_eq!(shown("See https://zoom.us/x?token=1 for more."), "See (left out) for more.");
    }

    #[test]
    fn configured_secrets_are_kept_whatever_becomes_of_access_tokens() {
        let redactor = Redactor::default();
        redactor.learn("configured");
        for number in 0..=MOST_SECRETS {
            redactor.learn_access_token(&format!("token-{number:03}"));
            // Learned again, it is not the oldest.
            redactor.learn_access_token("token-000");
        }
        let shown = redactor.words("configured token-000 token-001 token-002");
        assert_eq!(shown.as_str(), "(left out) (left out) token-001 (left out)");
        redactor.learn("abc");
        assert_eq!(redactor.words("abc").as_str(), "abc", "too short to be a secret");
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_and_no_secret_survives(text in "(\\PC|%|\\\\|u|25|[0-9a-f]){0,60}", secret in "\\PC{4,12}") {
            let redactor = Redactor::default();
            redactor.learn(&secret);
            let around = format!("{text}{secret}{text}");
            let shown = redactor.redact(&around);
            proptest::prop_assert!(!shown.replace(LEFT_OUT, "\n").contains(&secret));
        }
    }
}
