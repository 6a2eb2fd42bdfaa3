//! The text of the callers' file as a list of entries; or everything that is wrong with it, by line. Pure.
//!
//! No message repeats a value, or the name of an unknown key: somebody may have put a key there.

use std::{collections::HashMap, fmt, num::NonZeroU32, ops::RangeInclusive};

use toml::de::{DeTable, DeValue};

use super::{caller::Name, key};
use crate::toml_document::{Item, TomlDocument, integer};

/// SHA-256 of a caller key.
pub(super) type Digest = [u8; 32];

/// Far above any sensible ratio, and far from where shares could overflow.
pub const WEIGHTS: RangeInclusive<u32> = 1..=1_000;

const KEYS: [&str; 4] = ["name", "key_sha256", "weight", "calls_per_minute"];

/// One `[[caller]]`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: Name,
    pub(super) key_sha256: Digest,
    pub(super) weight: u32,
    pub(super) calls_per_minute: Option<NonZeroU32>,
}

/// One thing that is wrong with a callers' file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Counted from 1; `None` when it is about the whole file.
    pub line: Option<usize>,
    /// What, and what to do.
    pub what: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        f.write_str(&self.what)
    }
}

/// The entries in the order of the file, which may have none.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>, Vec<Wrong>> {
    let document = TomlDocument::parse(text);
    let mut reading = Reading { document: &document, wrong: Vec::new() };
    for (line, what) in &document.syntax_errors {
        reading.note(*line, what.clone());
    }
    let mut entries: Vec<(usize, Option<Entry>)> = Vec::new();
    for Item { key, line, value, .. } in document.items(document.root()) {
        match (key, value) {
            ("caller", DeValue::Array(tables)) => {
                for table in tables {
                    let line = document.line(table.span().start);
                    let entry = match table.get_ref() {
                        DeValue::Table(table) => reading.entry(line, table),
                        _ => reading.refuse(line, "is no caller; write each as a table, [[caller]]"),
                    };
                    entries.push((line, entry));
                }
            }
            ("caller", _) => {
                reading.note(
                    line,
                    "caller is a list; begin each with [[caller]], in double brackets".to_owned(),
                );
            }
            _ => reading.note(line, "unknown key; callers are [[caller]]".to_owned()),
        }
    }
    reading.refuse_twins(&entries);
    let Reading { mut wrong, .. } = reading;
    if wrong.is_empty() {
        return Ok(entries.into_iter().filter_map(|(_, entry)| entry).collect());
    }
    wrong.sort_by_key(|wrong| wrong.line);
    Err(wrong)
}

struct Reading<'d> {
    document: &'d TomlDocument<'d>,
    wrong: Vec<Wrong>,
}

