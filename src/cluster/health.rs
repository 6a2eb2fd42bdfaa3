//! Whether Redis is of use now: a breaker, and what is said about it. Pure: whoever asks says what time it is.
//!
//! One failed operation opens the breaker: from then on only the heartbeat asks, so that nobody waits for a dead server.
//! The first heartbeat that succeeds closes it. Only when that takes a while Redis counts as away.

use std::time::{Duration, Instant};

/// A server that answers again within this time was never away.
const AWAY_AFTER: Duration = Duration::from_secs(1);

/// What is known of Redis, as operators see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not reached yet, and not missed for long either.
    Connecting,
    /// In use.
    Up,
    /// Not of use: this process is on its own.
    Away,
}

/// The breaker.
pub struct Health {
    standing: Standing,
    /// When it last was of use, or this began.
    since: Instant,
    /// Whether the breaker is open.
    open: bool,
}

impl Health {
    /// Of a server that was not asked yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { standing: Standing::Connecting, since: now, open: true }
    }

    /// What operators see.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Whether anything but the heartbeat may ask.
    #[must_use]
    pub fn lets_through(&self) -> bool {
        !self.open
    }

    /// A heartbeat succeeded. Whether that changes its standing.
    pub fn beats(&mut self, now: Instant) -> bool {
        self.since = now;
        self.open = false;
        std::mem::replace(&mut self.standing, Standing::Up) != Standing::Up
    }

    /// Something failed. Whether that changes its standing.
    pub fn fails(&mut self, now: Instant) -> bool {
        self.open = true;
        let away = now.saturating_duration_since(self.since) >= AWAY_AFTER;
        away && std::mem::replace(&mut self.standing, Standing::Away) != Standing::Away
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_opens_the_circuit_and_a_heartbeat_closes_it() {
        let now = Instant::now();
        let mut health = Health::new(now);
        assert!(!health.lets_through());
        assert!(health.beats(now) && health.lets_through());
        assert!(!health.fails(now + AWAY_AFTER / 2), "no more than a hiccup");
        assert!(!health.lets_through() && health.standing() == Standing::Up);
        assert!(!health.beats(now + AWAY_AFTER / 2) && health.lets_through());
    }

    #[test]
    fn it_is_unavailable_after_a_second_without_heartbeat_and_logged_once() {
        let now = Instant::now();
        let mut health = Health::new(now);
        assert!(!health.fails(now));
        assert_eq!(health.standing(), Standing::Connecting);
        assert!(health.fails(now + AWAY_AFTER));
        assert!(!health.fails(now + 2 * AWAY_AFTER));
        assert_eq!(health.standing(), Standing::Away);
        assert!(health.beats(now + 3 * AWAY_AFTER));
        assert!(!health.beats(now + 3 * AWAY_AFTER));
        assert_eq!(health.standing(), Standing::Up);
    }
}
