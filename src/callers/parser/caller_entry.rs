//! Parses a `[[caller]]` table of the callers' file.

use std::{num::NonZeroU32, ops::RangeInclusive};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{CallerEntry, MAX_KEYS, Parser, WEIGHTS, comparison::CallerIdentity};
use crate::{
    callers::{
        caller::CallerName,
        key::{self, Digest},
        oidc::{SERVICE_ACCOUNT, TokenRule},
    },
    hiding::{FieldGroup, HiddenFields},
    toml_document::{Item, integer},
};

/// The permitted values of `calls_per_minute` and `calls_per_day`.
const LIMITS: RangeInclusive<u32> = 1..=u32::MAX;

const KEYS: [&str; 10] = [
    "name",
    "key_sha256",
    "service_account",
    "subject",
    "group",
    "issuer",
    "weight",
    "calls_per_minute",
    "calls_per_day",
    "hide",
];

impl Parser<'_> {
    /// Returns the parts that are compared with other callers, and the entry if it is valid.
    pub(super) fn caller(
        &mut self,
        line: usize,
        table: &DeTable<'_>,
    ) -> (CallerIdentity, Option<CallerEntry>) {
        let (mut name, mut digests, mut weight) = (None, Vec::new(), Some(1));
        let (mut per_minute, mut per_day, mut hide) = (Some(None), Some(None), Some(HiddenFields::default()));
        for Item { key, line, value, is_broken } in self.document.items(table) {
            match key {
                _ if !KEYS.contains(&key) => {
                    self.report(line, format!("unknown key; a caller has {}", KEYS.join(", ")));
                }
                _ if is_broken => {}
                "name" => name = self.name(line, value),
                "key_sha256" => digests = self.digests(line, value),
                "weight" => weight = self.integer(line, key, value, &WEIGHTS),
                "calls_per_minute" => {
                    per_minute = self.integer(line, key, value, &LIMITS).map(NonZeroU32::new);
                }
                "calls_per_day" => per_day = self.integer(line, key, value, &LIMITS).map(NonZeroU32::new),
                "hide" => hide = self.hide(line, value),
                // `token_rule` parses the remaining keys below.
                _ => {}
            }
        }
        let tokens = self.token_rule(line, table);
        // With a syntax error in the file, a missing key may be on a line that could not be read.
        if self.document.syntax_errors.is_empty() {
            self.report_missing_keys(line, table);
        }
        let keys = digests.iter().copied().flatten().collect();
        let identity = CallerIdentity { line, name: name.clone(), keys, tokens: tokens.clone() };
        let entry = || {
            Some(CallerEntry {
                name: name?,
                key_sha256: digests.into_iter().collect::<Option<_>>()?,
                tokens: tokens?,
                weight: weight?,
                calls_per_minute: per_minute?,
                calls_per_day: per_day?,
                hide: hide?,
            })
        };
        (identity, entry())
    }

    fn report_missing_keys(&mut self, line: usize, table: &DeTable<'_>) {
        if !table.contains_key("name") {
            self.report(line, "this caller has no name; every caller needs one");
        }
        if !["key_sha256", "service_account", "subject", "group"].iter().any(|key| table.contains_key(*key)) {
            self.report(
                line,
                "this caller has no key_sha256, service_account, subject or group; every caller needs one of them",
            );
        }
    }

    fn token_rule(&mut self, line: usize, table: &DeTable<'_>) -> Option<TokenRule> {
        let (mut rule, mut is_valid) = (TokenRule::default(), true);
        for Item { key, line, value, .. } in self.document.items(table).filter(|item| !item.is_broken) {
            let read = match key {
                "service_account" => {
                    self.service_account(line, value).map(|subject| rule.subjects.push(subject))
                }
                "subject" => self.text(line, key, value).map(|subject| rule.subjects.push(subject)),
                "group" => self.text(line, key, value).map(|group| rule.group = Some(group)),
                "issuer" => self.text(line, key, value).map(|issuer| rule.issuer = Some(issuer)),
                _ => Some(()),
            };
            is_valid &= read.is_some();
        }
        if is_valid && rule.is_empty() && rule.issuer.is_some() {
            return self.reject(line, "issuer needs a service_account, subject or group beside it");
        }
        is_valid.then_some(rule)
    }

    /// Returns the subject of the tokens that Kubernetes issues to a service account.
    fn service_account(&mut self, line: usize, value: &DeValue<'_>) -> Option<String> {
        let is_name = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        };
        let parts = value.as_str().and_then(|text| text.split_once('/'));
        match parts.filter(|(namespace, name)| is_name(namespace) && is_name(name)) {
            Some((namespace, name)) => Some(format!("{SERVICE_ACCOUNT}{namespace}:{name}")),
            None => self.reject(line, "service_account must be text of the form namespace/name"),
        }
    }

    fn hide(&mut self, line: usize, value: &DeValue<'_>) -> Option<HiddenFields> {
        let group = |word: &Spanned<DeValue<'_>>| word.get_ref().as_str().and_then(FieldGroup::from_name);
        let hidden =
            value.as_array().and_then(|words| words.iter().map(group).collect::<Option<HiddenFields>>());
        hidden.or_else(|| self.reject(line, format!("hide must be a list of: {}", FieldGroup::names())))
    }

    /// Parses one hash, or a list of hashes. A `None` in the result stands for a reported problem.
    fn digests(&mut self, line: usize, value: &DeValue<'_>) -> Vec<Option<Digest>> {
        let Some(list) = value.as_array() else { return vec![self.digest(line, value)] };
        let document = self.document;
        let digests = list.iter().map(|item| self.digest(document.line(item.span().start), item.get_ref()));
        let mut digests: Vec<_> = digests.collect();
        if !(1..=MAX_KEYS).contains(&list.len()) {
            digests.push(self.reject(line, format!("key_sha256 must have 1 to {MAX_KEYS} hashes")));
        }
        digests
    }

    fn digest(&mut self, line: usize, value: &DeValue<'_>) -> Option<Digest> {
        let text = value.as_str();
        if text.is_some_and(key::is_caller_key) {
            return self.reject(
                line,
                "key_sha256 is the key itself; write its SHA-256 (printf %s KEY | sha256sum) and replace the key: \
                 anyone who can read this file now knows it",
            );
        }
        let digest = text.and_then(key::digest_from_hex);
        if digest.as_ref().is_some_and(key::is_digest_of_blank) {
            return self.reject(
                line,
                "key_sha256 is the hash of an empty or blank text; hash the key itself (printf %s KEY | sha256sum)",
            );
        }
        digest.or_else(|| self.reject(line, "key_sha256 must be text of 64 hexadecimal digits"))
    }

    fn integer(
        &mut self,
        line: usize,
        key: &str,
        value: &DeValue<'_>,
        range: &RangeInclusive<u32>,
    ) -> Option<u32> {
        let number = integer(value).and_then(|number| u32::try_from(number).ok());
        number.filter(|number| range.contains(number)).or_else(|| {
            let (least, most) = (range.start(), range.end());
            self.reject(line, format!("{key} must be a whole number from {least} to {most}, without quotes"))
        })
    }

    pub(super) fn name(&mut self, line: usize, value: &DeValue<'_>) -> Option<CallerName> {
        match value.as_str().map(CallerName::parse) {
            Some(Ok(name)) => Some(name),
            Some(Err(message)) => self.reject(line, format!("name: {message}")),
            None => self.reject(line, "name must be text in quotes"),
        }
    }
}
