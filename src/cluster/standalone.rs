//! Decides when a process may call Zoom without Redis, and how often. Pure.
//!
//! The other replicas may still have Redis. They use the entire limit until the server notices that this process is
//! missing. The server then subtracts this process's share from the limit (`quota.lua`), and only after that may this
//! process use its share. The limit is therefore not exceeded during the change. When Redis is back, the server keeps
//! the share subtracted until the last standalone call has left Zoom's second.
//!
//! Example: 36 calls a second are permitted, and there are three replicas. The last request of one replica that can
//! have reached Redis ended at 0 s. At 1.5 s, the server notices that this replica is missing, and deals slots for 24
//! calls a second. Slots that it dealt before, up to 0.5 s ahead, are used by 2.0 s, and those calls leave Zoom's
//! second by 3.05 s. After that, the replica makes 12 calls a second.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

/// `MISSING_AFTER` of `quota.lua`: the time after which the server counts a silent replica as missing.
const NOTICED_AFTER: Duration = Duration::from_millis(1_500);
/// `ZOOM_SECOND` of `quota.lua`: the second over which Zoom counts calls, with some slack.
const ZOOM_SECOND: Duration = Duration::from_millis(1_050);
/// `AHEAD` of `quota.lua`: how far ahead of its time a slot is dealt.
const DEALT_AHEAD: Duration = Duration::from_millis(500);
/// `SECOND` of `quota.lua`: the time over which the calls of a second are spread.
pub(super) const SPREAD: Duration = Duration::from_millis(1_040);

/// Whether and how this process may call Zoom now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// With slots from Redis.
    Shared,
    /// Not before this time.
    Waiting(Instant),
    /// Within its own share, without Redis.
    Standalone,
}

/// This process's share of the limits, which applies while Redis is unavailable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalShare {
    /// The permitted calls in a second.
    pub per_second: NonZeroU32,
    /// The minimum interval between two calls if fewer calls a second are permitted than there are replicas; zero
    /// otherwise.
    pub apart: Duration,
}

impl LocalShare {
    /// Returns one replica's share of `permitted` calls a second. Example: there are 5 replicas. If 36 calls a second
    /// are permitted, each replica may make 7. If 2 are permitted, each replica may make one call every 1.04 s × 5 / 2
    /// = 2.6 s.
    pub fn of(permitted: NonZeroU32, replicas: NonZeroU32) -> Self {
        if let Some(per_second) = NonZeroU32::new(permitted.get() / replicas) {
            return Self { per_second, apart: Duration::ZERO };
        }
        let apart = SPREAD.saturating_mul(replicas.get()) / permitted.get();
        Self { per_second: NonZeroU32::MIN, apart }
    }

    /// Returns one replica's share of the calls that are left today, if `used` of the `permitted` calls are counted.
    pub(crate) fn of_day(permitted: u64, used: u64, replicas: NonZeroU32) -> u64 {
        permitted.saturating_sub(used) / u64::from(replicas.get())
    }
}

/// Tracks until when the server may count this process as present. Until then, the server may deal this process's share
/// to the other replicas, so this process must not call on its own.
pub(crate) struct Presence {
    /// The latest time at which a finished request can have taken effect.
    counted_until: Instant,
    in_flight: u32,
    /// The latest deadline of the requests in flight.
    in_flight_until: Instant,
    wait: Duration,
    last_standalone_call: Option<Instant>,
}

impl Presence {
    /// A process that starts now waits as if it had been present until now, because it may replace a process that has
    /// just ended.
    pub(crate) fn new(now: Instant, permitted: NonZeroU32, replicas: NonZeroU32) -> Self {
        let dealt = DEALT_AHEAD.max(SPREAD.saturating_mul(replicas.get()) / permitted.get());
        let wait = NOTICED_AFTER + ZOOM_SECOND + dealt;
        Self { counted_until: now, in_flight: 0, in_flight_until: now, wait, last_standalone_call: None }
    }

    /// Records that a request is being sent, which the server ignores after `deadline`.
    pub(crate) fn on_request(&mut self, deadline: Instant) {
        self.in_flight_until =
            if self.in_flight == 0 { deadline } else { self.in_flight_until.max(deadline) };
        self.in_flight += 1;
    }

