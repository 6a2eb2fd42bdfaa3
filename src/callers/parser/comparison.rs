//! Compares the entries of the callers' file with each other. Entries with other problems are also compared, so that
//! all problems of the file are reported together.

use std::collections::HashMap;

use super::Parser;
use crate::callers::{caller::CallerName, key::Digest, oidc::TokenRule};

/// The parts of a `[[caller]]` that are compared; those that could not be read are missing.
pub(super) struct CallerIdentity {
    pub(super) line: usize,
    pub(super) name: Option<CallerName>,
    pub(super) keys: Vec<Digest>,
    pub(super) tokens: Option<TokenRule>,
}

/// The parts of an `[[issuer]]` that are compared.
pub(super) struct IssuerIdentity {
    pub(super) line: usize,
    pub(super) name: Option<String>,
    pub(super) url: Option<String>,
}

impl Parser<'_> {
    /// Reports names and keys that occur more than once. Callers with the same name would share metrics, and a key of
    /// two callers would identify neither.
    pub(super) fn compare_callers(&mut self, callers: &[CallerIdentity]) {
        let (mut names, mut keys) = (HashMap::new(), HashMap::new());
        for (index, CallerIdentity { line, name, keys: digests, .. }) in callers.iter().enumerate() {
            if let Some(name) = name {
                self.compare_name(&mut names, name.as_str(), *line);
            }
            let name = name.as_ref().map_or("this caller", CallerName::as_str);
            for digest in digests {
                let Some((other, first)) = keys.insert(digest, (index, line)) else { continue };
                let message = if other == index {
                    format!("{name} has the same key twice; remove one")
                } else {
                    format!("{name} has the same key as the caller on line {first}; issue a new one")
                };
                self.report(*line, message);
            }
        }
    }

    /// Reports issuers with the same name or the same URL. A token names its issuer by the URL.
    pub(super) fn compare_issuers(&mut self, issuers: &[IssuerIdentity]) {
        let (mut names, mut urls) = (HashMap::new(), HashMap::new());
        for IssuerIdentity { line, name, url } in issuers {
            if let Some(name) = name {
                self.compare_name(&mut names, name, *line);
            }
            let name = name.as_deref().unwrap_or("this issuer");
            if let Some(first) = url.as_ref().and_then(|url| urls.insert(url, line)) {
                self.report(*line, format!("{name} has the same url as the issuer on line {first}"));
            }
        }
    }

    fn compare_name<'n>(&mut self, names: &mut HashMap<&'n str, usize>, name: &'n str, line: usize) {
        if let Some(first) = names.insert(name, line) {
            self.report(
                line,
                format!("the name {name} is already used on line {first}; choose another name"),
            );
        }
    }

    /// Reports callers with tokens of an issuer that the file does not have.
    pub(super) fn report_unknown_issuers(&mut self, callers: &[CallerIdentity], issuers: &[IssuerIdentity]) {
        for CallerIdentity { line, name, tokens, .. } in callers {
            let Some(rule) = tokens.as_ref().filter(|rule| !rule.is_empty()) else { continue };
            let is_known = match &rule.issuer {
                Some(issuer) => issuers.iter().any(|known| known.name.as_ref() == Some(issuer)),
                None => !issuers.is_empty(),
            };
            if !is_known {
                let name = name.as_ref().map_or("this caller", CallerName::as_str);
                self.report(
                    *line,
                    format!("the tokens of {name} need their [[issuer]], which this file does not have"),
                );
            }
        }
    }
}
