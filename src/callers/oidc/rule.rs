//! Decides which tokens belong to a caller.

use super::token::TokenClaims;

/// The `service_account`, `subject` and `group` of a caller: a token with any of them is the caller's.
#[derive(Clone, PartialEq, Eq, Default)]
pub(in crate::callers) struct TokenRule {
    /// The name of the issuer; `None` for the first one of the file.
    pub(in crate::callers) issuer: Option<String>,
    pub(in crate::callers) subjects: Vec<String>,
    pub(in crate::callers) group: Option<String>,
}

impl TokenRule {
    pub(in crate::callers) fn is_empty(&self) -> bool {
        self.subjects.is_empty() && self.group.is_none()
    }

    /// Returns whether a token with these claims, of the right issuer, is the caller's.
    pub(in crate::callers) fn matches(&self, claims: &TokenClaims) -> bool {
        self.subjects.contains(&claims.sub)
            || self.group.as_ref().is_some_and(|group| claims.groups.contains(group))
    }
}
