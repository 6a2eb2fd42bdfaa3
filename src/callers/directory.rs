//! The list of callers in use, and the ledgers, which are kept when the list is replaced.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;

use super::{
    caller::{Caller, CallerName, SharedLedger},
    key::{self, Digest},
    parser::CallerEntry,
};
use crate::{hiding::HiddenFields, metrics::Metrics};

/// The current callers. They are cheap to clone and can be used from any thread.
#[derive(Clone)]
pub struct Callers {
    directory: Arc<ArcSwap<Directory>>,
    /// The problems of the file, if its current contents are not in use.
    problems: Arc<ArcSwap<Vec<String>>>,
    version: Arc<AtomicU64>,
}

pub(super) struct Directory {
    in_order: Vec<Arc<Caller>>,
    /// The callers by the hashes of their keys; `None` if no callers are configured, and the only one is anonymous.
    by_key: Option<HashMap<Digest, Arc<Caller>, RandomState>>,
}

impl Callers {
    pub(super) fn new(directory: Directory) -> Self {
        Self {
            directory: Arc::new(ArcSwap::from_pointee(directory)),
            problems: Arc::default(),
            version: Arc::default(),
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

    /// Returns all callers in the order of the file.
    pub(crate) fn all(&self) -> Vec<Arc<Caller>> {
        self.directory.load().in_order.clone()
    }

    /// Returns the problems of the callers' file. If there are any, the callers are those of the last valid version.
    pub(crate) fn problems(&self) -> Arc<Vec<String>> {
        self.problems.load_full()
    }
}

impl Directory {
    pub(super) fn anonymous(hide: HiddenFields, metrics: &Metrics) -> Self {
        metrics.init_caller(CallerName::ANONYMOUS);
        Self { in_order: vec![Arc::new(Caller { hide, ..Caller::anonymous() })], by_key: None }
    }
}

/// The number and the ledger of every name that has been in the file. Both are kept when its entry changes.
#[derive(Default)]
pub(super) struct LedgerRegistry {
    ledgers: HashMap<CallerName, (u32, SharedLedger)>,
}

impl LedgerRegistry {
    pub(super) fn directory(&mut self, entries: Vec<CallerEntry>, metrics: &Metrics) -> Directory {
        let (mut in_order, mut by_key) = (Vec::new(), HashMap::default());
        for CallerEntry { name, key_sha256, weight, calls_per_minute, calls_per_day, hide } in entries {
            // 0 is the anonymous caller.
            let next = u32::try_from(self.ledgers.len() + 1).unwrap_or(u32::MAX);
            let new = || (next, SharedLedger::default());
            let (id, ledger) = self.ledgers.entry(name.clone()).or_insert_with(new).clone();
            metrics.init_caller(name.as_str());
            let caller = Arc::new(Caller { id, name, weight, calls_per_minute, calls_per_day, hide, ledger });
            by_key.extend(key_sha256.into_iter().map(|digest| (digest, Arc::clone(&caller))));
            in_order.push(caller);
        }
        Directory { in_order, by_key: Some(by_key) }
    }
}
