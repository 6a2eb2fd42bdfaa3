//! Finds parts of secrets in a text: any eight consecutive bytes of a secret, a shorter secret as a whole, and the
//! beginning of a secret at the end of the text. Pure.

use std::{collections::HashSet, ops::Range};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};

use super::unescape::{Escaping, Unescaped, flat};

/// This many consecutive bytes of a secret are redacted anywhere in a text. Fewer bytes do not help an attacker, and
/// also occur in unrelated words.
const RUN: usize = 8;
/// The shortest secret that is redacted, in bytes. Shorter secrets occur in too many words.
const SHORTEST_SECRET: usize = 4;
/// The shortest beginning of a secret that is redacted at the end of a text, in bytes, because the text may have been
/// cut there.
pub(super) const SHORTEST_BEGINNING: usize = 6;

#[derive(Default)]
pub(super) struct Runs {
    anywhere: HashSet<u64>,
    /// Complete secrets that are shorter than [`RUN`].
    whole: HashSet<u64>,
    at_end: HashSet<u64>,
}

impl Runs {
    pub(super) fn add(&mut self, secret: &str) {
        for form in forms(secret) {
            let form = form.as_bytes();
            if form.len() < SHORTEST_SECRET {
                continue;
            }
            self.anywhere.extend(form.windows(RUN).map(packed));
            if form.len() < RUN {
                self.whole.insert(packed(form));
            }
            let beginnings = (SHORTEST_BEGINNING..RUN).filter_map(|length| form.get(..length));
            self.at_end.extend(beginnings.map(packed));
        }
    }

    /// Returns the ranges of the text to redact, sorted by their start. Ranges may overlap.
    pub(super) fn places_in(&self, text: &str) -> Vec<Range<usize>> {
        let forms = [Escaping::None, Escaping::Once, Escaping::Repeated];
        let forms = forms.map(|escaping| Unescaped::new(text, escaping));
        let mut places: Vec<_> = forms.iter().flat_map(|form| self.find(form, text.len())).collect();
        places.sort_unstable_by_key(|place| place.start);
        places
    }

    fn find(&self, text: &Unescaped, end: usize) -> Vec<Range<usize>> {
        let bytes = &text.bytes;
        let all = |length: usize, known: &HashSet<u64>| {
            let runs = bytes.windows(length).enumerate().filter(|(_, run)| known.contains(&packed(run)));
            runs.map(|(at, run)| text.place(at..at + run.len())).collect::<Vec<_>>()
        };
        let mut places = all(RUN, &self.anywhere);
        if !self.whole.is_empty() {
            places.extend((SHORTEST_SECRET..RUN).flat_map(|length| all(length, &self.whole)));
        }
        for length in SHORTEST_BEGINNING..RUN {
            let Some(at) = bytes.len().checked_sub(length) else { continue };
            if bytes.get(at..).is_some_and(|last| self.at_end.contains(&packed(last))) {
                places.push(text.place(at..bytes.len()).start..end);
            }
        }
        places
    }
}

/// Returns the forms in which a text may contain a secret, other than the escapes that [`Unescaped`] undoes. They are
/// in lower case, like the bytes of [`Unescaped`].
fn forms(secret: &str) -> [String; 5] {
    let digits = |byte: u8| [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16));
    let hexadecimal = secret.bytes().flat_map(digits).flatten().collect();
    let plain = flat(secret, usize::MAX).to_ascii_lowercase();
    let without_spaces = plain.replace(' ', "");
    let base64 = [STANDARD, URL_SAFE].map(|alphabet| alphabet.encode(secret).to_ascii_lowercase());
    let [standard, url_safe] = base64;
    [plain, without_spaces, standard, url_safe, hexadecimal]
}

/// Packs at most [`RUN`] bytes into a number. A leading 1 distinguishes runs of fewer than eight bytes by their length.
fn packed(bytes: &[u8]) -> u64 {
    bytes.iter().fold(1, |packed, byte| (packed << 8) | u64::from(*byte))
}
