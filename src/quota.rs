//! What may be spent: the only maker of [`Permit`]s, within the second, the UTC day and Zoom's own refusals.
//!
//! It decides and counts; it does not wait. Who waits, and in which order, is the fetcher's affair.

pub mod adaptive_ttl;
pub mod cooldown;
pub mod daily;
pub mod rate;
pub mod usage;

use std::{
    num::NonZeroU32,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use self::{
    adaptive_ttl::{Left, Outlook, Stretch},
    cooldown::Cooldowns,
    daily::Day,
    rate::Second,
};
use crate::{failure::LimitKind, metrics::Metrics, snapshot::RefreshSample};

/// The limits that this process keeps to.
pub struct BudgetConfig {
    /// Zoom calls permitted in any second, headroom already taken off.
    pub per_second: NonZeroU32,
    /// Zoom calls permitted in a UTC day, headroom already taken off.
    pub per_day: u64,
    /// Where the day's count is kept across restarts.
    pub state_file: Option<PathBuf>,
    /// Live snapshots are fresh at most so many times `live_fresh`.
    pub max_stretch: u32,
    /// How long they are when the day's calls are enough.
    pub live_fresh: Duration,
}

/// The right to make one call to Zoom's API. It cannot be copied, and making the call consumes it.
#[must_use = "a permit is counted as a call whether it is used or not"]
pub struct Permit {
    /// In which day it was counted, as days since 1970-01-01, UTC.
    day: u64,
    origin: Origin,
}

/// Who gave a permit, and takes it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This process's own budget.
    Own,
    /// The one of all replicas.
    Pool,
}

/// Why there is no permit yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Our own pace: soon.
    Pace,
    /// Zoom refused a call with a 429 of this kind.
    Cooldown(LimitKind),
    /// The day's calls are spent.
    DaySpent,
}

/// No permit before this time, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotBefore {
    /// The earliest time at which asking again can succeed.
    pub at: Instant,
    /// What stands in the way.
    pub limit: Limit,
}

/// Both clocks, read together: the monotonic one for waiting, the wall for UTC days.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Monotonic.
    pub instant: Instant,
    /// Wall clock.
    pub wall: SystemTime,
}

impl Now {
    /// The time now.
    #[must_use]
    pub fn read() -> Self {
        Self { instant: Instant::now(), wall: SystemTime::now() }
    }

    /// The monotonic time of the next 00:00 UTC.
    #[must_use]
    pub fn midnight(&self) -> Instant {
        self.instant + daily::until_midnight(self.wall)
    }
}

/// The limits and how much of them is used, published for the HTTP workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaStatus {
    /// Zoom calls permitted in any second. How many of them are left is outdated before anybody reads it.
    pub per_second: u32,
    /// Zoom calls permitted in a UTC day.
    pub per_day: u64,
    /// Calls counted since 00:00 UTC.
    pub day_used: u64,
    /// Those of `day_used` that other apps of the account made out of the calls permitted here.
    pub day_taken_by_others: u64,
}

impl QuotaStatus {
    /// Calls left of this UTC day.
    #[must_use]
    pub fn day_left(&self) -> u64 {
        self.per_day.saturating_sub(self.day_used)
    }

    /// Time until 00:00 UTC, when the day's calls are available again.
    #[must_use]
    pub fn day_resets_in(now: SystemTime) -> Duration {
        daily::until_midnight(now)
    }
}

/// Everything that limits calls to Zoom.
pub struct Budget {
    per_second: NonZeroU32,
    second: Second,
    day: Day,
    stretch: Stretch,
    cooldowns: Cooldowns,
    /// Of what is left of the day, 0 to 1.
    part: f64,
    metrics: Arc<Metrics>,
    published: watch::Sender<QuotaStatus>,
}

