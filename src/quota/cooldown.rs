//! After a 429: until when all calls of that kind stop. Every call of ours is of both kinds, so either stops all.

use std::time::Instant;

use crate::failure::LimitKind;

/// The two cool-downs. A longer one is never shortened by a shorter one that arrives later.
#[derive(Default)]
pub struct Cooldowns {
    per_second: Option<Instant>,
    per_day: Option<Instant>,
}

impl Cooldowns {
    /// No call before `until`, because of this kind.
    pub fn extend(&mut self, kind: LimitKind, until: Instant) {
        let slot = match kind {
            LimitKind::PerSecond => &mut self.per_second,
            LimitKind::PerDay => &mut self.per_day,
        };
        *slot = (*slot).max(Some(until));
    }

    /// When this kind's cool-down ends or ended.
    #[must_use]
    pub fn until(&self, kind: LimitKind) -> Option<Instant> {
        match kind {
            LimitKind::PerSecond => self.per_second,
            LimitKind::PerDay => self.per_day,
        }
    }

    /// The cool-down that ends last, if any is still on.
    #[must_use]
    pub fn active(&self, now: Instant) -> Option<(LimitKind, Instant)> {
        [LimitKind::PerSecond, LimitKind::PerDay]
            .into_iter()
            .filter_map(|kind| Some((kind, self.until(kind)?)))
            .filter(|(_, until)| *until > now)
            .max_by_key(|(_, until)| *until)
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
