//! The quota of one process: the rate, the day's count, cool-downs, and the adaptive TTL.
//!
//! With Redis, this quota is a part of [`super::shared`]. Its counts then follow those of all replicas. Its rate is
//! this process's share of the limit, which applies while Redis is unavailable.

use std::{
    io,
    num::NonZeroU32,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use super::{
    adaptive_ttl::{AdaptiveTtl, Forecast, Remaining},
    cooldown::Cooldowns,
    daily::{DailyQuota, DayCount, until_midnight},
    fair_day::{DayState, FairDay, Unshared},
    permit::{Denied, Limit, Now, Permit},
    rate::RateLimiter,
    state_file::{PendingSave, SaveJob},
};
use crate::{failure::LimitKind, metrics::Metrics, snapshot::RefreshSample};

const DAY: Duration = Duration::from_secs(86_400);

/// The limits of the calls to Zoom.
pub struct QuotaConfig {
    /// The calls permitted in any second, after the headroom is subtracted.
    pub per_second: NonZeroU32,
    /// The calls permitted in a UTC day, after the headroom is subtracted.
    pub per_day: u64,
    /// The file that keeps the day's count across restarts.
    pub state_file: Option<PathBuf>,
    /// The part of `per_day` that is reserved for the callers of the callers' file, in percent.
    pub reserve_percent: u32,
    /// The maximum factor by which live snapshots stay fresh longer than `live_fresh`.
    pub max_stretch: u32,
    /// How long live snapshots are fresh while the day's calls suffice.
    pub live_fresh: Duration,
}

/// The limits and their use, as a plain value for other threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuotaStatus {
    /// The calls permitted in any second. The number of calls left in a second is not published, because it would be
    /// outdated as soon as it is read.
    pub(crate) per_second: u32,
    pub(crate) per_day: u64,
    pub(crate) day_used: u64,
    /// The calls among `day_used` that other apps of the account made beyond the headroom.
    pub(crate) day_taken_by_others: u64,
}

impl QuotaStatus {
    pub(crate) fn day_left(&self) -> u64 {
        self.per_day.saturating_sub(self.day_used)
    }

    /// Returns the time until 00:00 UTC, when the day's calls are available again.
    pub(crate) fn day_resets_in(now: SystemTime) -> Duration {
        until_midnight(now)
    }
}

/// Everything that limits the calls of one process.
pub struct LocalQuota {
    per_second: NonZeroU32,
    /// The calls permitted in a UTC day; with Redis, for all replicas together.
    per_day: u64,
    pub(super) rate: RateLimiter,
    pub(crate) daily: DailyQuota,
    pub(super) ttl: AdaptiveTtl,
    pub(crate) fair_day: FairDay,
    cooldowns: Cooldowns,
    /// The part of the day's remaining calls that this process may plan for its refreshes, 0 to 1.
    planned_part: f64,
    metrics: Arc<Metrics>,
    published: watch::Sender<QuotaStatus>,
}

impl LocalQuota {
    /// Continues from the day's count in the state file.
    ///
    /// # Errors
    /// The state file cannot be read or written.
    pub fn open(config: &QuotaConfig, metrics: &Arc<Metrics>) -> io::Result<Self> {
        let now = Now::read();
        let (per_second, state_file) = (config.per_second.get(), config.state_file.as_deref());
        let mut daily = DailyQuota::open(config.per_day, per_second, state_file, now.wall)?;
        let mut fair_day = FairDay::new(config.per_day, config.reserve_percent);
        for (name, spent) in daily.take_saved_callers() {
            fair_day.set_spending(daily.date(), &name, spent, Unshared::default());
        }
        metrics.second_calls_limit.set(per_second.into());
        let quota = Self {
            per_second: config.per_second,
            per_day: config.per_day,
            rate: RateLimiter::new(config.per_second),
            published: watch::Sender::new(QuotaStatus::default()),
            daily,
            fair_day,
            ttl: AdaptiveTtl::new(config.max_stretch, config.live_fresh),
            cooldowns: Cooldowns::default(),
            planned_part: 1.0,
            metrics: Arc::clone(metrics),
        };
        quota.publish(now);
        Ok(quota)
    }

    /// Returns a channel with [`Self::status`], for other threads. Its value is at most about a second old.
    pub(crate) fn subscribe(&self) -> watch::Receiver<QuotaStatus> {
        self.published.subscribe()
    }

    /// Sets the day's count of all replicas. `limit` is the count at which this replica must stop, and `planned_part`
    /// is its part of the remaining calls.
    pub(super) fn set_shared_day(&mut self, count: DayCount, limit: u64, planned_part: f64) {
        self.daily.replace_with(count, limit);
        self.planned_part = planned_part;
    }

    /// Begins a new day for the callers' accounts if the date has changed, and returns the state of the day that they
    /// divide. `replicas` replicas spend the day's calls, and `ceiling_replicas` divide each caller's ceiling.
    pub(super) fn sync_fair_day(&mut self, now: Now, (replicas, ceiling_replicas): (u32, u32)) -> DayState {
        let date = self.daily.date();
        self.fair_day.roll_over(date);
        let elapsed = DAY.saturating_sub(until_midnight(now.wall));
        let left = self.per_day.saturating_sub(self.daily.used(now.wall));
        DayState { date, elapsed, left, replicas, ceiling_replicas }
    }

