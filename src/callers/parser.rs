//! Parses the callers' file. Returns its entries, or the problems that it finds, with their lines. Pure.
//!
//! No message repeats an invalid value or the name of an unknown key, which could be a caller key in the wrong place.

mod caller_entry;
mod comparison;
mod issuer_entry;

use std::{fmt, num::NonZeroU32, ops::RangeInclusive};

use toml::de::{DeTable, DeValue};

use super::{
    caller::CallerName,
    key::Digest,
    oidc::{IssuerEntry, TokenRule},
};
use crate::{
    hiding::HiddenFields,
    toml_document::{Item, TomlDocument},
};

/// The permitted weights of a caller. 1000 is far above any sensible ratio, and small enough that sums of shares
/// cannot overflow.
pub(crate) const WEIGHTS: RangeInclusive<u32> = 1..=1_000;
/// The maximum number of keys of one caller. More keys would suggest that earlier rotations were not finished.
pub(super) const MAX_KEYS: usize = 4;

/// The entries in the order of the file.
#[derive(Clone, PartialEq, Eq, Default)]
pub(super) struct FileEntries {
    pub(super) callers: Vec<CallerEntry>,
    pub(super) issuers: Vec<IssuerEntry>,
}

impl FileEntries {
    /// Returns the issuer whose tokens the rule accepts; `None` if the rule accepts no tokens.
    pub(super) fn issuer_of(&self, rule: &TokenRule) -> Option<&IssuerEntry> {
        let mut issuers = self.issuers.iter().filter(|_| !rule.is_empty());
        issuers.find(|entry| rule.issuer.as_ref().is_none_or(|name| entry.name == *name))
    }

    /// Returns a warning if the name of a caller is probably a key. Such a name is valid, so it is not an error.
    pub(super) fn warning(&self) -> Option<&'static str> {
        let looks_like_key = self.callers.iter().any(|caller| caller.name.looks_like_key());
        looks_like_key.then_some(
            "the name of a caller begins with zqp_, as keys do; if it is a key, replace the key: logs and metrics show names",
        )
    }
}

/// One `[[caller]]`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct CallerEntry {
    pub(super) name: CallerName,
    /// The hashes of its keys: none if it has only tokens, and several while a key is being replaced.
    pub(super) key_sha256: Vec<Digest>,
    /// The signed tokens that also identify the caller.
    pub(super) tokens: TokenRule,
    pub(super) weight: u32,
    pub(super) calls_per_minute: Option<NonZeroU32>,
    pub(super) calls_per_day: Option<NonZeroU32>,
    pub(super) hide: HiddenFields,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issue {
    /// The line, counted from 1; `None` if the problem concerns the entire file.
    pub(crate) line: Option<usize>,
    pub(crate) message: String,
}

impl Issue {
    pub(super) fn whole_file(message: impl Into<String>) -> Vec<Self> {
        vec![Self { line: None, message: message.into() }]
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Returns the entries in the order of the file, possibly none.
pub(super) fn parse(text: &str) -> Result<FileEntries, Vec<Issue>> {
    let document = TomlDocument::parse(text);
    let mut parser = Parser { document: &document, issues: Vec::new() };
    for (line, message) in &document.syntax_errors {
        parser.report(*line, message.clone());
    }
    let (mut callers, mut issuers) = (Vec::new(), Some(Vec::new()));
    for Item { key, line, value, .. } in document.items(document.root()) {
        match key {
            "caller" => callers = parser.tables(line, key, value, Parser::caller).unwrap_or_default(),
            "issuer" => issuers = parser.tables(line, key, value, Parser::issuer),
            _ => parser.report(line, "unknown key; only [[caller]] and [[issuer]] entries are allowed here"),
        }
    }
    let (callers, caller_entries): (Vec<_>, Vec<_>) = callers.into_iter().unzip();
    parser.compare_callers(&callers);
    let all_are_tables = issuers.is_some();
    let (issuers, issuer_entries): (Vec<_>, Vec<_>) = issuers.into_iter().flatten().unzip();
    parser.compare_issuers(&issuers);
    // A caller may refer to an issuer that could not be read. Unknown issuers are reported only if the name of every
    // issuer was read.
    if all_are_tables
        && document.syntax_errors.is_empty()
        && issuers.iter().all(|issuer| issuer.name.is_some())
    {
        parser.report_unknown_issuers(&callers, &issuers);
    }
    let Parser { mut issues, .. } = parser;
    if !issues.is_empty() {
        issues.sort_by_key(|issue| issue.line);
        return Err(issues);
    }
    // Every entry is complete, because no problem was reported.
    Ok(FileEntries {
        callers: caller_entries.into_iter().flatten().collect(),
        issuers: issuer_entries.into_iter().flatten().collect(),
    })
}

struct Parser<'d> {
    document: &'d TomlDocument<'d>,
    issues: Vec<Issue>,
}

impl Parser<'_> {
    fn report(&mut self, line: usize, message: impl Into<String>) {
        self.issues.push(Issue { line: Some(line), message: message.into() });
    }

