//! The list of callers in use, and the ledgers, which are kept when the list is replaced.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use tokio::sync::Notify;

use super::{
    caller::{Caller, CallerName, SharedLedger},
    key::{self, Digest},
    oidc::{Issuer, IssuerEntry, IssuerStatus, RememberedTokens, SignatureBudget, TokenRule},
    parser::{CallerEntry, FileEntries},
};
use crate::{hiding::HiddenFields, metrics::Metrics};

/// The current callers. They are cheap to clone and can be used from any thread.
#[derive(Clone)]
pub struct Callers {
    pub(super) directory: Arc<ArcSwap<Directory>>,
    /// The problems of the file, if its current contents are not in use.
    problems: Arc<ArcSwap<Vec<String>>>,
    version: Arc<AtomicU64>,
    /// Wakes the watcher when a token needs keys that have not been fetched.
    pub(super) keys_wanted: Arc<Notify>,
    /// Limits how many signatures workers verify.
    pub(super) signatures: Arc<SignatureBudget>,
}

#[derive(Default)]
pub(super) struct Directory {
    in_order: Vec<Arc<Caller>>,
    /// The callers with tokens, in the order of the file.
    pub(super) by_token: Vec<(TokenRule, Arc<Caller>)>,
    pub(super) issuers: Vec<Arc<Issuer>>,
    /// The tokens verified by this directory. A changed file makes a new directory, so tokens are verified again.
    pub(super) remembered: RememberedTokens,
    /// The callers by the hashes of their keys; `None` if no callers are configured, so that every request has the
    /// anonymous caller.
    pub(super) by_key: Option<HashMap<Digest, Arc<Caller>, RandomState>>,
}

impl Callers {
    pub(super) fn new(directory: Directory) -> Self {
        Self {
            directory: Arc::new(ArcSwap::from_pointee(directory)),
            problems: Arc::default(),
            version: Arc::default(),
            keys_wanted: Arc::default(),
            signatures: Arc::default(),
        }
    }

    pub(super) fn replace(&self, directory: Directory) {
        self.directory.store(Arc::new(directory));
        self.version.fetch_add(1, Ordering::Release);
    }

    pub(super) fn set_problems(&self, problems: Vec<String>) {
        self.problems.store(Arc::new(problems));
    }

    pub(crate) fn need_keys(&self) -> bool {
        self.directory.load().by_key.is_some()
    }

    /// Returns the caller with this key. Ignores the key if no callers are configured.
    pub(crate) fn find(&self, key: Option<&[u8]>) -> Option<Arc<Caller>> {
        let directory = self.directory.load();
        match &directory.by_key {
            None => directory.in_order.first().cloned(),
            Some(by_key) => by_key.get(&key::digest_of(key?)).cloned(),
        }
    }

    /// Returns a number that changes after the list of callers has changed.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Completes when a token needs keys that have not been fetched.
    pub(super) async fn keys_wanted(&self) {
        self.keys_wanted.notified().await;
    }

    /// Returns the issuers in the order of the file.
    pub(crate) fn issuers(&self) -> Vec<IssuerStatus> {
        self.directory.load().issuers.iter().map(|issuer| issuer.status()).collect()
    }

    /// Returns all callers in the order of the file.
    pub(crate) fn all(&self) -> Vec<Arc<Caller>> {
        self.directory.load().in_order.clone()
    }

    /// Returns the problems of the callers' file. If there are problems, the callers of the last valid version are
    /// in use.
    pub(crate) fn problems(&self) -> Arc<Vec<String>> {
        self.problems.load_full()
    }
}

impl Directory {
    pub(super) fn anonymous(hide: HiddenFields, metrics: &Metrics) -> Self {
        metrics.init_caller(CallerName::ANONYMOUS);
        Self { in_order: vec![Arc::new(Caller { hide, ..Caller::anonymous() })], ..Self::default() }
    }
}

/// State that survives a change of the file: the number and the ledger of every name that has been in the file, and
/// the keys of issuers whose entries stay the same.
#[derive(Default)]
pub(super) struct CallerRegistry {
    ledgers: HashMap<CallerName, (u32, SharedLedger)>,
    pub(super) issuers: Vec<Arc<Issuer>>,
}

impl CallerRegistry {
    pub(super) fn directory(&mut self, entries: FileEntries, metrics: &Metrics) -> Directory {
        let FileEntries { callers, issuers } = entries;
        self.update_issuers(issuers);
        let mut directory = Directory { by_key: Some(HashMap::default()), ..Directory::default() };
        for entry in callers {
            let CallerEntry { name, key_sha256, tokens, weight, calls_per_minute, calls_per_day, hide } =
                entry;
            // 0 is the id of the anonymous caller.
            let next = u32::try_from(self.ledgers.len() + 1).unwrap_or(u32::MAX);
            let new = || (next, SharedLedger::default());
            let (id, ledger) = self.ledgers.entry(name.clone()).or_insert_with(new).clone();
            metrics.init_caller(name.as_str());
            let caller = Arc::new(Caller { id, name, weight, calls_per_minute, calls_per_day, hide, ledger });
            let keys = key_sha256.into_iter().map(|digest| (digest, Arc::clone(&caller)));
            directory.by_key.get_or_insert_default().extend(keys);
            if !tokens.is_empty() {
                directory.by_token.push((tokens, Arc::clone(&caller)));
            }
            directory.in_order.push(caller);
        }
        directory.issuers.clone_from(&self.issuers);
        directory
    }

    /// Keeps the issuers whose entries did not change, with their keys.
    fn update_issuers(&mut self, entries: Vec<IssuerEntry>) {
        let present = std::mem::take(&mut self.issuers);
        let kept = |entry: &IssuerEntry| present.iter().find(|issuer| issuer.entry == *entry).cloned();
        let issuers = entries
            .into_iter()
            .map(|entry| kept(&entry).unwrap_or_else(|| Arc::new(Issuer::new(entry, Instant::now()))));
        self.issuers = issuers.collect();
    }
}
