//! Undoes the escapes in a text before it is searched for secrets, and keeps the place of each byte in the text. Pure.

use std::ops::Range;

#[derive(Clone, Copy)]
pub(super) enum Escaping {
    None,
    /// Undoes percent-encoding and the escapes of JSON and HTML, and drops spaces.
    Once,
    /// Like [`Self::Once`], but also undoes escapes that were escaped again.
    Repeated,
}

/// The unescaped bytes of a text, with ASCII letters in lower case, and the place of each byte in the text.
pub(super) struct Unescaped {
    pub(super) bytes: Vec<u8>,
    places: Vec<Range<usize>>,
}

impl Unescaped {
    pub(super) fn new(text: &str, escaping: Escaping) -> Self {
        let (mut bytes, mut places, mut at) = (Vec::with_capacity(text.len()), Vec::new(), 0);
        while let Some((byte, length)) = text.as_bytes().get(at..).and_then(|rest| first_byte(escaping, rest))
        {
            if matches!(escaping, Escaping::None) || (byte, length) != (b' ', 1) {
                bytes.push(byte.to_ascii_lowercase());
                places.push(at..at + length);
            }
            at += length;
        }
        Self { bytes, places }
    }

    /// Returns the place of these unescaped bytes in the text; an empty range if `bytes` is empty or out of range.
    pub(super) fn place(&self, bytes: Range<usize>) -> Range<usize> {
        match self.places.get(bytes) {
            Some([one]) => one.clone(),
            Some([first, .., last]) => first.start..last.end,
            Some([]) | None => 0..0,
        }
    }
}

/// Returns the first unescaped byte, and how many bytes of the text it takes. Returns `None` if the text is empty or
/// ends within an escape that begins with `%` or `\`.
fn first_byte(escaping: Escaping, text: &[u8]) -> Option<(u8, usize)> {
    let (first, rest) = text.split_first()?;
    let is_repeated = matches!(escaping, Escaping::Repeated);
    match (escaping, first) {
        (Escaping::None, _) => Some((*first, 1)),
        (_, b'%') => {
            let mut digits = rest;
            while let (true, [b'2', b'5', more @ ..]) = (is_repeated, digits) {
                if hexadecimal(more, 2).is_none() {
                    break;
                }
                digits = more;
            }
            escaped(text, digits, 2)
        }
        (_, b'\\') => {
            let mut behind = rest;
            while let (true, [b'\\', more @ ..]) = (is_repeated, behind) {
                behind = more;
            }
            match behind {
                [b'u', digits @ ..] => escaped(text, digits, 4),
                [byte @ (b'"' | b'\\' | b'/'), ..] => Some((*byte, text.len() - behind.len() + 1)),
                [] => None,
                _ => Some((*first, 1)),
            }
        }
        (_, b'&') => {
            let mut name = rest;
            while let (true, [b'a', b'm', b'p', b';', more @ ..]) = (is_repeated, name) {
                name = more;
            }
            let entity = entity(name).map(|(byte, length)| (byte, text.len() - name.len() + length));
            entity.or(Some((*first, 1)))
        }
        _ => Some((*first, 1)),
    }
}

/// Undoes the escape at the beginning of `text`, whose `count` hexadecimal digits are at the beginning of `digits`. If
/// these are not digits, or their value is not a byte, returns the first byte of `text` unchanged. Returns `None` if
/// the text ends within the escape.
fn escaped(text: &[u8], digits: &[u8], count: usize) -> Option<(u8, usize)> {
    let first = *text.first()?;
    if digits.len() < count {
        return None;
    }
    let length = text.len() - digits.len() + count;
    Some(hexadecimal(digits, count).map_or((first, 1), |byte| (byte, length)))
}

fn hexadecimal(text: &[u8], digits: usize) -> Option<u8> {
    let digits = std::str::from_utf8(text.get(..digits)?).ok()?;
    u8::try_from(u32::from_str_radix(digits, 16).ok()?).ok()
}

/// Returns the byte that an HTML entity stands for, and the entity's length without `&`.
fn entity(text: &[u8]) -> Option<(u8, usize)> {
    /// The maximum length with `;`, in bytes. A number may have leading zeros.
    const LONGEST: usize = 10;
    let length = text.iter().take(LONGEST).position(|byte| *byte == b';')?;
    let name = std::str::from_utf8(text.get(..length)?).ok()?.to_ascii_lowercase();
    let byte = match (&*name, name.strip_prefix('#')) {
        ("amp", _) => b'&',
        ("lt", _) => b'<',
        ("gt", _) => b'>',
        ("quot", _) => b'"',
        ("apos", _) => b'\'',
        (_, Some(number)) => match number.strip_prefix('x') {
            Some(digits) => u8::from_str_radix(digits, 16).ok()?,
            None => number.parse().ok()?,
        },
        _ => return None,
    };
    Some((byte, length + 1))
}

/// Returns at most `most` characters of the text, on one line. Invisible characters are dropped, because between the
/// letters of a secret they would hide it from the search.
pub(super) fn flat(text: &str, most: usize) -> String {
    let visible = text.chars().filter(|character| !character.is_control() && !is_invisible(*character));
    visible.map(|character| if character.is_whitespace() { ' ' } else { character }).take(most).collect()
}

/// Returns whether this character is invisible: a format character (Unicode category `Cf`), a variation selector or a
/// filler.
fn is_invisible(character: char) -> bool {
    matches!(
        u32::from(character),
        0xad | 0x34f
            | 0x600..=0x605
            | 0x61c
            | 0x6dd
            | 0x70f
            | 0x890..=0x891
            | 0x8e2
            | 0x115f..=0x1160
            | 0x17b4..=0x17b5
            | 0x180b..=0x180f
            | 0x200b..=0x200f
            | 0x202a..=0x202e
            | 0x2060..=0x206f
            | 0x3164
            | 0xfe00..=0xfe0f
            | 0xfeff
            | 0xffa0
            | 0xfff0..=0xfffb
            | 0x110bd
            | 0x110cd
            | 0x13430..=0x1343f
            | 0x1bca0..=0x1bca3
            | 0x1d173..=0x1d17a
            | 0xe0000..=0xe0fff
    )
}
