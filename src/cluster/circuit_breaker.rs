//! The circuit breaker in front of Redis, and the status that operators see. Pure: the caller says what time it is.
//!
//! One failed operation opens the breaker: from then on only the heartbeat asks, so that nothing waits for a dead server. The
//! first heartbeat that succeeds closes it. Only if that takes longer than a second does Redis count as unavailable: a slow
//! reply at 0 ms opens the breaker, and the heartbeat that follows it at 20 ms closes it, without a word in the log.

use std::time::{Duration, Instant};

/// A server that answers again within this time was never unavailable.
const UNAVAILABLE_AFTER: Duration = Duration::from_secs(1);

/// Whether Redis is in use, as operators see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisStatus {
    /// Not reached yet, but not for long either.
    Connecting,
    /// In use.
    Up,
    /// Not usable: this process is on its own.
    Unavailable,
}

pub(crate) struct CircuitBreaker {
    status: RedisStatus,
    /// The last success, or the start.
    since: Instant,
    is_open: bool,
}

impl CircuitBreaker {
    /// Open, until the server has been reached.
    pub(crate) fn new(now: Instant) -> Self {
        Self { status: RedisStatus::Connecting, since: now, is_open: true }
    }

    pub(crate) fn status(&self) -> RedisStatus {
        self.status
    }

    /// Whether anything but the heartbeat may ask.
    pub(crate) fn is_closed(&self) -> bool {
        !self.is_open
    }

    /// A heartbeat succeeded. Returns whether that changes the status.
    pub(crate) fn on_success(&mut self, now: Instant) -> bool {
        self.since = now;
        self.is_open = false;
        std::mem::replace(&mut self.status, RedisStatus::Up) != RedisStatus::Up
    }

    /// An operation failed. Returns whether that changes the status.
    pub(crate) fn on_failure(&mut self, now: Instant) -> bool {
        self.is_open = true;
        let is_over = now.saturating_duration_since(self.since) >= UNAVAILABLE_AFTER;
        is_over && std::mem::replace(&mut self.status, RedisStatus::Unavailable) != RedisStatus::Unavailable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_stops_all_but_the_heartbeat_until_one_succeeds() {
        let now = Instant::now();
        let mut breaker = CircuitBreaker::new(now);
        assert!(!breaker.is_closed());
        assert!(breaker.on_success(now) && breaker.is_closed());
        assert!(!breaker.on_failure(now + UNAVAILABLE_AFTER / 2), "no more than a hiccup");
        assert!(!breaker.is_closed() && breaker.status() == RedisStatus::Up);
        assert!(!breaker.on_success(now + UNAVAILABLE_AFTER / 2) && breaker.is_closed());
    }

    #[test]
    fn a_second_without_a_heartbeat_means_unavailable_reported_once() {
        let now = Instant::now();
        let mut breaker = CircuitBreaker::new(now);
        assert!(!breaker.on_failure(now));
        assert_eq!(breaker.status(), RedisStatus::Connecting);
        assert!(breaker.on_failure(now + UNAVAILABLE_AFTER));
        assert!(!breaker.on_failure(now + 2 * UNAVAILABLE_AFTER));
        assert_eq!(breaker.status(), RedisStatus::Unavailable);
        assert!(breaker.on_success(now + 3 * UNAVAILABLE_AFTER));
        assert!(!breaker.on_success(now + 3 * UNAVAILABLE_AFTER));
        assert_eq!(breaker.status(), RedisStatus::Up);
    }
}
