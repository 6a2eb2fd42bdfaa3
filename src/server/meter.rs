//! Counts a connection for its listener and in the metrics: as open until the meter is dropped, and as refused at
//! most once.

use std::sync::Arc;

use prometheus::IntGauge;

use super::open_connections::OpenConnections;
use crate::metrics::{ConnectionRefusal, Metrics};

pub(super) struct ConnectionMeter {
    metrics: Arc<Metrics>,
    gauge: IntGauge,
    open: OpenConnections,
    was_refused: bool,
}

impl ConnectionMeter {
    pub(super) fn new(metrics: &Arc<Metrics>, listener: &'static str, open: &OpenConnections) -> Self {
        let gauge = metrics.connections.with_label_values(&[listener]);
        gauge.inc();
        open.add();
        Self { metrics: Arc::clone(metrics), gauge, open: open.clone(), was_refused: false }
    }

    pub(super) fn open(&self) -> &OpenConnections {
        &self.open
    }

    pub(super) fn refused(&mut self, reason: ConnectionRefusal) {
        if !std::mem::replace(&mut self.was_refused, true) {
            self.metrics.connections_refused.with_label_values(&[reason.as_str()]).inc();
        }
    }
}

impl Drop for ConnectionMeter {
    fn drop(&mut self) {
        self.gauge.dec();
        self.open.remove();
    }
}
