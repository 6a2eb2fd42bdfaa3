//! Counts a connection in the metrics: as open until the meter is dropped, and as refused at most once.

use std::sync::Arc;

use prometheus::IntGauge;

use crate::metrics::{ConnectionRefusal, Metrics};

pub(super) struct ConnectionMeter {
    metrics: Arc<Metrics>,
    open: IntGauge,
    was_refused: bool,
}

impl ConnectionMeter {
    pub(super) fn new(metrics: &Arc<Metrics>, listener: &'static str) -> Self {
        let open = metrics.connections.with_label_values(&[listener]);
        open.inc();
        Self { metrics: Arc::clone(metrics), open, was_refused: false }
    }

    pub(super) fn refused(&mut self, reason: ConnectionRefusal) {
        if !std::mem::replace(&mut self.was_refused, true) {
            self.metrics.connections_refused.with_label_values(&[reason.as_str()]).inc();
        }
    }
}

impl Drop for ConnectionMeter {
    fn drop(&mut self) {
        self.open.dec();
    }
}
