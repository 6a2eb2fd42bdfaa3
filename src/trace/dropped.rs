//! Counts the spans that were dropped because the queue was full: the library does not report them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Compares the spans that ended with those that left the queue.
#[derive(Debug, Clone)]
pub(super) struct DropCounter {
    /// Spans that ended and were not sent: those in the queue, and those that were dropped.
    unsent: Arc<AtomicU64>,
    queue_size: u64,
}

impl DropCounter {
    pub(super) fn new(queue_size: usize) -> Self {
        Self { unsent: Arc::default(), queue_size: queue_size as u64 }
    }

    pub(super) fn record_end(&self) {
        self.unsent.fetch_add(1, Ordering::Relaxed);
    }

    /// Records that a batch left the queue.
    pub(super) fn record_sent(&self, spans: usize) {
        self.unsent.fetch_sub(spans as u64, Ordering::Relaxed);
    }

    /// A lower bound of the dropped spans: those that were not sent and do not fit the queue. With 10,000 ended, 2,000 sent
    /// and a queue of 4,096, at least 3,904 were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.unsent.load(Ordering::Relaxed).saturating_sub(self.queue_size)
    }
}
