//! Parses TOML with line numbers. Keeps the first syntax error of each line, and still returns the keys that it can
//! read. Keys that a syntax error makes unreliable are marked.
//!
//! `toml` with serde stops at the first problem. Its recovering parser goes on, but it gives byte offsets, and its
//! errors print the line, which may contain a secret. This file turns offsets into line numbers and keeps only the
//! messages.

use std::{collections::BTreeMap, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

pub(crate) struct TomlDocument<'a> {
    text: &'a str,
    root: Spanned<DeTable<'a>>,
    /// The first error of each line, by line number from 1. One typo can cause several errors.
    pub(crate) syntax_errors: BTreeMap<usize, String>,
}

pub(crate) struct Item<'d, 'a> {
    pub(crate) key: &'d str,
    /// The line of the key, from 1.
    pub(crate) line: usize,
    pub(crate) value: &'d DeValue<'a>,
    /// Whether a line from the key to the end of the value has a syntax error, which makes the value unreliable.
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

    /// Returns the line of a byte offset, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
    }
}

/// Returns an integer; `None` if the value is not an integer or does not fit into 128 bits.
pub(crate) fn integer(value: &DeValue<'_>) -> Option<i128> {
    match value {
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    }
}

/// Makes a value, key or path safe to print in one line: escapes control characters and truncates a long text.
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
