//! A process on its own: from when on it may call without Redis, and how much. Pure.
//!
//! The others may still have Redis, and spend the whole limit until it has noticed that this process is missing. From
//! then on they leave its share to it (`quota.lua`), and not before may it be used: so the limit is never exceeded at the
//! moment of change, whoever lost Redis. The way back is as careful, on the server's side.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

/// `LEASE` of `quota.lua`: the server takes a replica for missing after that.
const NOTICED_AFTER: Duration = Duration::from_millis(1_500);
/// `HOLD`: a second, as Zoom counts, and some slack.
const SECOND: Duration = Duration::from_millis(1_050);
/// `AHEAD`: what is dealt already.
const DEALT: Duration = Duration::from_millis(500);
/// `SECOND` of `quota.lua`.
pub(super) const SPREAD: Duration = Duration::from_millis(1_040);

/// How this process may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// With permits that Redis gives.
    Together,
    /// Not at all, before this.
    NotBefore(Instant),
    /// Within its own share.
    Alone,
}

/// The part of the limits that is this process's own, where it cannot share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Calls in a second.
    pub per_second: NonZeroU32,
    /// How far apart they are besides that, where there are fewer calls than replicas.
    pub apart: Duration,
}

impl Share {
    /// Of so many calls permitted in a second to all.
    #[must_use]
    pub fn of(permitted: NonZeroU32, replicas: NonZeroU32) -> Self {
        if let Some(per_second) = NonZeroU32::new(permitted.get() / replicas) {
            return Self { per_second, apart: Duration::ZERO };
        }
        let apart = SPREAD.saturating_mul(replicas.get()) / permitted.get();
        Self { per_second: NonZeroU32::MIN, apart }
    }

    /// Of a day of which so many calls are counted already. What is left is divided, and not the whole day.
    #[must_use]
    pub fn of_day(permitted: u64, used: u64, replicas: NonZeroU32) -> u64 {
        permitted.saturating_sub(used) / u64::from(replicas.get())
    }
}

/// When Redis may last have counted on this process.
pub struct Contact {
    /// Until then a request can have had an effect whose end is known: it was answered, or given up.
    counted_on_until: Instant,
    in_flight: u32,
    /// The latest deadline of those in flight.
    in_flight_until: Instant,
    wait: Duration,
    last_call_alone: Option<Instant>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was done.
    Done,
    /// It was refused, and had no effect.
    Refused,
    /// Nobody knows.
    Unknown,
}

impl Contact {
    /// Of a process that starts: whether another one of its name was there a moment ago is not known.
    #[must_use]
    pub fn new(now: Instant, permitted: NonZeroU32, replicas: NonZeroU32) -> Self {
        let dealt = DEALT.max(SPREAD.saturating_mul(replicas.get()) / permitted.get());
        let wait = NOTICED_AFTER + SECOND + dealt;
        Self { counted_on_until: now, in_flight: 0, in_flight_until: now, wait, last_call_alone: None }
    }

    /// A request leaves that the server will heed until `deadline`.
    pub fn asks(&mut self, deadline: Instant) {
        self.in_flight_until =
            if self.in_flight == 0 { deadline } else { self.in_flight_until.max(deadline) };
        self.in_flight += 1;
    }

    /// And it ended.
    pub fn ended(&mut self, how: End, now: Instant, deadline: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let until = match how {
            End::Done => now,
            End::Refused => return,
            End::Unknown => deadline,
        };
        self.counted_on_until = self.counted_on_until.max(until);
    }

    /// A call was made without Redis.
    pub fn called_alone(&mut self, now: Instant) {
        self.last_call_alone = self.last_call_alone.max(Some(now));
    }

    /// How long the share of this process counts as in use yet: a second after its last call, as Zoom counts.
    #[must_use]
    pub fn share_in_use_for(&self, now: Instant) -> Duration {
        let free = self.last_call_alone.map(|last| last + SECOND);
        free.map_or(Duration::ZERO, |free| free.saturating_duration_since(now))
    }

    /// From when on this process may call by itself, if nothing is heard of Redis any more.
    #[must_use]
    pub fn alone_from(&self) -> Instant {
        let in_flight = (self.in_flight > 0).then_some(self.in_flight_until);
        self.counted_on_until.max(in_flight.unwrap_or(self.counted_on_until)) + self.wait
    }

    /// How it may call now. `up`: whether Redis is of use.
    #[must_use]
    pub fn mode(&self, up: bool, now: Instant) -> Mode {
        match self.alone_from() {
            _ if up => Mode::Together,
            from if now < from => Mode::NotBefore(from),
            _ => Mode::Alone,
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
                let share = Share::of(number(permitted), number(replicas));
                if share.apart.is_zero() {
                    assert!(share.per_second.get() * replicas <= permitted);
                } else {
                    let in_a_second = f64::from(replicas) / share.apart.as_secs_f64();
                    assert!(in_a_second <= f64::from(permitted), "{in_a_second} of {permitted}");
                }
                for used in [0, 1, 9_999, 10_000, 12_000] {
                    let all = Share::of_day(10_000, used, number(replicas)) * u64::from(replicas);
                    assert!(used + all <= 10_000 || all == 0);
                }
            }
        }
    }

    #[test]
    fn nobody_calls_alone_before_the_others_can_have_made_room() {
        let now = Instant::now();
        let after = |ms| now + Duration::from_millis(ms);
        let mut contact = Contact::new(now, number(36), number(3));
        contact.asks(after(1_250));
        contact.ended(End::Done, after(1_001), after(1_250));
        contact.asks(after(1_550));
        assert_eq!(contact.alone_from(), after(1_550 + 3_050), "the server may be at it");
        contact.ended(End::Unknown, after(1_550), after(1_550));
        assert_eq!(contact.mode(true, after(1_600)), Mode::Together);
        let from = after(1_550 + 1_500 + 1_050 + 500);
        assert_eq!(contact.mode(false, after(1_600)), Mode::NotBefore(from));
        assert_eq!(contact.mode(false, from), Mode::Alone);
    }

    #[test]
    fn its_share_is_in_use_until_zoom_s_second_is_over() {
        let now = Instant::now();
        let mut contact = Contact::new(now, number(36), number(3));
        assert_eq!(contact.share_in_use_for(now), Duration::ZERO, "it never called alone");
        contact.called_alone(now);
        assert_eq!(contact.share_in_use_for(now + Duration::from_millis(50)), Duration::from_secs(1));
        assert_eq!(contact.share_in_use_for(now + Duration::from_secs(2)), Duration::ZERO);
    }

    #[test]
    fn a_refused_request_does_not_put_it_off() {
        let now = Instant::now();
        let mut contact = Contact::new(now, number(36), number(3));
        let from = contact.alone_from();
        for second in 1..60 {
            let deadline = now + Duration::from_secs(second);
            contact.asks(deadline);
            assert_eq!(contact.alone_from(), deadline + contact.wait, "not while one is under way");
            contact.ended(End::Refused, deadline, deadline);
        }
        assert_eq!(contact.alone_from(), from);
    }
}