impl Budget {
    /// A budget that goes on where the state file says the day stood.
    ///
    /// # Errors
    /// When the state file cannot be written.
    pub fn open(config: &BudgetConfig, metrics: &Arc<Metrics>) -> Result<Self, daily::StateFileError> {
        let day = Day::open(
            config.per_day,
            config.per_second.get(),
            config.state_file.as_deref(),
            SystemTime::now(),
        )?;
        let published = watch::Sender::new(QuotaStatus {
            per_second: config.per_second.get(),
            per_day: config.per_day,
            day_used: 0,
            day_taken_by_others: 0,
        });
        let budget = Self {
            per_second: config.per_second,
            second: Second::new(config.per_second),
            day,
            stretch: Stretch::new(config.max_stretch, config.live_fresh),
            cooldowns: Cooldowns::default(),
            part: 1.0,
            metrics: Arc::clone(metrics),
            published,
        };
        metrics.second_calls_limit.set(config.per_second.get().into());
        budget.show_day_at(Now::read());
        Ok(budget)
    }

    /// The limits and how much of them is used.
    #[must_use]
    pub fn status(&self, now: Now) -> QuotaStatus {
        QuotaStatus {
            per_second: self.per_second.get(),
            per_day: self.day.limit(),
            day_used: self.day.used(now.wall),
            day_taken_by_others: self.day.taken_by_others(now.wall),
        }
    }