    /// Records the end of a request. `until` is the latest time at which it can have taken effect; `None` if it had no
    /// effect.
    pub(crate) fn on_end(&mut self, until: Option<Instant>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.counted_until = until.map_or(self.counted_until, |until| self.counted_until.max(until));
    }

    pub(crate) fn count_standalone_call(&mut self, now: Instant) {
        self.last_standalone_call = self.last_standalone_call.max(Some(now));
    }

    /// Returns how long this process's share is still in use: until its last standalone call has left Zoom's second.
    pub(crate) fn share_in_use_for(&self, now: Instant) -> Duration {
        let free = self.last_standalone_call.map(|last| last + ZOOM_SECOND);
        free.map_or(Duration::ZERO, |free| free.saturating_duration_since(now))
    }

    /// Returns the earliest time at which this process may call Zoom on its own if Redis stays unreachable.
    pub(crate) fn standalone_from(&self) -> Instant {
        let in_flight = (self.in_flight > 0).then_some(self.in_flight_until);
        self.counted_until.max(in_flight.unwrap_or(self.counted_until)) + self.wait
    }

    pub(crate) fn mode(&self, redis_is_up: bool, now: Instant) -> Mode {
        match self.standalone_from() {
            _ if redis_is_up => Mode::Shared,
            from if now < from => Mode::Waiting(from),
            _ => Mode::Standalone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap()
    }

    #[test]
    fn shares_together_are_never_more_than_the_whole() {
        for permitted in [1, 2, 9, 10, 36, 40, 900] {
            for replicas in [1, 2, 3, 5, 7] {
                let share = LocalShare::of(number(permitted), number(replicas));
                if share.apart.is_zero() {
                    assert!(share.per_second.get() * replicas <= permitted);
                } else {
                    let in_a_second = f64::from(replicas) / share.apart.as_secs_f64();
                    assert!(in_a_second <= f64::from(permitted), "{in_a_second} of {permitted}");
                }
                for used in [0, 1, 9_999, 10_000, 12_000] {
                    let all = LocalShare::of_day(10_000, used, number(replicas)) * u64::from(replicas);
                    assert!(used + all <= 10_000 || all == 0);
                }
            }
        }
    }

    #[test]
    fn standalone_calls_begin_after_the_others_have_made_room() {
        let now = Instant::now();
        let after = |ms| now + Duration::from_millis(ms);
        let mut presence = Presence::new(now, number(36), number(3));
        presence.on_request(after(1_250));
        presence.on_end(Some(after(1_001)));
        presence.on_request(after(1_550));
        assert_eq!(presence.standalone_from(), after(1_550 + 3_050), "the server may be serving the request");
        presence.on_end(Some(after(1_550)));
        assert_eq!(presence.mode(true, after(1_600)), Mode::Shared);
        let from = after(1_550 + 1_500 + 1_050 + 500);
        assert_eq!(presence.mode(false, after(1_600)), Mode::Waiting(from));
        assert_eq!(presence.mode(false, from), Mode::Standalone);
    }

    #[test]
    fn the_share_is_in_use_until_zoom_s_second_is_over() {
        let now = Instant::now();
        let mut presence = Presence::new(now, number(36), number(3));
        assert_eq!(presence.share_in_use_for(now), Duration::ZERO, "no standalone call yet");
        presence.count_standalone_call(now);
        assert_eq!(presence.share_in_use_for(now + Duration::from_millis(50)), Duration::from_secs(1));
        assert_eq!(presence.share_in_use_for(now + Duration::from_secs(2)), Duration::ZERO);
    }

    #[test]
    fn a_rejected_request_does_not_postpone_standalone_calls() {
        let now = Instant::now();
        let mut presence = Presence::new(now, number(36), number(3));
        let from = presence.standalone_from();
        for second in 1..60 {
            let deadline = now + Duration::from_secs(second);
            presence.on_request(deadline);
            assert_eq!(
                presence.standalone_from(),
                deadline + presence.wait,
                "not while a request is in flight"
            );
            presence.on_end(None);
        }
        assert_eq!(presence.standalone_from(), from);
    }
}
