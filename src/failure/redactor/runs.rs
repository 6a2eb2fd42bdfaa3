//! What of the secrets is looked for in a text: every run of eight bytes, wherever it stands. Pure.

use std::{collections::HashSet, ops::Range};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE},
};

use super::reading::{Form, Reading, flat};

/// Bytes of a secret in a row that are taken out wherever they stand. Of a secret with 32 characters, fewer are no help to
/// anybody; and fewer are in words that have nothing to do with it.
const RUN: usize = 8;
/// Bytes of the shortest secret: taking out a shorter one would only garble the words.
const SHORTEST_SECRET: usize = 4;
/// Bytes of a secret's beginning that are taken out at the end of a text, which may have been cut there.
pub(super) const SHORTEST_BEGINNING: usize = 6;

/// Each is packed into a number.
#[derive(Default)]
pub(super) struct Runs {
    anywhere: HashSet<u64>,
    /// Secrets that are shorter than a run.
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

    /// The places in the text that are to be taken out, in their order. Some may overlap.
    pub(super) fn places_in(&self, text: &str) -> Vec<Range<usize>> {
        let readings = [Form::Plain, Form::Encoded, Form::EncodedAgain].map(|form| Reading::of(text, form));
        let mut places: Vec<_> =
            readings.iter().flat_map(|reading| self.found(reading, text.len())).collect();
        places.sort_unstable_by_key(|place| place.start);
        places
    }

    fn found(&self, reading: &Reading, end: usize) -> Vec<Range<usize>> {
        let bytes = &reading.bytes;
        let all = |length: usize, known: &HashSet<u64>| {
            let runs = bytes.windows(length).enumerate().filter(|(_, run)| known.contains(&packed(run)));
            runs.map(|(at, run)| reading.place(at..at + run.len())).collect::<Vec<_>>()
        };
        let mut places = all(RUN, &self.anywhere);
        if !self.whole.is_empty() {
            places.extend((SHORTEST_SECRET..RUN).flat_map(|length| all(length, &self.whole)));
        }
        for length in SHORTEST_BEGINNING..RUN {
            let Some(at) = bytes.len().checked_sub(length) else { continue };
            if bytes.get(at..).is_some_and(|last| self.at_end.contains(&packed(last))) {
                places.push(reading.place(at..bytes.len()).start..end);
            }
        }
        places
    }
}

/// As a secret may be written, beyond what a [`Reading`] undoes; in small letters, as there.
fn forms(secret: &str) -> [String; 5] {
    let digits = |byte: u8| [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16));
    let hexadecimal = secret.bytes().flat_map(digits).flatten().collect();
    let plain = flat(secret, usize::MAX).to_ascii_lowercase();
    let without_spaces = plain.replace(' ', "");
    let base64 = [STANDARD, URL_SAFE].map(|alphabet| alphabet.encode(secret).to_ascii_lowercase());
    let [standard, for_urls] = base64;
    [plain, without_spaces, standard, for_urls, hexadecimal]
}

/// At most [`RUN`] bytes. Before fewer than that stands a 1, so that their number counts, too.
fn packed(bytes: &[u8]) -> u64 {
    bytes.iter().fold(1, |packed, byte| (packed << 8) | u64::from(*byte))
}
