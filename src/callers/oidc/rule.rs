//! Decides which tokens belong to a caller.

use std::borrow::Cow;

use super::token::TokenClaims;

/// The beginning of the subjects that Kubernetes gives to service accounts.
pub(in crate::callers) const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// The `service_account`, `subject` and `group` of a caller: a token of the issuer with any of them is the caller's.
#[derive(Clone, PartialEq, Eq, Default)]
pub(in crate::callers) struct TokenRule {
    /// The name of the issuer; `None` for the first issuer of the file.
    pub(in crate::callers) issuer: Option<String>,
    pub(in crate::callers) subjects: Vec<String>,
    pub(in crate::callers) group: Option<String>,
}

impl TokenRule {
    pub(in crate::callers) fn is_empty(&self) -> bool {
        self.subjects.is_empty() && self.group.is_none()
    }

    /// Returns the claims that assign a token to the caller, as keys and values of the callers' file.
    pub(in crate::callers) fn claims(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        let subjects = self.subjects.iter().map(|subject| {
            let account = subject.strip_prefix(SERVICE_ACCOUNT).and_then(|account| account.split_once(':'));
            match account {
                Some((namespace, name)) => ("service_account", format!("{namespace}/{name}").into()),
                None => ("subject", subject.into()),
            }
        });
        subjects.chain(self.group.iter().map(|group| ("group", group.into())))
    }

    /// Returns whether a token with these claims belongs to the caller. The issuer must have been checked.
    pub(in crate::callers) fn matches(&self, claims: &TokenClaims) -> bool {
        self.subjects.contains(&claims.sub)
            || self.group.as_ref().is_some_and(|group| claims.groups.contains(group))
    }
}
