//! The parts of the service that the handlers use.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{auth::Identity, token_thread::TokenThread, views::ViewMaker};
use crate::{
    cache::Cache,
    callers::{Callers, OperatorsKey},
    fetcher::{Credentials, Fetcher},
    hiding::CurrentKeys,
    metrics::Metrics,
    trace::Tracer,
    view::{summary::SummaryLimits, visible::Redaction},
};

/// State that the handlers of both listeners share. Built once, outside the workers; otherwise each worker would build
/// its own.
pub struct AppState {
    /// Identifies callers by their keys or tokens.
    pub callers: Callers,
    /// Verifies the tokens that workers must not verify themselves.
    pub token_thread: TokenThread,
    /// The key that purges require, if there is one.
    pub operators_key: Option<OperatorsKey>,
    /// Serves hits.
    pub cache: Cache,
    /// Serves misses.
    pub fetcher: Fetcher,
    /// The keys that compute the replacements of hidden values.
    pub hiding_keys: CurrentKeys,
    /// Makes the views of snapshots.
    pub views: ViewMaker,
    /// The default limits of summaries. A request can override each of them.
    pub summary_limits: SummaryLimits,
    /// Counts requests.
    pub metrics: Arc<Metrics>,
    /// Whether the log line of a request names the meeting.
    pub log_meeting_ids: bool,
    /// Begins the spans of requests.
    pub tracer: Tracer,
    /// Whether everybody on the network is served: no callers are configured, and the listener is not loopback.
    pub is_open_to_network: bool,
    /// Set when the process begins to stop.
    pub draining: AtomicBool,
}

impl AppState {
    /// Updates the gauges that no other code keeps up to date.
    pub fn update_gauges(&self) {
        let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.metrics.cache_entries.set(gauge(self.cache.entry_count()));
        self.metrics.cache_bytes.set(gauge(self.cache.bytes()));
        self.metrics.credentials_ok.set(i64::from(self.fetcher.credentials() == Credentials::Accepted));
    }

    /// Returns what must be hidden from the sender of a request; `None` if nothing is hidden.
    pub(super) fn redaction(&self, identity: &Identity) -> Option<Redaction> {
        Redaction::new(identity.hidden_fields(), || self.hiding_keys.load())
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
