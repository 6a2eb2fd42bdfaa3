//! Tracks the slots that this replica has reserved, and its requests for more. Pure.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::cluster::{
    Unavailable,
    quota_reply::{Slot, SlotReply},
};

/// The minimum interval before the next request after a failure, or after a reply without a slot.
const MIN_RETRY: Duration = Duration::from_millis(30);
/// The maximum interval before the next request after a reply without a slot. The script may reply with a time as late
/// as the end of the day. That can be wrong, for example if the settings of the replicas differ.
const MAX_RETRY: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct ReservedSlots {
    /// The reserved slots, sorted by time.
    slots: VecDeque<Slot>,
    /// The number of requests in flight.
    requested: u64,
    /// The earliest time of the next request.
    retry_at: Option<Instant>,
}

impl ReservedSlots {
    pub(super) fn first(&self) -> Option<Instant> {
        self.slots.front().map(|slot| slot.from)
    }

    pub(super) fn of_day(&self, date: u64) -> u64 {
        self.slots.iter().filter(|slot| slot.day == date).count() as u64
    }

    /// Returns the slot that is due now, or the time at which to try again.
    pub(super) fn take(&mut self, now: Instant) -> Result<Slot, Instant> {
        // A slot whose time has passed stays until `release_surplus` removes it.
        if let Some(slot) = self.slots.pop_front_if(|slot| (slot.from..=slot.until).contains(&now)) {
            return Ok(slot);
        }
        let soon = || self.retry_at.map_or(now + MIN_RETRY, |at| at.max(now));
        Err(self.first().unwrap_or_else(soon))
    }

    /// Removes and returns the slots whose time has passed, and all slots beyond the first `keep` of the others.
    pub(super) fn release_surplus(&mut self, keep: usize, now: Instant) -> Vec<Slot> {
        let late = self.slots.iter().take_while(|slot| slot.until < now).count();
        let mut surplus: Vec<_> = self.slots.drain(..late).collect();
        surplus.extend(self.slots.drain(keep.min(self.slots.len())..));
        surplus
    }

    /// Returns how many slots to request now, and counts them as requested.
    pub(super) fn start_reserving(&mut self, at_most: u64, now: Instant) -> u64 {
        if at_most == 0 || self.retry_at.is_some_and(|at| at > now) {
            return 0;
        }
        self.retry_at = None;
        let more = at_most.saturating_sub(self.slots.len() as u64 + self.requested);
        self.requested += more;
        more
    }

    pub(super) fn on_reserved(&mut self, reserved: Result<SlotReply, Unavailable>, now: Instant) {
        self.requested = self.requested.saturating_sub(1);
        match reserved {
            Ok(SlotReply::Slot(slot)) => {
                let place = self.slots.partition_point(|other| other.from <= slot.from);
                self.slots.insert(place, slot);
            }
            Ok(SlotReply::RetryAt { at, .. }) => {
                let at = at.clamp(now + MIN_RETRY, now + MAX_RETRY);
                self.retry_at = self.retry_at.max(Some(at));
            }
            Err(Unavailable) => self.retry_at = Some(now + MIN_RETRY),
        }
    }
}
