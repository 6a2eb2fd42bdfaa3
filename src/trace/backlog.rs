//! How many spans were dropped because more ended than could be sent: the library drops them without a word.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};

/// Spans that ended, and those that were taken to be sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Backlog(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    ended: AtomicU64,
    taken: AtomicU64,
}

impl Backlog {
    /// So many leave the queue.
    pub(super) fn takes(&self, spans: usize) {
        self.0.taken.fetch_add(spans as u64, Ordering::Relaxed);
    }

    /// At least so many were dropped: what is not taken and finds no room in a full queue.
    pub(super) fn dropped(&self) -> u64 {
        let (ended, taken) = (self.0.ended.load(Ordering::Relaxed), self.0.taken.load(Ordering::Relaxed));
        ended.saturating_sub(taken).saturating_sub(super::QUEUE as u64)
    }
}

/// A processor whose spans are counted when they end.
#[derive(Debug)]
pub(super) struct Counted<P> {
    pub(super) inner: P,
    pub(super) backlog: Backlog,
}

impl<P: SpanProcessor> SpanProcessor for Counted<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        self.backlog.0.ended.fetch_add(1, Ordering::Relaxed);
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
