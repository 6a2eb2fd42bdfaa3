//! The slots that this replica holds ahead of their time, and its requests for more. Pure.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::cluster::{
    Unavailable,
    quota_reply::{Reservation, Slot},
};

/// A server that names a time in the past must not be asked in a loop, and one that just failed is left to the heartbeat.
const MIN_RETRY: Duration = Duration::from_millis(30);
/// The script may name a time up to the end of a day, for example where the settings of replicas differ.
const MAX_RETRY: Duration = Duration::from_secs(1);

/// Slots reserved ahead of their time, and the requests for more.
#[derive(Default)]
pub(super) struct Reservations {
    /// In the order of their times.
    slots: VecDeque<Slot>,
    requested: u64,
    /// No request before this.
    retry_at: Option<Instant>,
}

impl Reservations {
    pub(super) fn first(&self) -> Option<Instant> {
        self.slots.front().map(|slot| slot.from)
    }

    pub(super) fn of_day(&self, date: u64) -> u64 {
        self.slots.iter().filter(|slot| slot.day == date).count() as u64
    }

    /// The slot that is due now, or when the next one may be.
    pub(super) fn take(&mut self, now: Instant) -> Result<Slot, Instant> {
        // One that is too late stays until `release_surplus` finds it.
        if let Some(slot) = self.slots.pop_front_if(|slot| (slot.from..=slot.until).contains(&now)) {
            return Ok(slot);
        }
        let soon = || self.retry_at.map_or(now + MIN_RETRY, |at| at.max(now));
        Err(self.first().unwrap_or_else(soon))
    }

    /// Removes the slots that are too late, and those beyond `keep`.
    pub(super) fn release_surplus(&mut self, keep: usize, now: Instant) -> Vec<Slot> {
        let late = self.slots.iter().take_while(|slot| slot.until < now).count();
        let mut surplus: Vec<_> = self.slots.drain(..late).collect();
        surplus.extend(self.slots.drain(keep.min(self.slots.len())..));
        surplus
    }

    /// How many slots to request now. They count as requested.
    pub(super) fn start_reserving(&mut self, at_most: u64, now: Instant) -> u64 {
        if at_most == 0 || self.retry_at.is_some_and(|at| at > now) {
            return 0;
        }
        self.retry_at = None;
        let more = at_most.saturating_sub(self.slots.len() as u64 + self.requested);
        self.requested += more;
        more
    }

    pub(super) fn on_reserved(&mut self, reserved: Result<Reservation, Unavailable>, now: Instant) {
        self.requested = self.requested.saturating_sub(1);
        match reserved {
            Ok(Reservation::Slot(slot)) => {
                let place = self.slots.partition_point(|other| other.from <= slot.from);
                self.slots.insert(place, slot);
            }
            Ok(Reservation::RetryAt { at, .. }) => {
                let at = at.clamp(now + MIN_RETRY, now + MAX_RETRY);
                self.retry_at = self.retry_at.max(Some(at));
            }
            Err(Unavailable) => self.retry_at = Some(now + MIN_RETRY),
        }
    }
}
