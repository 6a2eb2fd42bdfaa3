//! One timer for a connection, moved as seldom as possible.

use std::{future::Future as _, pin::Pin, task::Context, time::Instant};

use tokio::time::{Sleep, sleep_until};

/// Wakes the connection's task. It may be set for an earlier time than is wanted, and finds that out when that comes: setting it
/// anew for every request would cost each of them more.
pub(super) struct Timer(Pin<Box<Sleep>>);

impl Timer {
    pub(super) fn new(first: Instant) -> Self {
        Self(Box::pin(sleep_until(first.into())))
    }

    /// Whether `until` has come. If not, the task is woken then, at the latest.
    pub(super) fn has_come(&mut self, until: Instant, context: &mut Context<'_>) -> bool {
        if self.0.deadline() > until.into() {
            self.0.as_mut().reset(until.into());
        }
        while self.0.as_mut().poll(context).is_ready() {
            if until <= Instant::now() {
                return true;
            }
            self.0.as_mut().reset(until.into());
        }
        false
    }
}
