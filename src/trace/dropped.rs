//! Counts the spans that were dropped because the queue was full: the library does not report them.

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

/// Compares the spans that ended with those that left the queue.
#[derive(Debug, Clone, Default)]
pub(super) struct DropCounter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    ended: AtomicU64,
    sent: AtomicU64,
}

impl DropCounter {
    /// Records that a batch left the queue.
    pub(super) fn record_sent(&self, spans: usize) {
        self.0.sent.fetch_add(spans as u64, Ordering::Relaxed);
    }

    /// A lower bound of the dropped spans: those that ended, were not sent, and do not fit the queue. With 10,000 ended and
    /// 2,000 sent, at most 4,096 are queued, so at least 3,904 were dropped.
    pub(super) fn dropped(&self) -> u64 {
        let (ended, sent) = (self.0.ended.load(Ordering::Relaxed), self.0.sent.load(Ordering::Relaxed));
        ended.saturating_sub(sent).saturating_sub(super::MAX_QUEUE as u64)
    }
}

/// Counts spans when they end, and passes them on.
#[derive(Debug)]
pub(super) struct CountingProcessor<P> {
    pub(super) inner: P,
    pub(super) drops: DropCounter,
}

impl<P: SpanProcessor> SpanProcessor for CountingProcessor<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        self.drops.0.ended.fetch_add(1, Ordering::Relaxed);
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
