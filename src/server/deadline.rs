//! One timer per connection, reset as rarely as possible.

use std::{
    future::Future as _,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::{Sleep, sleep_until};

/// When a connection is closed.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From the first byte of a head to its last, and from there to the last byte of the request's body.
    pub head: Duration,
    /// Without a request.
    pub idle: Duration,
    /// Without progress in a response.
    pub write: Duration,
}

/// Wakes the connection's task. The timer may be set too early, and is then set again when it fires. That is cheaper than
/// resetting it for every request: with an idle timeout of 75 s it fires once in 75 s, however many requests come.
pub(super) struct Timer(Pin<Box<Sleep>>);

impl Timer {
    pub(super) fn new(first: Instant) -> Self {
        Self(Box::pin(sleep_until(first.into())))
    }

    /// Ready at `until`. The task is woken then, or earlier.
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