    /// Reports an invalid value, and returns `None` in its place.
    fn reject<T>(&mut self, line: usize, message: impl Into<String>) -> Option<T> {
        self.report(line, message);
        None
    }

    /// Parses every table of a list. Returns `None` if the value or one of its elements is something else.
    fn tables<T>(
        &mut self,
        line: usize,
        key: &str,
        value: &DeValue<'_>,
        parse: impl Fn(&mut Self, usize, &DeTable<'_>) -> T,
    ) -> Option<Vec<T>> {
        let Some(tables) = value.as_array() else {
            let message =
                format!("{key} must be a list; begin each entry with [[{key}]], in double brackets");
            return self.reject(line, message);
        };
        let document = self.document;
        let entries = tables.iter().map(|table| {
            let line = document.line(table.span().start);
            match table.get_ref() {
                DeValue::Table(table) => Some(parse(self, line, table)),
                _ => self.reject(line, format!("no {key}; write each {key} as a [[{key}]] table")),
            }
        });
        // All elements are parsed, so that every problem is reported.
        entries.collect::<Vec<_>>().into_iter().collect()
    }

    /// Returns a string that is not blank and contains no control characters. Reports any other value.
    fn text(&mut self, line: usize, key: &str, value: &DeValue<'_>) -> Option<String> {
        let text = value.as_str().filter(|text| !text.trim().is_empty() && !text.contains(char::is_control));
        text.map(str::to_owned).or_else(|| self.reject(line, format!("{key} must be text in quotes")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        callers::{key, oidc::KeySource},
        hiding::FieldGroup,
    };

    const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    /// Returns `HASH` with another last digit.
    fn other_hash() -> String {
        HASH.replace("0a08", "0a09")
    }

    fn issues(text: &str) -> Vec<String> {
        parse(text).err().expect("rejected").iter().map(ToString::to_string).collect()
    }

    /// Returns the only problem of an entry with these lines.
    fn only_issue(lines: &str) -> String {
        let mut all = issues(&format!("[[caller]]\n{lines}\n"));
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    #[test]
    fn entries_are_read_with_their_defaults() {
        let text = format!(
            "# ours\n[[caller]]\nname = \"support-tools\"\nkey_sha256 = \"{HASH}\"\n\n[[caller]]\nname = \"bi\"\n\
             key_sha256 = \"{}\"\nweight = 3\ncalls_per_minute = 120\ncalls_per_day = 5000\n\
             hide = [\"device\", \"identity\"]\n",
            other_hash().to_uppercase()
        );
        let entries = parse(&text).ok().unwrap().callers;
        let read: Vec<_> = entries
            .iter()
            .map(|entry| (entry.name.as_str(), entry.weight, entry.calls_per_minute.map(NonZeroU32::get)))
            .collect();
        assert_eq!(read, [("support-tools", 1, None), ("bi", 3, Some(120))]);
        assert_eq!((entries[0].calls_per_day, entries[0].hide), (None, HiddenFields::default()));
        assert_eq!(entries[1].calls_per_day, NonZeroU32::new(5000));
        assert_eq!(entries[1].hide, [FieldGroup::Identity, FieldGroup::Device].into_iter().collect());
        assert_eq!(entries[0].key_sha256[0][..2], [0x9f, 0x86]);
        assert_eq!(entries[1].key_sha256[0][31], 0x09);
        assert!(parse("").ok().unwrap().callers.is_empty());
    }

    #[test]
    fn all_problems_are_reported_together_by_line() {
        let text = format!(
            "[[caller]]\nname = \"a\"\nkey_sha256 = \"{HASH}\"\nweight = 0\n[[caller]]\nname = \"a\"\n\
             key_sha256 = \"{HASH}\"\ncalls_per_minute = 0\n[[caller]]\nname = \"b b\"\nkey_sha256 = \"xy\"\n\
             [[caller]]\nwieght = 1\n[other]\n"
        );
        assert_eq!(
            issues(&text),
            [
                "line 4: weight must be a whole number from 1 to 1000, without quotes",
                "line 5: the name a is already used on line 1; choose another name",
                "line 5: a has the same key as the caller on line 1; issue a new one",
                "line 8: calls_per_minute must be a whole number from 1 to 4294967295, without quotes",
                "line 10: name: must be 1 to 64 characters of A-Za-z0-9._-",
                "line 11: key_sha256 must be text of 64 hexadecimal digits",
                "line 12: this caller has no name; every caller needs one",
                "line 12: this caller has no key_sha256, service_account, subject or group; every caller needs one of them",
                "line 13: unknown key; a caller has name, key_sha256, service_account, subject, group, issuer, weight, calls_per_minute, \
                 calls_per_day, hide",
                "line 14: unknown key; only [[caller]] and [[issuer]] entries are allowed here",
            ]
        );
    }

    #[test]
    fn a_name_and_a_key_belong_to_one_caller() {
        let two = |second: &str, hash: &str| {
            issues(&format!(
                "[[caller]]\nname = \"a\"\nkey_sha256 = \"{HASH}\"\n[[caller]]\nname = \"{second}\"\nkey_sha256 = \"{hash}\"\n"
            ))
        };
        assert_eq!(
            two("a", &other_hash()),
            ["line 4: the name a is already used on line 1; choose another name"]
        );
        let same_key = ["line 4: b has the same key as the caller on line 1; issue a new one"];
        assert_eq!(two("b", HASH), same_key);
        assert_eq!(two("b", &HASH.to_uppercase()), same_key);
    }

    #[test]
    fn a_caller_has_one_to_four_different_keys() {
        let hashes = ["08", "09", "0a", "0b", "0c"]
            .map(|end| format!("\"{}\"", HASH.replace("0a08", &format!("0a{end}"))));
        let entry = |list: &str| format!("[[caller]]\nname = \"a\"\nkey_sha256 = [{list}]\n");
        for count in 1..=4 {
            let entries = parse(&entry(&hashes[..count].join(",\n"))).ok().unwrap().callers;
            assert_eq!(entries[0].key_sha256.len(), count);
        }
        for list in [String::new(), hashes.join(", ")] {
            assert_eq!(issues(&entry(&list)), ["line 3: key_sha256 must have 1 to 4 hashes"]);
        }
        let twice = entry(&format!("{0},\n{0}", hashes[0]));
        assert_eq!(issues(&twice), ["line 1: a has the same key twice; remove one"]);
        let wrong = issues(&entry(&format!("{},\n\"x\",\n1", hashes[0])));
        let message = "key_sha256 must be text of 64 hexadecimal digits";
        assert_eq!(wrong, [format!("line 4: {message}"), format!("line 5: {message}")]);
    }

    #[test]
    fn the_hash_of_a_blank_text_is_rejected() {
        for blank in ["", " ", "\n", "\r\n", "\t", "    ", " \n\t\r"] {
            let hash = hex::encode(key::digest_of(blank.as_bytes()));
            for hash in [hash.to_uppercase(), hash] {
                let message = only_issue(&format!("name = \"a\"\nkey_sha256 = \"{hash}\""));
                assert!(
                    message.starts_with("line 3: key_sha256 is the hash of an empty or blank text"),
                    "{message}"
                );
            }
        }
    }

    #[test]
    fn no_message_repeats_a_possible_key() {
        let secret = "zqp_Zebra0123456789";
        for lines in [
            format!("name = \"a\"\nkey_sha256 = \"{secret}\""),
            format!("name = \"{secret}+\"\nkey_sha256 = \"{HASH}\""),
            format!("name = \"a\"\nkey_sha256 = \"{HASH}\"\nweight = \"{secret}\""),
            format!("name = \"a\"\nkey_sha256 = \"{HASH}\"\nweight = {secret}"),
            format!("name = \"a\"\nkey_sha256 = {secret}"),
        ] {
            let message = only_issue(&lines);
            assert!(!message.contains("Zebra"), "{message}");
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
            let message = issues(&text).join("\n");
            assert!(message.starts_with("line ") && !message.contains("Zebra"), "{message}");
        }
        assert!(
            only_issue(&format!("name = \"a\"\nkey_sha256 = \"{secret}\"")).contains("is the key itself")
        );
        let named = |name: &str| format!("[[caller]]\nname = \"{name}\"\nkey_sha256 = \"{HASH}\"\n");
        let warning = |name: &str| parse(&named(name)).ok().unwrap().warning();
        assert!(warning(secret).is_some_and(|text| !text.contains("Zebra")));
        assert_eq!(warning("a"), None);
    }

    #[test]
    fn a_value_of_the_wrong_type_is_rejected() {
        for (lines, expected) in [
            ("name = 1", "name must be text in quotes"),
            ("name = \"a\"\nname = \"b\"", "invalid TOML"),
            ("name = \"anonymous\"", "choose another name"),
            ("name = \"a\"\ncalls_per_day = 0", "calls_per_day must be a whole number from 1"),
            ("name = \"a\"\nhide = [\"names\"]", "hide must be a list of: identity, address, device"),
            ("name = \"a\"\nhide = \"identity\"", "hide must be a list of"),
            ("name = \"a\"\nhide = [1]", "hide must be a list of"),
        ] {
            let message = only_issue(&format!("{lines}\nkey_sha256 = \"{HASH}\""));
            assert!(message.contains(expected), "{message}");
        }
        for weight in ["1001", "-1", "1.5", "\"1\"", "true", "99999999999999999999999999999999999999999"] {
            let message = only_issue(&format!("name = \"a\"\nkey_sha256 = \"{HASH}\"\nweight = {weight}"));
            assert!(message.contains("weight") || message.contains("invalid TOML"), "{message}");
        }
        let not_a_list =
            ["line 1: caller must be a list; begin each entry with [[caller]], in double brackets"];
        assert_eq!(issues("caller = 1"), not_a_list);
        assert_eq!(issues("caller = [1]"), ["line 1: no caller; write each caller as a [[caller]] table"]);
        assert_eq!(issues("[caller]\nname = \"a\""), not_a_list);
        assert!(
            only_issue(&format!("name = \"a\"\nkey_sha256 = \"{}\"", HASH.replace("0a08", "0a0")))
                .contains("64")
        );
    }

    const ISSUER: &str =
        "[[issuer]]\nname = \"cluster\"\nurl = \"https://issuer.example\"\naudience = \"qos\"\n";

    #[test]
    fn tokens_and_issuers_are_read() {
        let other = "[[issuer]]\nname = \"other\"\nurl = \"http://127.0.0.1:9/x\"\naudience = \"a\"\njwks_file = \"k.json\"\n";
        let text = format!(
            "[[caller]]\nname = \"a\"\nservice_account = \"support/ticket-bot\"\n[[caller]]\nname = \"b\"\nsubject = \"s\"\n\
             group = \"g\"\nissuer = \"other\"\n{ISSUER}{other}"
        );
        let FileEntries { callers, issuers } = parse(&text).ok().unwrap();
        assert_eq!(callers[0].tokens.subjects, ["system:serviceaccount:support:ticket-bot"]);
        assert_eq!(callers[0].tokens.issuer, None);
        assert_eq!(
            (callers[1].tokens.group.as_deref(), callers[1].tokens.issuer.as_deref()),
            (Some("g"), Some("other"))
        );
        assert!(callers[1].key_sha256.is_empty());
        assert!(matches!(issuers[0].keys, KeySource::Url { jwks_url: None, .. }));
        assert!(matches!(issuers[1].keys, KeySource::File(_)));
    }

    #[test]
    fn an_invalid_issuer_or_rule_is_rejected() {
        let caller = "[[caller]]\nname = \"a\"\nsubject = \"s\"\n";
        for (text, expected) in [
            (caller.to_owned(), "line 1: the tokens of a need their [[issuer]]"),
            (format!("{caller}issuer = \"zz\"\n{ISSUER}"), "line 1: the tokens of a need their [[issuer]]"),
            (
                format!("{caller}service_account = \"bot\"\n{ISSUER}"),
                "line 4: service_account must be text of the form",
            ),
            (format!("{caller}group = \"\"\n{ISSUER}"), "line 4: group must be text in quotes"),
            (format!("{ISSUER}{ISSUER}"), "line 5: the name cluster is already used on line 1"),
            (format!("{ISSUER}jwks_file = \"x\"\nca_file = \"y\""), "line 1: jwks_file replaces"),
            (ISSUER.replace("https", "http"), "line 3: url must be an https URL"),
            (ISSUER.replace("https", "ftp"), "line 3: url must be an https URL"),
            (
                ISSUER.replace("audience = \"qos\"", "jwks_url = \"http://10.0.0.1/\""),
                "line 1: this issuer has no audience",
            ),
            (format!("{ISSUER}jwks_url = \"http://10.0.0.1/\""), "line 5: jwks_url must be an https URL"),
            (format!("{ISSUER}jwks = 1"), "line 5: unknown key; an issuer has name, url"),
            (
                format!("[[caller]]\nname = \"a\"\nkey_sha256 = \"{HASH}\"\nissuer = \"cluster\"\n{ISSUER}"),
                "line 1: issuer needs a service_account",
            ),
        ] {
            let messages = issues(&text);
            assert!(messages[0].starts_with(expected), "{expected} in {messages:?}");
        }
    }
}
