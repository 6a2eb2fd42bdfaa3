//! Parses an `[[issuer]]`.

use std::path::PathBuf;

use toml::de::{DeTable, DeValue};
use url::Url;

use super::{Parser, comparison::IssuerIdentity};
use crate::{
    callers::oidc::{IssuerEntry, KeySource, is_protected},
    toml_document::Item,
};

const KEYS: [&str; 7] = ["name", "url", "audience", "jwks_url", "token_file", "jwks_file", "ca_file"];
const REQUIRED: [&str; 3] = ["name", "url", "audience"];

impl Parser<'_> {
    /// Returns the parts that are compared with other issuers, and the entry if it is valid.
    pub(super) fn issuer(
        &mut self,
        line: usize,
        table: &DeTable<'_>,
    ) -> (IssuerIdentity, Option<IssuerEntry>) {
        let (mut name, mut url, mut audience) = (None, None, None);
        let (mut jwks_url, mut files) = (None, [const { None }; 3]);
        for Item { key, line, value, is_broken } in self.document.items(table) {
            match key {
                _ if !KEYS.contains(&key) => {
                    self.report(line, format!("unknown key; an issuer has {}", KEYS.join(", ")));
                }
                _ if is_broken => {}
                "name" => name = self.name(line, value),
                "url" => url = self.issuer_url(line, key, value),
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
        let is_from_url = jwks_url.is_some() || token_file.is_some() || ca_file.is_some();
        if jwks_file.is_some() && is_from_url {
            self.report(line, "jwks_file replaces jwks_url, token_file and ca_file; remove these");
        }
        let name = name.map(|name| name.to_string());
        let text = url.as_ref().map(|(text, _)| text.clone());
        let identity = IssuerIdentity { line, name: name.clone(), url: text };
        let entry = || {
            let (url, issuer_url) = url?;
            let keys = if let Some(file) = jwks_file {
                KeySource::File(file)
            } else {
                let jwks_url = jwks_url.map(|(_, parsed)| parsed);
                KeySource::Url { jwks_url, issuer_url, token_file, ca_file }
            };
            Some(IssuerEntry { name: name?, url, audience: audience?, keys })
        };
        (identity, entry())
    }

    /// Parses the issuer's own URL, which has neither query nor fragment (OIDC Discovery 1.0, 2). A user or a
    /// password is rejected, because every token would have to repeat it in `iss`.
    fn issuer_url(&mut self, line: usize, key: &str, value: &DeValue<'_>) -> Option<(String, Url)> {
        let (text, url) = self.url(line, key, value)?;
        let has_more = url.query().is_some()
            || url.fragment().is_some()
            || !url.username().is_empty()
            || url.password().is_some();
        if has_more {
            return self.reject(line, format!("{key} must have no user, password, query or fragment"));
        }
        Some((text, url))
    }

    /// Returns the text as it is in the file, and the parsed URL.
    fn url(&mut self, line: usize, key: &str, value: &DeValue<'_>) -> Option<(String, Url)> {
        let text = self.text(line, key, value)?;
        match text.parse() {
            Ok(parsed) if is_protected(&parsed) => Some((text, parsed)),
            _ => self.reject(line, format!("{key} must be an https URL (http only for this machine)")),
        }
    }
}
