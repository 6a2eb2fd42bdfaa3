//! Cool-downs: after a 429 of either kind, all calls pause, because every call counts towards both limits.

use std::time::Instant;

use crate::failure::LimitKind;

/// The ends of the two cool-downs, by [`LimitKind`]. An end never moves to an earlier time.
#[derive(Default)]
pub(super) struct Cooldowns([Option<Instant>; LimitKind::ALL.len()]);

impl Cooldowns {
    pub(super) fn extend(&mut self, kind: LimitKind, until: Instant) {
        if let Some(end) = self.0.get_mut(kind as usize) {
            *end = (*end).max(Some(until));
        }
    }

    /// Returns the end of the cool-down of this kind, if it is active.
    pub(super) fn until(&self, kind: LimitKind, now: Instant) -> Option<Instant> {
        self.0.get(kind as usize).copied().flatten().filter(|end| *end > now)
    }

    /// Returns the active cool-down that ends last.
    pub(super) fn active(&self, now: Instant) -> Option<(LimitKind, Instant)> {
        let kinds = LimitKind::ALL.into_iter();
        kinds.filter_map(|kind| Some((kind, self.until(kind, now)?))).max_by_key(|(_, until)| *until)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_longest_cool_down_holds_and_then_ends() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        let mut cooldowns = Cooldowns::default();
        assert_eq!(cooldowns.active(now), None);
        cooldowns.extend(LimitKind::PerSecond, after(5));
        cooldowns.extend(LimitKind::PerSecond, after(2));
        assert_eq!(cooldowns.active(now), Some((LimitKind::PerSecond, after(5))));
        cooldowns.extend(LimitKind::PerDay, after(60));
        assert_eq!(cooldowns.active(now), Some((LimitKind::PerDay, after(60))));
        assert_eq!(cooldowns.active(after(60)), None);
    }
}
