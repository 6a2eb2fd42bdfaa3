//! How many calls may be made to Zoom. The only maker of [`Permit`]s.
//!
//! Three limits hold at once: the calls in any second ([`rate`]), the calls in a UTC day ([`daily`]), and the cool-down that Zoom
//! demands with a 429 ([`cooldown`]). A quota decides and counts; it never waits. Which call gets the next permit is decided by
//! the scheduler.
//!
//! [`Quota::sync`] brings a quota up to the present. Commands expect the [`Now`] that it returned; for questions, which change
//! nothing, that of [`Quota::now`] does.

pub mod adaptive_ttl;
mod cooldown;
pub mod daily;
mod local;
mod permit;
mod rate;
mod shared;
pub mod state_file;
mod status;
mod usage;

use std::{rc::Rc, time::Instant};

use tokio::sync::Notify;

use self::{
    adaptive_ttl::Forecast,
    state_file::{PendingSave, SaveJob},
};
pub use self::{
    local::{LocalQuota, QuotaConfig},
    permit::{Denied, Limit, Now, Permit},
    shared::SharedQuota,
    status::QuotaStatus,
};
use crate::{
    failure::{Failure, LimitKind},
    snapshot::RefreshSample,
};

/// The limits of this process's calls.
pub(crate) enum Quota {
    /// The configured limits are this process's own.
    Local(LocalQuota),
    /// All replicas share them over Redis.
    Shared(SharedQuota),
}

impl Quota {
    /// Reads the clocks, and takes over everything that is known by now: a new day, and what other replicas did.
    pub(crate) fn sync(&mut self) -> Now {
        match self {
            Self::Local(local) => {
                let now = Now::read();
                local.sync(now);
                now
            }
            Self::Shared(shared) => shared.sync(),
        }
    }

    /// The present time, for reading: by the clock of the quota, without taking anything over.
    pub(crate) fn now(&self) -> Now {
        match self {
            Self::Local(_) => Now::read(),
            Self::Shared(shared) => shared.now(),
        }
    }

    /// Takes a permit.
    ///
    /// # Errors
    /// When none can be given now: which limit was hit, and when to try again.
    pub(crate) fn try_take(&mut self, now: Now) -> Result<Permit, Denied> {
        match self {
            Self::Local(local) => local.try_take(now),
            Self::Shared(shared) => shared.try_take(now),
        }
    }

    /// When a call gets its permit that has `ahead` of the `waiting` calls before it, if no permit is given before `opens`.
    pub(crate) fn estimate(&self, opens: Instant, ahead: usize, waiting: usize) -> Instant {
        match self {
            Self::Local(local) => local.estimate(opens, ahead),
            Self::Shared(shared) => shared.estimate(opens, ahead, waiting),
        }
    }

    /// Takes back a permit whose call was not made.
    pub(crate) fn release(&mut self, permit: Permit) {
        let now = self.sync();
        match self {
            Self::Local(local) => local.release(permit, now),
            Self::Shared(shared) => shared.release(permit, now),
        }
    }

    /// Zoom reported how many of the day's calls are left to the whole account, in answer to a call made at `called`.
    pub(crate) fn report_remaining(&mut self, calls: u64, called: Instant) {
        match self {
            Self::Local(local) => local.record_remaining(calls, called, Now::read()),
            Self::Shared(shared) => shared.report_remaining(calls, called),
        }
    }

    /// Reports how many calls wait here. Replicas divide their permits by that.
    pub(crate) fn report_demand(&mut self, waiting: usize) {
        let now = self.sync();
        match self {
            Self::Local(_) => {}
            Self::Shared(shared) => shared.report_demand(waiting, now),
        }
    }

    /// Has permits reserved for the calls that wait, where that takes time. `wake` is notified when more are available.
    pub(crate) fn reserve(&mut self, waiting: usize, now: Now, wake: &Rc<Notify>) {
        match self {
            Self::Local(_) => {}
            Self::Shared(shared) => shared.reserve(waiting, now.instant, wake),
        }
    }

    /// Zoom answered a call of ours with a 429: stops all calls until then, those of other replicas too, whose callers get
    /// `failure`.
    pub(crate) fn cool_down(&mut self, kind: LimitKind, until: Instant, failure: &Failure) {
        match self {
            Self::Local(local) => local.cool_down(kind, until),
            Self::Shared(shared) => shared.cool_down(kind, until, failure),
        }
    }

    /// Another replica received the 429.
    pub(crate) fn apply_cooldown(&mut self, kind: LimitKind, until: Instant) {
        self.local_mut().cool_down(kind, until);
    }

    /// Until when no call may be made at all, apart from the rate.
    pub(crate) fn blocked_until(&self, now: Now) -> Option<Denied> {
        self.local().blocked_until(now)
    }

    /// When the cool-down of this kind ends, if it is active.
    pub(crate) fn cooldown_until(&self, kind: LimitKind, now: Now) -> Option<Instant> {
        self.local().cooldown_until(kind, now.instant)
    }

    /// The limits and how much of them is used.
    pub(crate) fn status(&self, now: Now) -> QuotaStatus {
        self.local().status(now)
    }

    /// How the day is expected to go on.
    pub(crate) fn forecast(&self, now: Now) -> Forecast {
        self.local().forecast(now)
    }

    /// How many times `live_fresh` a live snapshot of `pages` pages is to be fresh.
    pub(crate) fn stretch(&self, pages: u32, now: Now) -> f64 {
        self.local().stretch(pages, now)
    }

    /// A snapshot whose freshness ran out was replaced.
    pub(crate) fn record_refresh(&mut self, sample: RefreshSample, now: Now) {
        self.local_mut().record_refresh(sample, now);
    }

    /// Brings the gauges up to date.
    pub(crate) fn update_gauges(&self, now: Now) {
        self.local().update_gauges(now);
    }

    /// Hands out the write to the state file that is due, if one is. The caller does it, on another thread.
    pub(crate) fn next_save(&mut self, now: Now, calls_wait: bool) -> Option<PendingSave> {
        self.local_mut().next_save(now, calls_wait)
    }

    /// Hands out the write of the exact count, for when no more calls will be made.
    pub(crate) fn final_save(&mut self, now: Now) -> Option<SaveJob> {
        self.local_mut().final_save(now)
    }

    /// A write ended.
    pub(crate) fn on_save(&mut self, job: &SaveJob, succeeded: bool) {
        self.local_mut().on_save(job, succeeded);
    }

    fn local(&self) -> &LocalQuota {
        match self {
            Self::Local(local) => local,
            Self::Shared(shared) => &shared.local,
        }
    }

    fn local_mut(&mut self) -> &mut LocalQuota {
        match self {
            Self::Local(local) => local,
            Self::Shared(shared) => &mut shared.local,
        }
    }
}
