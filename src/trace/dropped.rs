//! Counts the spans that were dropped because the queue was full, which the library does not report.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Compares the number of spans that have ended with the number of spans that left the queue.
#[derive(Debug, Clone)]
pub(super) struct DropCounter {
    /// The number of spans that have ended and were not sent: the spans in the queue, and the dropped spans.
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

    /// Returns a lower bound of the number of dropped spans: the unsent spans minus the size of the queue. Example: if
    /// 10,000 spans have ended and 2,000 were sent, a queue of 4,096 has dropped at least 3,904.
    pub(super) fn dropped(&self) -> u64 {
        self.unsent.load(Ordering::Relaxed).saturating_sub(self.queue_size)
    }
}
