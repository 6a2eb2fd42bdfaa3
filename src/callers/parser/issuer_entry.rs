//! Parses an `[[issuer]]`.

use std::path::PathBuf;

use toml::de::{DeTable, DeValue};
use url::Url;

use super::Parser;
use crate::{
    callers::oidc::{IssuerEntry, KeySource, is_protected},
    toml_document::Item,
};

const KEYS: [&str; 7] = ["name", "url", "audience", "jwks_url", "token_file", "jwks_file", "ca_file"];
const REQUIRED: [&str; 3] = ["name", "url", "audience"];

impl Parser<'_> {
    pub(super) fn issuer(&mut self, line: usize, table: &DeTable<'_>) -> Option<IssuerEntry> {
        let (mut name, mut url, mut audience) = (None, None, None);
        let (mut jwks_url, mut files) = (None, [const { None }; 3]);
        for Item { key, line, value, is_broken } in self.document.items(table) {
            match key {
                _ if !KEYS.contains(&key) => {
                    self.report(line, format!("unknown key; an issuer has {}", KEYS.join(", ")));
                }
                _ if is_broken => {}
                "name" => name = self.name(line, value),
                "url" => url = self.url(line, key, value),
                "audience" => audience = self.text(line, key, value),
                "jwks_url" => jwks_url = self.url(line, key, value),
                "jwks_file" => files[0] = self.text(line, key, value).map(PathBuf::from),
                "token_file" => files[1] = self.text(line, key, value).map(PathBuf::from),
                _ => files[2] = self.text(line, key, value).map(PathBuf::from),
            }
        }
        if self.document.syntax_errors.is_empty() {
            for required in REQUIRED.iter().filter(|key| !table.contains_key(**key)) {
                self.report(line, format!("this issuer has no {required}; every issuer needs one"));
            }
        }
        let [jwks_file, token_file, ca_file] = files;
        let (url, issuer_url) = url?;
        let keys = match (jwks_file, jwks_url, &token_file, &ca_file) {
            (Some(file), None, None, None) => KeySource::File(file),
            (Some(_), ..) => {
                return self
                    .reject(line, "jwks_file replaces jwks_url, token_file and ca_file; remove these");
            }
            (None, jwks_url, ..) => {
                let jwks_url = jwks_url.map(|(_, parsed)| parsed);
                KeySource::Url { jwks_url, issuer_url, token_file, ca_file }
            }
        };
        Some(IssuerEntry { name: name?.to_string(), url, audience: audience?, keys })
    }

    /// Returns the text, which a token's `iss` must equal letter for letter, and the parsed URL.
    fn url(&mut self, line: usize, key: &str, value: &DeValue<'_>) -> Option<(String, Url)> {
        let text = self.text(line, key, value)?;
        match text.parse() {
            Ok(parsed) if is_protected(&parsed) => Some((text, parsed)),
            _ => self.reject(line, format!("{key} must be an https URL (http only for this machine)")),
        }
    }
}
