//! Walks over JSON text that has already been validated.
//!
//! On any other text, the methods can fail, mostly with [`Desynced`]. No method panics or loops forever.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::Visitor;

/// The walk has lost its place, because the text is not the JSON that the validator accepted.
#[derive(Debug)]
pub(crate) struct Desynced;

/// A position in a JSON text. `Copy`, so that a copy can look ahead.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    source: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(source: &'a [u8]) -> Self {
        Self { source, at: 0 }
    }

    /// Returns the byte offset of the next token, or of the white space before it.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn source(&self) -> &'a [u8] {
        self.source
    }

    /// Skips white space and returns the first byte of the next token.
    #[inline]
    pub(crate) fn token(&mut self) -> Result<u8, Desynced> {
        loop {
            match self.source.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(&byte) => return Ok(byte),
                None => return Err(Desynced),
            }
        }
    }

    /// Steps over one byte that [`token`](Self::token) has returned.
    #[inline]
    pub(crate) fn step(&mut self) {
        self.at += 1;
    }

    /// Steps over `punctuation` if it is the next token. Returns whether it was.
    pub(crate) fn take_if(&mut self, punctuation: u8) -> bool {
        let found = self.token().is_ok_and(|byte| byte == punctuation);
        if found {
            self.step();
        }
        found
    }

    pub(crate) fn take(&mut self, punctuation: u8) -> Result<(), Desynced> {
        if self.take_if(punctuation) { Ok(()) } else { Err(Desynced) }
    }

    /// Steps over a string, and returns it.
    #[inline]
    pub(crate) fn text(&mut self) -> Result<Text<'a>, Desynced> {
        if self.token()? != b'"' {
            return Err(Desynced);
        }
        let quote = self.at;
        let rest = self.source.get(quote + 1..).ok_or(Desynced)?;
        let mut escaped = false;
        let mut length = 0;
        loop {
            match rest.get(length) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    length += 2;
                }
                Some(_) => length += 1,
                None => return Err(Desynced),
            }
        }
        let raw = rest.get(..length).ok_or(Desynced)?;
        self.at = quote + length + 2;
        Ok(Text { raw, quote, escaped })
    }

    /// Steps over a key and the colon after it.
    pub(crate) fn key(&mut self) -> Result<Text<'a>, Desynced> {
        let key = self.text()?;
        self.take(b':')?;
        Ok(key)
    }

    /// Steps over `bytes` if they come next, with no white space before them.
    pub(crate) fn take_bytes(&mut self, bytes: &[u8]) -> Option<()> {
        self.source.get(self.at..)?.starts_with(bytes).then(|| self.at += bytes.len())
    }

    /// Steps over a number, `true`, `false` or `null`, and returns its text.
    #[inline]
    pub(crate) fn scalar(&mut self) -> Result<&'a [u8], Desynced> {
        let rest = self.source.get(self.at..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'+' | b'-' | b'.' | b'E'));
        let (scalar, _) = rest.split_at_checked(length.unwrap_or(rest.len())).ok_or(Desynced)?;
        self.at += scalar.len();
        if scalar.is_empty() { Err(Desynced) } else { Ok(scalar) }
    }

    /// Steps over any value, however deep.
    pub(crate) fn skip_value(&mut self) -> Result<(), Desynced> {
        match self.token()? {
            b'{' | b'[' => self.skip_container(),
            b'"' => self.text().map(drop),
            _ => self.scalar().map(drop),
        }
    }

    /// Steps over an object or a list. Only brackets and strings determine where it ends, so this passes over
    /// everything else byte by byte. It has to be fast, because views skip most of a meeting several times.
    fn skip_container(&mut self) -> Result<(), Desynced> {
        let mut depth = 0_usize;
        let mut rest = self.source.get(self.at..).unwrap_or_default().iter();
        while let Some(byte) = rest.next() {
            match byte {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                b'"' => skip_string(&mut rest)?,
                _ => continue,
            }
            if depth == 0 {
                self.at = self.source.len() - rest.len();
                return Ok(());
            }
        }
        Err(Desynced)
    }

    /// Steps over any value and returns its text.
    pub(crate) fn skipped_value(&mut self) -> Result<&'a [u8], Desynced> {
        self.token()?;
        let begin = self.at;
        self.skip_value()?;
        self.source.get(begin..self.at).ok_or(Desynced)
    }
}

/// Steps over the rest of a string, and its closing quote.
fn skip_string(rest: &mut std::slice::Iter<'_, u8>) -> Result<(), Desynced> {
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => return Ok(()),
            b'\\' => drop(rest.next()),
            _ => {}
        }
    }
    Err(Desynced)
}

/// A string in the source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    /// The bytes between the quotes, with escapes.
    pub(crate) raw: &'a [u8],
    quote: usize,
    escaped: bool,
}

impl<'a> Text<'a> {
    /// Returns the offset of the opening quote.
    pub(crate) fn begin(&self) -> usize {
        self.quote
    }

    /// Returns the offset of the closing quote.
    pub(crate) fn closing_quote(&self) -> usize {
        self.quote + 1 + self.raw.len()
    }

    /// Returns the unescaped text as bytes, because JSON can contain a lone surrogate and UTF-8 cannot. A lone
    /// surrogate becomes the three bytes of WTF-8, so that two different keys never compare as equal.
    #[inline]
    pub(crate) fn name(&self) -> Result<Cow<'a, [u8]>, Desynced> {
        if self.escaped { decoded(self.raw).map(Cow::Owned) } else { Ok(Cow::Borrowed(self.raw)) }
    }
}

#[cold]
fn decoded(raw: &[u8]) -> Result<Vec<u8>, Desynced> {
    let quoted = [b"\"", raw, b"\""].concat();
    serde_json::Deserializer::from_slice(&quoted).deserialize_bytes(Wtf8).map_err(|_| Desynced)
}

/// Collects the bytes of a string. `serde_json` documents that `deserialize_bytes` returns a lone surrogate as WTF-8
/// rather than as an error.
struct Wtf8;

impl Visitor<'_> for Wtf8 {
    type Value = Vec<u8>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }
}