    /// Returns the write to the state file that is due, if any.
    pub(crate) fn next_save(&mut self, now: Now, calls_wait: bool) -> Option<PendingSave> {
        let PendingSave { job, blocks_calls } = self.daily.next_save(now.wall, calls_wait)?;
        Some(PendingSave { job: job.with_callers(&self.fair_day), blocks_calls })
    }

    /// Returns the job that writes the exact counts at the end of the process, after the last call; `None` without a
    /// state file.
    pub(crate) fn final_save(&mut self, now: Now) -> Option<SaveJob> {
        Some(self.daily.final_save(now.wall)?.with_callers(&self.fair_day))
    }

    pub(super) fn try_take(&mut self, now: Now) -> Result<Permit, Denied> {
        self.blocked_until(now).map_or(Ok(()), Err)?;
        let slot = self.rate.try_take().map_err(|retry_at| Denied { retry_at, limit: Limit::Rate })?;
        let day = self.daily.count_call(now.wall);
        self.ttl.count_call(now.instant);
        self.publish(now);
        Ok(Permit::from_rate(slot, day))
    }

    /// Takes back a permit whose call was not made. The slot of the rate that it consumed is lost.
    pub(super) fn release(&mut self, permit: Permit, now: Now) {
        self.daily.uncount_call(permit.day, now.wall);
        drop(permit);
        self.uncount_call(now);
    }

    pub(super) fn uncount_call(&mut self, now: Now) {
        self.ttl.usage.uncount_call(now.instant);
        self.publish(now);
    }

    pub(super) fn estimate(&self, opens: Instant, ahead: usize) -> Instant {
        let others = self.rate.period().saturating_mul(u32::try_from(ahead).unwrap_or(u32::MAX));
        opens.max(self.rate.next_at()) + others
    }

    pub(super) fn record_remaining(&mut self, calls: u64, called: Instant, now: Now) {
        self.daily.record_remaining(calls, now.wall_at(called), now.wall);
        self.publish(now);
    }

    pub(crate) fn cool_down(&mut self, kind: LimitKind, until: Instant) {
        self.cooldowns.extend(kind, until);
        self.metrics.set_cooldown_active(kind, true);
    }

    pub(crate) fn record_refresh(&mut self, sample: RefreshSample, now: Now) {
        self.ttl.record_refresh(sample, now.instant);
    }

    /// Returns the time until which the daily quota or a cool-down blocks all calls, and which of the two it is; `None`
    /// if neither does. Ignores the rate.
    pub(crate) fn blocked_until(&self, now: Now) -> Option<Denied> {
        let denied = |retry_at, limit| Denied { retry_at, limit };
        let spent = self.daily.is_spent(now.wall).then(|| denied(now.midnight(), Limit::DaySpent));
        let cooldown = self.cooldowns.active(now.instant);
        let cooldown = cooldown.map(|(kind, until)| denied(until, Limit::Cooldown(kind)));
        // The block that ends later decides, because no call gets a permit before its end.
        [spent, cooldown].into_iter().flatten().max_by_key(|denied| denied.retry_at)
    }

    pub(crate) fn cooldown_until(&self, kind: LimitKind, now: Now) -> Option<Instant> {
        self.cooldowns.until(kind, now.instant)
    }

    pub(crate) fn status(&self, now: Now) -> QuotaStatus {
        QuotaStatus {
            per_second: self.per_second.get(),
            per_day: self.daily.limit(),
            day_used: self.daily.used(now.wall),
            day_taken_by_others: self.daily.taken_by_others(now.wall),
        }
    }

    pub(crate) fn stretch(&self, pages: u32, now: Now) -> f64 {
        self.ttl.factor(pages, self.remaining(now), now.instant)
    }

    pub(crate) fn forecast(&self, now: Now) -> Forecast {
        self.ttl.forecast(self.remaining(now), now.instant)
    }

    fn remaining(&self, now: Now) -> Remaining {
        let calls = self.status(now).day_left();
        Remaining { calls, part: self.planned_part, time: until_midnight(now.wall) }
    }

    /// Updates the gauges. Call this regularly, because days and cool-downs end even if no call is made.
    pub(crate) fn update_gauges(&self, now: Now) {
        for kind in LimitKind::ALL {
            self.metrics.set_cooldown_active(kind, self.cooldown_until(kind, now).is_some());
        }
        self.publish(now);
        let forecast = self.forecast(now);
        let used = f64::from(u32::try_from(self.daily.used(now.wall)).unwrap_or(u32::MAX));
        self.metrics.day_calls_forecast.set((used + forecast.calls_to_come).round());
        self.metrics.live_fresh_stretch.set(forecast.stretch);
    }

    fn publish(&self, now: Now) {
        let status = self.status(now);
        self.metrics.day_calls_used.set(i64::try_from(status.day_used).unwrap_or(i64::MAX));
        self.metrics.day_calls_limit.set(i64::try_from(status.per_day).unwrap_or(i64::MAX));
        self.published.send_replace(status);
    }
}
