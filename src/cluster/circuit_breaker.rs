//! The circuit breaker in front of Redis, and the status that operators see. Pure: the caller passes the time.
//!
//! One failed operation opens the breaker, unless it reads or stores a record. While it is open, only the heartbeat
//! uses Redis, so that no other operation waits for a dead server. The first heartbeat that succeeds closes the
//! breaker. Redis counts as unavailable only after a second without a successful heartbeat. Example: an operation times
//! out at 0 ms and opens the breaker, and a heartbeat at 20 ms succeeds and closes it. The status does not change.

use std::time::{Duration, Instant};

/// Redis counts as unavailable if an operation fails this long after the last successful heartbeat.
const UNAVAILABLE_AFTER: Duration = Duration::from_secs(1);

/// The state of Redis, as operators see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RedisStatus {
    /// This process has just started and has not reached Redis yet.
    #[default]
    Connecting,
    /// Redis is in use.
    Up,
    /// Redis cannot be used, so this process continues on its own.
    Unavailable,
}

pub(crate) struct CircuitBreaker {
    status: RedisStatus,
    /// The time of the last successful heartbeat, or of the start if there was none.
    since: Instant,
    is_open: bool,
}

impl CircuitBreaker {
    /// Returns an open breaker: the first heartbeat that succeeds closes it.
    pub(crate) fn new(now: Instant) -> Self {
        Self { status: RedisStatus::Connecting, since: now, is_open: true }
    }

    pub(crate) fn status(&self) -> RedisStatus {
        self.status
    }

    /// Returns whether operations other than the heartbeat may use Redis.
    pub(crate) fn is_closed(&self) -> bool {
        !self.is_open
    }

    /// Records that a heartbeat succeeded. Returns whether the status changed.
    pub(crate) fn on_success(&mut self, now: Instant) -> bool {
        self.since = now;
        self.is_open = false;
        std::mem::replace(&mut self.status, RedisStatus::Up) != RedisStatus::Up
    }

    /// Records that an operation failed, and opens the breaker. Returns whether the status changed.
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
        assert!(
            !breaker.on_failure(now + UNAVAILABLE_AFTER / 2),
            "a short failure does not change the status"
        );
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
