//! A Rust file as tokens: the paths it names, the items it defines, its tests.

use std::collections::{BTreeMap, BTreeSet};

use crate::lexer::{Token, is_name, tokens};

pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) layer: String,
    pub(crate) text: String,
    pub(crate) tokens: Vec<Token>,
}

/// A path in the code.
pub(crate) struct Named {
    /// The path as written; for a `use` with braces, the whole path to each name.
    pub(crate) path: Vec<String>,
    /// The path from the library's root; `None` for paths to other crates and, in the binary, to the binary itself.
    pub(crate) inside: Option<Vec<String>>,
    pub(crate) line: usize,
    /// `Some` if a `use` names it.
    pub(crate) import: Option<Import>,
}

pub(crate) struct Import {
    /// The imported item's name in this file; `*` for all names.
    pub(crate) name: String,
    /// Whether other files see the import: `pub use`, `pub(crate) use`.
    pub(crate) is_public: bool,
}

impl File {
    pub(crate) fn new(path: &str, text: String, layer: &str) -> Self {
        Self { path: path.to_owned(), layer: layer.to_owned(), tokens: tokens(&text), text }
    }

    pub(crate) fn at(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }

    pub(crate) fn token(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |token| &token.text)
    }

    /// Whether the tokens of `text` begin at `index`.
    pub(crate) fn follows(&self, index: usize, text: &str) -> bool {
        (index..).zip(tokens(text)).all(|(index, token)| self.token(index) == token.text)
    }

    /// The index of the brace that closes the one at `open`, or of the last token if it is never closed.
    pub(crate) fn closing(&self, open: usize) -> usize {
        let mut depth = 0_usize;
        for index in open..self.tokens.len() {
            match self.token(index) {
                "{" => depth += 1,
                "}" if depth == 1 => return index,
                "}" => depth -= 1,
                _ => {}
            }
        }
        self.tokens.len() - 1
    }

    /// The range of token indices of each test-only item, from its `#[cfg(test)]` to its end.
    fn items_of_tests(&self) -> Vec<std::ops::RangeInclusive<usize>> {
        let attributes = (0..self.tokens.len()).filter(|index| self.token(*index) == "#");
        let begins = attributes.filter(|index| self.follows(*index, "#[cfg(test)]"));
        let ends = begins.map(|begin| {
            let end = (begin..self.tokens.len()).find(|end| ["{", ";"].contains(&self.token(*end)));
            let end = end.unwrap_or(begin);
            begin..=if self.token(end) == "{" { self.closing(end) } else { end }
        });
        ends.collect()
    }

    pub(crate) fn lines_of_tests(&self) -> usize {
        let lines = |item: &std::ops::RangeInclusive<usize>| {
            self.tokens[*item.end()].line - self.tokens[*item.start()].line + 1
        };
        self.items_of_tests().iter().map(lines).sum()
    }

    /// Whether the file consists of tests only.
    pub(crate) fn is_of_tests(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// A copy of the file without the tokens of its test-only items. The text is unchanged.
    pub(crate) fn without_tests(&self) -> Self {
        let tests = self.items_of_tests();
        let is_kept = |index: &usize| !tests.iter().any(|item| item.contains(index));
        let kept = (0..self.tokens.len()).filter(is_kept).map(|index| self.tokens[index].clone());
        Self {
            path: self.path.clone(),
            layer: self.layer.clone(),
            text: self.text.clone(),
            tokens: kept.collect(),
        }
    }

    /// The name and line of each item of these kinds, except in functions and `impl`s. Includes items in a macro call
    /// with braces, such as `vocabulary! { … }`.
    pub(crate) fn items(&self, kinds: &[&str]) -> Vec<(String, usize)> {
        let (mut found, mut index) = (Vec::new(), 0);
        while index < self.tokens.len() {
            let is_module = self.token(index) == "mod" && self.token(index + 2) == "{";
            if kinds.contains(&self.token(index)) && is_name(self.token(index + 1)) {
                found.push((self.token(index + 1).to_owned(), self.tokens[index].line));
            }
            index = match self.token(index) {
                "mod" if is_module => index + 3,
                "!" if self.token(index + 1) == "{" => index + 2,
                "{" => self.closing(index) + 1,
                _ => index + 1,
            };
        }
        found
    }

    /// For each `struct` and `enum`, its name, the first trait of `shows` that it derives, and its line. For each `impl
    /// Trait for`, the type's name, `Trait` if it is in `shows`, and the line.
    pub(crate) fn types_showing(&self, shows: &[&str]) -> Vec<(String, Option<String>, usize)> {
        let (mut found, mut derived) = (Vec::new(), None);
        let shows = |word: &str| shows.contains(&word).then(|| word.to_owned());
        for (index, token) in self.tokens.iter().enumerate() {
            match token.text.as_str() {
                "derive" => {
                    let names = self.tokens[index..].iter().take_while(|token| token.text != ")");
                    derived = derived.or(names.into_iter().find_map(|token| shows(&token.text)));
                }
                "struct" | "enum" => {
                    found.push((self.token(index + 1).to_owned(), derived.take(), token.line));
                }
                "for" if index > 0 => {
                    found.push((self.token(index + 1).to_owned(), shows(self.token(index - 1)), token.line));
                }
                // A `derive` before this item does not belong to the next type.
                "fn" | "union" => derived = None,
                _ => {}
            }
        }
        found
    }

    /// The names of functions with an attribute `#[test]` or `#[….::test]`, and their lines.
    pub(crate) fn tests(&self) -> Vec<(String, usize)> {
        let mut found = Vec::new();
        for (index, token) in self.tokens.iter().enumerate() {
            let is_attribute =
                token.text == "test" && ["[", "::"].contains(&self.token(index.saturating_sub(1)));
            if is_attribute && self.token(index + 1) == "]" {
                // Further attributes and `async` may be in between.
                let function = (index..self.tokens.len()).find(|at| self.token(*at) == "fn");
                let function = function.expect("`#[test]` stands before a function") + 1;
                found.push((self.token(function).to_owned(), self.tokens[function].line));
            }
        }
        found
    }

    /// Names that the code uses bare: neither after `.` or `::`, nor in a `use`.
    pub(crate) fn bare_names(&self) -> BTreeSet<String> {
        let (mut found, mut index) = (BTreeSet::new(), 0);
        while index < self.tokens.len() {
            if self.is_use(index) {
                index = self.end_of_use(index);
            } else if is_name(self.token(index))
                && ![".", "::"].contains(&self.token(index.saturating_sub(1)))
            {
                found.insert(self.token(index).to_owned());
            }
            index += 1;
        }
        found
    }

    /// Whether a `use` item begins here, and not the `use<'a>` of a signature.
    fn is_use(&self, index: usize) -> bool {
        self.token(index) == "use" && self.token(index + 1) != "<"
    }

    fn end_of_use(&self, index: usize) -> usize {
        (index..self.tokens.len()).find(|end| self.token(*end) == ";").unwrap_or(index)
    }

    /// Every path of two segments or more, and every path of a `use`.
    pub(crate) fn paths(&self) -> Vec<Named> {
        let mut named = Vec::new();
        let mut ends: BTreeMap<usize, usize> = BTreeMap::new();
        let mut module = self.module();
        let mut index = 0;
        while index < self.tokens.len() {
            let line = self.tokens[index].line;
            match self.token(index) {
                "mod" if self.token(index + 2) == "{" => {
                    module.push(self.token(index + 1).to_owned());
                    *ends.entry(self.closing(index + 2)).or_default() += 1;
                    index += 3;
                    continue;
                }
                "use" if self.is_use(index) => {
                    let end = self.end_of_use(index);
                    let is_public = ["pub", ")"].contains(&self.token(index.saturating_sub(1)));
                    let mut at = index + 1;
                    self.tree(&mut at, end, &[], &mut |path, name, line| {
                        let import = Some(Import { name, is_public });
                        named.push(self.named(path, line, &module, import));
                    });
                    index = end;
                }
                first if is_name(first) && self.token(index + 1) == "::" => {
                    let mut path = vec![first.to_owned()];
                    while self.token(index + 1) == "::" && is_name(self.token(index + 2)) {
                        path.push(self.token(index + 2).to_owned());
                        index += 2;
                    }
                    named.push(self.named(path, line, &module, None));
                }
                _ => {
                    for _ in 0..ends.remove(&index).unwrap_or_default() {
                        module.pop();
                    }
                }
            }
            index += 1;
        }
        named
    }

    /// Reads one branch of a `use`, such as `a::b`, `a::{…}`, `a::*` or `a as b`, and passes each path to `found`.
    fn tree(
        &self,
        at: &mut usize,
        end: usize,
        before: &[String],
        found: &mut impl FnMut(Vec<String>, String, usize),
    ) {
        let (mut path, mut name, line) = (before.to_vec(), None, self.tokens[*at].line);
        while *at < end {
            match self.token(*at) {
                "::" => *at += 1,
                "{" => {
                    *at += 1;
                    while *at < end && self.token(*at) != "}" {
                        self.tree(at, end, &path, found);
                        if self.token(*at) == "," {
                            *at += 1;
                        }
                    }
                    *at += 1;
                    return;
                }
                "as" => {
                    name = Some(self.token(*at + 1).to_owned());
                    *at += 2;
                }
                "self" if !before.is_empty() => *at += 1,
                segment if is_name(segment) || segment == "*" => {
                    path.push(segment.to_owned());
                    *at += 1;
                }
                _ => break,
            }
        }
        let name = name.or_else(|| path.last().cloned()).unwrap_or_default();
        found(path, name, line);
    }

    fn named(&self, path: Vec<String>, line: usize, module: &[String], import: Option<Import>) -> Named {
        let (mut base, mut rest) = (None, path.as_slice());
        while let [first, after @ ..] = rest {
            base = match (first.as_str(), base) {
                ("crate" | "zoom_qos_proxy", None) => Some(Vec::new()),
                ("self", None) => Some(module.to_vec()),
                ("super", above) => {
                    let mut above = above.unwrap_or_else(|| module.to_vec());
                    above.pop();
                    Some(above)
                }
                (_, base) => {
                    let inside = base.map(|base| [base.as_slice(), rest].concat());
                    return Named { inside: self.unless_in_binary(inside, &path), path, line, import };
                }
            };
            rest = after;
        }
        Named { inside: self.unless_in_binary(base, &path), path, line, import }
    }

    /// In the binary, `crate` is the binary itself, so only paths that begin with the library's name are in the library.
    fn unless_in_binary(&self, inside: Option<Vec<String>>, path: &[String]) -> Option<Vec<String>> {
        inside.filter(|_| self.layer != "main" || path.first().is_some_and(|first| first == "zoom_qos_proxy"))
    }

    /// The module's path: `["http", "qos"]` for `src/http/qos.rs`.
    pub(crate) fn module(&self) -> Vec<String> {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        inside.split('/').filter(|part| *part != "lib" && *part != "main").map(str::to_owned).collect()
    }
}