    /// [`Self::status`] as it changes, for other threads; at most a second old.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<QuotaStatus> {
        self.published.subscribe()
    }

    /// One permit, or when to ask again.
    ///
    /// # Errors
    /// [`NotBefore`], with what stands in the way.
    pub fn permit(&mut self, now: Now) -> Result<Permit, NotBefore> {
        self.closed_until(now).map_or(Ok(()), Err)?;
        self.second.take().map_err(|at| NotBefore { at, limit: Limit::Pace })?;
        let day = self.day.count_one(now.wall);
        self.stretch.count_one(now.instant);
        self.show_day_at(now);
        Ok(Permit { day, origin: Origin::Own })
    }

    /// The permit that the pool of all replicas gave, and counted in this day.
    pub fn pooled(&mut self, day: u64, now: Now) -> Permit {
        self.stretch.count_one(now.instant);
        Permit { day, origin: Origin::Pool }
    }

    /// Takes back a permit that was not used after all. The pace goes on as if it had been. Says whose it was, and in
    /// which day it was counted: who counts for all has to be told.
    pub fn give_back(&mut self, permit: Permit, now: Now) -> (Origin, u64) {
        let (origin, day) = (permit.origin, permit.day);
        drop(permit);
        if origin == Origin::Own {
            self.day.uncount_one(day, now.wall);
        }
        self.stretch.uncount_one(now.instant);
        self.show_day_at(now);
        (origin, day)
    }

    /// From now on this process has a pace of its own only while the pool of all replicas cannot be had.
    pub fn is_one_of_many(&mut self, alone: NonZeroU32) {
        self.second = Second::new(alone);
    }

    /// How the day stands for all replicas, how far this one may go in it, and which part of what is left is its own to
    /// plan with.
    pub fn day_is(&mut self, (date, used, taken): (u64, u64, u64), limit: u64, part: f64) {
        self.day.is(date, used, taken, limit);
        self.part = part;
    }

    /// What this process's refreshes would cost in an hour, unstretched.
    #[must_use]
    pub fn wish(&self, now: Now) -> f64 {
        self.stretch.wish(now.instant)
    }

    /// Until when no call at all may be made, apart from the pace of the second.
    pub fn closed_until(&mut self, now: Now) -> Option<NotBefore> {
        let cooldown = self.cooldowns.active(now.instant);
        for kind in [LimitKind::PerSecond, LimitKind::PerDay] {
            self.metrics.cooldown(kind, self.cooldowns.until(kind).is_some_and(|until| until > now.instant));
        }
        let spent =
            self.day.is_spent(now.wall).then(|| NotBefore { at: now.midnight(), limit: Limit::DaySpent });
        let cooldown = cooldown.map(|(kind, at)| NotBefore { at, limit: Limit::Cooldown(kind) });
        // The later of the two: before that nothing can be had.
        [spent, cooldown].into_iter().flatten().max_by_key(|closed| closed.at)
    }

    /// Zoom said 429: stops all calls until then.
    pub fn cool_down(&mut self, kind: LimitKind, until: Instant) {
        self.cooldowns.extend(kind, until);
        self.metrics.cooldown(kind, true);
    }

    /// When a call is made that has so many before it, none of them before `opens`, at the permitted pace.
    #[must_use]
    pub fn turn(&self, opens: Instant, ahead: usize) -> Instant {
        let others = self.second.period().saturating_mul(u32::try_from(ahead).unwrap_or(u32::MAX));
        opens.max(self.second.next()) + others
    }

    /// Calls counted in this UTC day, and the number permitted.
    #[must_use]
    pub fn day_used(&self, now: Now) -> (u64, u64) {
        (self.day.used(now.wall), self.day.limit())
    }

    /// Zoom says that so many of the day's calls are left to the whole account, in answer to a call made at `called`.
    pub fn account_has_left(&mut self, calls: u64, called: Instant, now: Now) {
        let ago = now.instant.saturating_duration_since(called);
        self.day.account_has_left(calls, now.wall.checked_sub(ago).unwrap_or(now.wall), now.wall);
        self.show_day_at(now);
    }

    /// Of the calls counted in this UTC day those that others made, out of what is permitted here.
    #[must_use]
    pub fn day_taken_by_others(&self, now: Now) -> u64 {
        self.day.taken_by_others(now.wall)
    }

    /// A snapshot was replaced because its freshness was over.
    pub fn refreshed(&mut self, refresh: RefreshSample, now: Now) {
        self.stretch.refreshed(refresh, now.instant);
    }

    /// How many times `live_fresh` a live snapshot of so many pages is to be fresh, so that the day's calls last.
    #[must_use]
    pub fn stretch(&self, pages: u32, now: Now) -> f64 {
        self.stretch.factor(pages, self.left(now), now.instant)
    }

    /// How the day goes on.
    #[must_use]
    pub fn outlook(&self, now: Now) -> Outlook {
        self.stretch.outlook(self.left(now), now.instant)
    }

    fn left(&self, now: Now) -> Left {
        let (used, limit) = self.day_used(now);
        Left { calls: limit.saturating_sub(used), part: self.part, time: daily::until_midnight(now.wall) }
    }

    /// Until when a 429 of this kind stops all calls.
    #[must_use]
    pub fn cooldown_until(&self, kind: LimitKind, now: Instant) -> Option<Instant> {
        self.cooldowns.until(kind).filter(|until| *until > now)
    }

    /// What has to be written to the state file now, if anything; writing is the caller's, off this thread.
    pub fn due_save(&mut self, now: Now, calls_wait: bool) -> Option<daily::Due> {
        self.day.due(now.wall, calls_wait)
    }

    /// This write is on the disk.
    pub fn save_done(&mut self, save: &daily::Save) {
        self.day.save_done(save);
    }

    /// The last write did not succeed.
    pub fn save_failed(&mut self) {
        self.day.save_failed();
    }

    /// Makes the gauges true, also when nobody calls: a day turns and a cool-down ends by themselves.
    pub fn show(&mut self, now: Now) {
        self.closed_until(now);
        self.show_day_at(now);
        let (used, _) = self.day_used(now);
        let outlook = self.outlook(now);
        let used = f64::from(u32::try_from(used).unwrap_or(u32::MAX));
        self.metrics.day_calls_forecast.set((used + outlook.calls_to_come).round());
        self.metrics.live_fresh_stretch.set(outlook.stretch);
    }

    /// The exact count, for the last write before the process ends.
    pub fn final_save(&mut self, now: Now) -> Option<daily::Save> {
        self.day.final_save(now.wall)
    }

    fn show_day_at(&self, now: Now) {
        let status = self.status(now);
        self.metrics.day_calls_used.set(i64::try_from(status.day_used).unwrap_or(i64::MAX));
        self.metrics.day_calls_limit.set(i64::try_from(status.per_day).unwrap_or(i64::MAX));
        self.published.send_replace(status);
    }
}
