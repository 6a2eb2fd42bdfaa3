//! The timer of a connection, which is reset as rarely as possible.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::{Sleep, sleep_until};

/// The timeouts of a connection, after which it is closed.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// The maximum time from the first byte of a head to its last, and from there to the last byte of the request's body.
    pub head: Duration,
    /// The maximum time without a request.
    pub idle: Duration,
    /// The maximum time without progress of a response.
    pub write: Duration,
}

/// Wakes the connection's task. The timer may fire too early, and is then set again. That is cheaper than resetting
/// it for every request: with an idle timeout of 75 s, a busy connection's timer fires about once in 75 s.
pub(super) struct Timer(Pin<Box<Sleep>>);

impl Timer {
    pub(super) fn new(first: Instant) -> Self {
        Self(Box::pin(sleep_until(first.into())))
    }

    /// Returns `Ready` once `until` is reached. Wakes the task at that time or earlier.
    pub(super) fn poll_until(&mut self, until: Instant, context: &mut Context<'_>) -> Poll<()> {
        if self.0.deadline() > until.into() {
            self.0.as_mut().reset(until.into());
        }
        while self.0.as_mut().poll(context).is_ready() {
            if until <= Instant::now() {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(until.into());
        }
        Poll::Pending
    }
}
