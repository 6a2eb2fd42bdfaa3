//! One connection in the metrics: open from its beginning to its drop, and refused at most once.

use std::sync::Arc;

use prometheus::IntGauge;

use crate::metrics::{ConnectionRefusal, Metrics};

pub(super) struct Meter {
    metrics: Arc<Metrics>,
    open: IntGauge,
    was_refused: bool,
}

impl Meter {
    pub(super) fn new(metrics: &Arc<Metrics>, listener: &'static str) -> Self {
        let open = metrics.connections(listener);
        open.inc();
        Self { metrics: Arc::clone(metrics), open, was_refused: false }
    }

    pub(super) fn refused(&mut self, reason: ConnectionRefusal) {
        if !std::mem::replace(&mut self.was_refused, true) {
            self.metrics.connection_refused(reason);
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.open.dec();
    }
}