impl Reading<'_> {
    fn note(&mut self, line: usize, what: String) {
        self.wrong.push(Wrong { line: Some(line), what });
    }

    fn refuse<T>(&mut self, line: usize, what: &str) -> Option<T> {
        self.note(line, what.to_owned());
        None
    }

    fn entry(&mut self, line: usize, table: &DeTable<'_>) -> Option<Entry> {
        let (mut name, mut key_sha256, mut weight, mut ceiling) = (None, None, Some(1), Some(None));
        let mut missing = vec!["name", "key_sha256"];
        for Item { key, line, value, is_broken } in self.document.items(table) {
            missing.retain(|required| *required != key);
            match key {
                _ if !KEYS.contains(&key) => {
                    self.note(line, format!("unknown key; there are {}", KEYS.join(", ")));
                }
                _ if is_broken => {}
                "name" => name = self.name(line, value),
                "key_sha256" => key_sha256 = self.digest(line, value),
                "weight" => weight = self.count(line, key, value, &WEIGHTS),
                _ => ceiling = self.count(line, key, value, &(1..=u32::MAX)).map(NonZeroU32::new),
            }
        }
        // With a syntax error in the file, what is missing may stand on a line that could not be read.
        if self.document.syntax_errors.is_empty() {
            for required in missing {
                self.note(line, format!("this caller has no {required}; every caller needs one"));
            }
        }
        Some(Entry { name: name?, key_sha256: key_sha256?, weight: weight?, calls_per_minute: ceiling? })
    }

    fn name(&mut self, line: usize, value: &DeValue<'_>) -> Option<Name> {
        match value.as_str().map(Name::parse) {
            Some(Ok(name)) => Some(name),
            Some(Err(what)) => self.refuse(line, &format!("name: {what}")),
            None => self.refuse(line, "name must be text in quotes"),
        }
    }

    fn digest(&mut self, line: usize, value: &DeValue<'_>) -> Option<Digest> {
        let text = value.as_str();
        if text.is_some_and(key::looks_like_one) {
            return self.refuse(
                line,
                "key_sha256 is a key itself; write its SHA-256 (printf %s KEY | sha256sum), and replace the key, as \
                 whoever reads this file has it",
            );
        }
        let digest = text.and_then(key::digest_from_hex);
        if digest.as_ref().is_some_and(key::is_of_nothing) {
            return self.refuse(
                line,
                "key_sha256 is the hash of nothing or of white space; hash the key itself (printf %s KEY | sha256sum)",
            );
        }
        digest.or_else(|| self.refuse(line, "key_sha256 must be text of 64 hexadecimal digits"))
    }

    fn count(
        &mut self,
        line: usize,
        key: &str,
        value: &DeValue<'_>,
        range: &RangeInclusive<u32>,
    ) -> Option<u32> {
        let number = integer(value).and_then(|number| u32::try_from(number).ok());
        let in_range = number.filter(|number| range.contains(number));
        in_range.or_else(|| {
            let (least, most) = (range.start(), range.end());
            self.refuse(line, &format!("{key} must be a whole number from {least} to {most}, without quotes"))
        })
    }

    /// A name is one caller's, and so is a key: else it would be open whom it means.
    fn refuse_twins(&mut self, entries: &[(usize, Option<Entry>)]) {
        let (mut names, mut keys) = (HashMap::new(), HashMap::new());
        for (line, entry) in entries {
            let Some(Entry { name, key_sha256, .. }) = entry else { continue };
            if let Some(first) = names.insert(name, line) {
                self.note(
                    *line,
                    format!("{name} is the name of the caller of line {first}, too; a name is given once"),
                );
            }
            if let Some(first) = keys.insert(key_sha256, line) {
                self.note(
                    *line,
                    format!("{name} has the key of the caller of line {first}; give each its own"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    /// The same but for its last digit.
    fn other_hash() -> String {
        HASH.replace("0a08", "0a09")
    }

    fn wrongs(text: &str) -> Vec<String> {
        parse(text).err().expect("refused").iter().map(ToString::to_string).collect()
    }

    /// The one thing that is wrong with an entry of these lines.
    fn wrong(lines: &str) -> String {
        let mut all = wrongs(&format!("[[caller]]\n{lines}\n"));
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    #[test]
    fn entries_are_read_with_their_defaults() {
        let text = format!(
            "# ours\n[[caller]]\nname = \"support-tools\"\nkey_sha256 = \"{HASH}\"\n\n[[caller]]\nname = \"bi\"\n\
             key_sha256 = \"{}\"\nweight = 3\ncalls_per_minute = 120\n",
            other_hash().to_uppercase()
        );
        let entries = parse(&text).ok().unwrap();
        let told: Vec<_> = entries
            .iter()
            .map(|entry| (entry.name.as_str(), entry.weight, entry.calls_per_minute.map(NonZeroU32::get)))
            .collect();
        assert_eq!(told, [("support-tools", 1, None), ("bi", 3, Some(120))]);
        assert_eq!(entries[0].key_sha256[..2], [0x9f, 0x86]);
        assert_eq!(entries[1].key_sha256[31], 0x09);
        assert!(parse("").ok().unwrap().is_empty());
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_with_its_line() {
        let text = format!(
            "[[caller]]\nname = \"a\"\nkey_sha256 = \"{HASH}\"\nweight = 0\n[[caller]]\nname = \"a\"\n\
             key_sha256 = \"{HASH}\"\ncalls_per_minute = 0\n[[caller]]\nname = \"B\"\nkey_sha256 = \"xy\"\n\
             [[caller]]\nwieght = 1\n[other]\n"
        );
        assert_eq!(
            wrongs(&text),
            [
                "line 4: weight must be a whole number from 1 to 1000, without quotes",
                "line 8: calls_per_minute must be a whole number from 1 to 4294967295, without quotes",
                "line 10: name: a name is 1 to 64 of a-z, 0-9 and -",
                "line 11: key_sha256 must be text of 64 hexadecimal digits",
                "line 12: this caller has no name; every caller needs one",
                "line 12: this caller has no key_sha256; every caller needs one",
                "line 13: unknown key; there are name, key_sha256, weight, calls_per_minute",
                "line 14: unknown key; callers are [[caller]]",
            ]
        );
    }

    #[test]
    fn a_name_and_a_key_belong_to_one_caller() {
        let two = |second: &str, hash: &str| {
            wrongs(&format!(
                "[[caller]]\nname = \"a\"\nkey_sha256 = \"{HASH}\"\n[[caller]]\nname = \"{second}\"\nkey_sha256 = \"{hash}\"\n"
            ))
        };
        assert_eq!(
            two("a", &other_hash()),
            ["line 4: a is the name of the caller of line 1, too; a name is given once"]
        );
        let same_key = ["line 4: b has the key of the caller of line 1; give each its own"];
        assert_eq!(two("b", HASH), same_key);
        assert_eq!(two("b", &HASH.to_uppercase()), same_key);
    }

    #[test]
    fn the_hash_of_nothing_or_of_white_space_is_refused() {
        for nothing in ["", " ", "\n", "\r\n", "\t", "    ", " \n\t\r"] {
            let hash = key::hex(&key::digest_of(nothing.as_bytes()));
            for hash in [hash.to_uppercase(), hash] {
                let said = wrong(&format!("name = \"a\"\nkey_sha256 = \"{hash}\""));
                assert!(said.starts_with("line 3: key_sha256 is the hash of nothing"), "{said}");
            }
        }
    }

    #[test]
    fn no_message_repeats_what_may_be_a_key() {
        let secret = "zqp_Zebra0123456789";
        for lines in [
            format!("name = \"a\"\nkey_sha256 = \"{secret}\""),
            format!("name = \"{secret}\"\nkey_sha256 = \"{HASH}\""),
            format!("name = \"a\"\nkey_sha256 = \"{HASH}\"\nweight = \"{secret}\""),
            format!("name = \"a\"\nkey_sha256 = \"{HASH}\"\nweight = {secret}"),
            format!("name = \"a\"\nkey_sha256 = {secret}"),
        ] {
            let said = wrong(&lines);
            assert!(!said.contains("Zebra"), "{said}");
        }
        for text in [
            format!("[[caller]]\nname = \"a\"\nkey_sha256 = \"{HASH}\"\n{secret} = 1\n"),
            format!("[[caller]]\n{secret} = 1\n{secret} = 2\n"),
            format!("[[caller]]\n{secret}\n"),
            format!("[[caller]]\nname.{secret} = 1\nname.{secret} = 1\n"),
            format!("{secret} = \"a\"\n"),
            format!("[{secret}]\n[{secret}]\n"),
            format!("[[{secret}]]\nname = \"a\"\n"),
        ] {
            let said = wrongs(&text).join("\n");
            assert!(said.starts_with("line ") && !said.contains("Zebra"), "{said}");
        }
        assert!(wrong(&format!("name = \"a\"\nkey_sha256 = \"{secret}\"")).contains("is a key itself"));
    }

    #[test]
    fn what_has_another_form_is_refused() {
        for (lines, said) in [
            ("name = 1", "name must be text in quotes"),
            ("name = \"a\"\nname = \"b\"", "is not TOML here"),
            ("name = \"anonymous\"", "choose another name"),
        ] {
            let said_of_it = wrong(&format!("{lines}\nkey_sha256 = \"{HASH}\""));
            assert!(said_of_it.contains(said), "{said_of_it}");
        }
        for weight in ["1001", "-1", "1.5", "\"1\"", "true", "99999999999999999999999999999999999999999"] {
            let said = wrong(&format!("name = \"a\"\nkey_sha256 = \"{HASH}\"\nweight = {weight}"));
            assert!(said.contains("weight") || said.contains("not TOML"), "{said}");
        }
        let no_list = ["line 1: caller is a list; begin each with [[caller]], in double brackets"];
        assert_eq!(wrongs("caller = 1"), no_list);
        assert_eq!(wrongs("caller = [1]"), ["line 1: is no caller; write each as a table, [[caller]]"]);
        assert_eq!(wrongs("[caller]\nname = \"a\""), no_list);
        assert!(
            wrong(&format!("name = \"a\"\nkey_sha256 = \"{}\"", HASH.replace("0a08", "0a0"))).contains("64")
        );
    }
}
