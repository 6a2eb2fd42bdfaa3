//! The callers of the callers' file. A caller is found by the hash of the key in its request, or by a signed token.
//!
//! Looking up a key costs one SHA-256 of a short text and takes no lock, because a changed file replaces the entire list
//! (`arc-swap`).
//!
//! The duration of a lookup may reveal how many bits the hash of a guessed key shares with a caller's hash. That
//! does not help an attacker, because finding a key whose hash has a given prefix is no easier than guessing.

mod add;
mod bearer;
mod caller;
mod directory;
mod edit;
mod file;
mod key;
mod ledger;
mod oidc;
mod operators_key;
mod parser;
mod watcher;

use std::sync::Arc;

pub(crate) use self::{
    add::{Addition, EditError, NewCaller, remove},
    bearer::{LookupPlace, Unidentified},
    caller::{CallAllowance, Caller, CallerName, LedgerEntry},
    oidc::{FetchEnd, TokenError, VerificationCost},
    parser::{Issue, WEIGHTS},
};
pub use self::{
    directory::Callers,
    file::CallersFile,
    operators_key::{OperatorsKey, PurgeKeyHash},
    watcher::FileWatcher,
};
use self::{
    directory::{CallerRegistry, Directory},
    file::ChangeDetector,
};
use crate::{hiding::HiddenFields, metrics::Metrics};

impl Callers {
    /// Returns the callers and, if there is a file, the task that watches it. Without a file, every request is
    /// accepted as the caller `anonymous`, and the fields in `anonymous_hide` are hidden from it.
    pub fn open(
        file: Option<CallersFile>,
        anonymous_hide: HiddenFields,
        metrics: &Arc<Metrics>,
    ) -> (Self, Option<FileWatcher>) {
        metrics.callers_file_ok.set(1);
        let Some(CallersFile { path, contents, entries, fetcher }) = file else {
            return (Self::new(Directory::anonymous(anonymous_hide, metrics)), None);
        };
        let mut registry = CallerRegistry::default();
        let callers = Self::new(registry.directory(entries, metrics));
        let watcher = FileWatcher {
            path,
            detector: ChangeDetector::new(contents),
            registry,
            fetcher,
            callers: callers.clone(),
            metrics: Arc::clone(metrics),
        };
        (callers, Some(watcher))
    }
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, time::Instant};

    use super::{
        oidc::{KeyFetcher, TokenRule},
        parser::{CallerEntry, FileEntries},
        *,
    };

    fn entries(callers: &[(&str, &str, u32)]) -> FileEntries {
        let entry = |(name, key, weight): &(&str, &str, u32)| CallerEntry {
            name: CallerName::parse(name).unwrap(),
            key_sha256: vec![key::digest_of(key.as_bytes())],
            tokens: TokenRule::default(),
            weight: *weight,
            calls_per_minute: None,
            calls_per_day: None,
            hide: HiddenFields::default(),
        };
        FileEntries { callers: callers.iter().map(entry).collect(), issuers: Vec::new() }
    }

    fn open(callers: &[(&str, &str, u32)]) -> (Callers, FileWatcher, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::default());
        let file = CallersFile {
            path: PathBuf::new(),
            contents: Ok(String::new()),
            entries: entries(callers),
            fetcher: KeyFetcher::default(),
        };
        let (callers, watcher) = Callers::open(Some(file), HiddenFields::default(), &metrics);
        (callers, watcher.unwrap(), metrics)
    }

    fn name_of(callers: &Callers, key: &str) -> Option<String> {
        callers.find(Some(key.as_bytes())).map(|caller| caller.name.to_string())
    }

    #[test]
    fn a_caller_is_found_by_its_key() {
        let (callers, ..) = open(&[("a", "key-a", 1), ("b", "key-b", 1), ("c", "key-c", 1)]);
        for name in ["a", "b", "c"] {
            assert_eq!(name_of(&callers, &format!("key-{name}")).as_deref(), Some(name));
        }
        for wrong in ["", "key-", "key-d", "key-aa", "KEY-A", "a"] {
            assert_eq!(name_of(&callers, wrong), None, "{wrong}");
        }
        assert!(callers.find(None).is_none() && callers.need_keys());
    }

    #[test]
    fn without_a_file_every_request_is_anonymous() {
        let (callers, watcher) = Callers::open(None, HiddenFields::default(), &Arc::new(Metrics::default()));
        assert_eq!(name_of(&callers, "anything").as_deref(), Some("anonymous"));
        assert!(callers.find(None).is_some() && !callers.need_keys() && watcher.is_none());
    }

    #[test]
    fn a_removed_caller_comes_back_with_its_id_and_ledger() {
        let (callers, mut watcher, _) = open(&[("a", "1", 1), ("b", "2", 1)]);
        let before = callers.find(Some(b"2")).unwrap();
        before.reserve(Instant::now()).ok().unwrap().record_call(Instant::now());
        watcher.apply(Ok(entries(&[("c", "3", 1)])));
        assert_eq!(name_of(&callers, "2"), None);
        watcher.apply(Ok(entries(&[("b", "4", 5), ("a", "1", 1), ("c", "3", 1)])));
        assert_eq!(name_of(&callers, "2"), None, "its old key");
        let after = callers.find(Some(b"4")).unwrap();
        assert_eq!((after.id, after.weight, after.usage(Instant::now()).today), (before.id, 5, 1));
        let ids: std::collections::HashSet<_> = callers.all().iter().map(|caller| caller.id).collect();
        assert!(ids.len() == 3 && !ids.contains(&0), "{ids:?}");
    }
}
