//! TOML with line numbers, read as far as it goes: every syntax error, and every key beside the broken lines.
//!
//! `toml` with serde would stop at the first problem. Its recovering parser does not, but gives byte offsets and errors
//! that print the line, which may hold a secret; this adds the lines and keeps the messages alone.

use std::{collections::BTreeMap, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

pub(crate) struct TomlDocument<'a> {
    text: &'a str,
    root: Spanned<DeTable<'a>>,
    /// The first error of each line, by its number from 1: one typo can cause several.
    pub(crate) syntax_errors: BTreeMap<usize, String>,
}

/// A key and its value.
pub(crate) struct Item<'d, 'a> {
    pub(crate) key: &'d str,
    /// Of the key, from 1.
    pub(crate) line: usize,
    pub(crate) value: &'d DeValue<'a>,
    /// Whether a line from the key to the end of the value has a syntax error, so that the value is a guess.
    pub(crate) is_broken: bool,
}

impl<'a> TomlDocument<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut document = Self { text, root, syntax_errors: BTreeMap::new() };
        for error in errors {
            let line = document.line(error.span().map_or(0, |span| span.start));
            let message = || format!("invalid TOML: {}", one_line(error.message()));
            document.syntax_errors.entry(line).or_insert_with(message);
        }
        document
    }

    pub(crate) fn root(&self) -> &DeTable<'a> {
        self.root.get_ref()
    }

    pub(crate) fn items<'d>(&self, table: &'d DeTable<'a>) -> impl Iterator<Item = Item<'d, 'a>> {
        table.iter().map(|(key, value)| {
            let Range { start, end } = key.span().start..value.span().end;
            let line = self.line(start);
            let is_broken = self.syntax_errors.range(line..=self.line(end)).next().is_some();
            Item { key: key.get_ref(), line, value: value.get_ref(), is_broken }
        })
    }

    /// The line of a byte, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
    }
}

/// `None` for what is no integer, or beyond 128 bits.
pub(crate) fn integer(value: &DeValue<'_>) -> Option<i128> {
    match value {
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    }
}

/// A value, key or path as part of one line: control characters are escaped, and what is long is cut.
pub(crate) fn one_line(text: &str) -> String {
    const MAX_CHARACTERS: usize = 200;
    let mut line = String::new();
    for (index, letter) in text.chars().enumerate() {
        if index == MAX_CHARACTERS {
            line.push('…');
            break;
        } else if letter.is_control() {
            line.extend(letter.escape_unicode());
        } else {
            line.push(letter);
        }
    }
    line
}
