//! Tracks whether Zoom can be reached: logs when that changes, and keeps the last failure for `/status`.

use std::{cell::RefCell, sync::Arc, time::Instant};

use super::transport::failure::TransportFailure;
use crate::metrics::Cause;

/// The number of broken responses in a row that causes a WARN. A single one now and then is routine.
const BROKEN_IN_A_ROW: u32 = 2;

/// The last failure of a connection to Zoom, or of a response over it.
#[derive(Debug, Clone)]
pub(crate) struct LastFailure {
    pub(crate) at: Instant,
    pub(crate) host: Arc<str>,
    pub(crate) cause: Cause,
    pub(crate) detail: String,
}

/// Tracks whether one of Zoom's hosts can be reached. Belongs to one thread.
pub(super) struct Reachability {
    host: Arc<str>,
    status: RefCell<HostStatus>,
}

#[derive(Default)]
struct HostStatus {
    /// The cause in the last WARN; `None` before the first one, and after [`Reachability::on_response`].
    logged: Option<Cause>,
    broken_in_a_row: u32,
    last: Option<LastFailure>,
}

impl Reachability {
    pub(super) fn new(host: &str) -> Self {
        Self { host: host.into(), status: RefCell::default() }
    }

    pub(super) fn last_failure(&self) -> Option<LastFailure> {
        self.status.borrow().last.clone()
    }

    /// Records a complete 2xx, or a response with any other status.
    pub(super) fn on_response(&self) {
        let mut status = self.status.borrow_mut();
        status.broken_in_a_row = 0;
        if status.logged.take().is_some() {
            tracing::info!(host = &*self.host, "Zoom can be reached again");
        }
    }

    pub(super) fn on_failure(&self, failure: &TransportFailure) {
        let TransportFailure { cause, detail } = failure;
        let mut status = self.status.borrow_mut();
        status.last = Some(LastFailure {
            at: Instant::now(),
            host: Arc::clone(&self.host),
            cause: *cause,
            detail: detail.clone(),
        });
        match cause {
            Cause::Broken => status.broken_in_a_row += 1,
            _ => status.broken_in_a_row = 0,
        }
        let is_routine = *cause == Cause::Broken && status.broken_in_a_row < BROKEN_IN_A_ROW;
        if !is_routine && status.logged != Some(*cause) {
            status.logged = Some(*cause);
            tracing::warn!(host = &*self.host, cause = cause.as_str(), detail, "Zoom cannot be reached");
        }
    }
}
