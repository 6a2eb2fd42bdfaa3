//! The list of callers that is in use, and what outlives it when it is replaced.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;

use super::{
    caller::{Caller, CallerName, SharedLedger},
    key::Digest,
    parser::CallerEntry,
};
use crate::metrics::Metrics;

pub(super) struct CurrentCallers {
    pub(super) directory: ArcSwap<Directory>,
    /// The problems of the file, if its current contents are not in use.
    pub(super) problems: ArcSwap<Vec<String>>,
}

pub(super) enum Directory {
    /// No callers are configured.
    Anonymous(Arc<Caller>),
    Listed {
        in_order: Vec<Arc<Caller>>,
        by_key: HashMap<Digest, Arc<Caller>, RandomState>,
    },
}

impl CurrentCallers {
    pub(super) fn new(directory: Directory) -> Arc<Self> {
        Arc::new(Self { directory: ArcSwap::from_pointee(directory), problems: ArcSwap::default() })
    }
}

impl Directory {
    pub(super) fn all(&self) -> Vec<Arc<Caller>> {
        match self {
            Self::Anonymous(anonymous) => vec![Arc::clone(anonymous)],
            Self::Listed { in_order, .. } => in_order.clone(),
        }
    }
}

/// The number and the ledger of every name that was ever in the file: both outlive changes of the entry.
#[derive(Default)]
pub(super) struct LedgerRegistry {
    ledgers: HashMap<CallerName, (u32, SharedLedger)>,
}

impl LedgerRegistry {
    pub(super) fn directory(&mut self, entries: Vec<CallerEntry>, metrics: &Metrics) -> Directory {
        let listed: Vec<_> = entries
            .into_iter()
            .map(|CallerEntry { name, key_sha256, weight, calls_per_minute }| {
                // 0 is the anonymous caller.
                let next = u32::try_from(self.ledgers.len() + 1).unwrap_or(u32::MAX);
                let new = || (next, SharedLedger::default());
                let (id, ledger) = self.ledgers.entry(name.clone()).or_insert_with(new).clone();
                metrics.init_caller(name.as_str());
                (key_sha256, Arc::new(Caller { id, name, weight, calls_per_minute, ledger }))
            })
            .collect();
        Directory::Listed {
            in_order: listed.iter().map(|(_, caller)| Arc::clone(caller)).collect(),
            by_key: listed.into_iter().collect(),
        }
    }
}
