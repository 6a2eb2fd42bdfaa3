//! The limits of the calls to Zoom. Only this module makes [`Permit`]s.
//!
//! There are three limits: the calls in any second ([`rate`]), the calls in a UTC day ([`daily`]), and the pause that
//! Zoom demands with a 429 ([`cooldown`]). A quota decides and counts, and never waits. The scheduler decides which
//! call gets the next permit.
//!
//! [`Quota::sync`] updates a quota, and returns the [`Now`] to pass to `try_take` and `reserve`. For reading a quota,
//! [`Quota::now`] is enough.

pub mod adaptive_ttl;
mod cooldown;
pub mod daily;
pub mod fair_day;
mod local;
mod permit;
mod rate;
mod shared;
pub mod state_file;
mod usage;

use std::{rc::Rc, time::Instant};

use tokio::sync::Notify;

use self::fair_day::DayState;
pub use self::{
    local::{LocalQuota, QuotaConfig, QuotaStatus},
    permit::Permit,
};
pub(crate) use self::{
    permit::{Denied, Limit, Now},
    shared::SharedQuota,
};
use crate::failure::{Failure, LimitKind};

pub(crate) enum Quota {
    /// This process has the configured limits for itself.
    Local(LocalQuota),
    /// All replicas share the configured limits over Redis.
    Shared(SharedQuota),
}

impl Quota {
    /// Reads the clocks and updates the quota: begins a new day if it is due and, with Redis, takes over the counts and
    /// cool-downs of all replicas.
    pub(crate) fn sync(&mut self) -> Now {
        match self {
            Self::Local(local) => {
                let now = Now::read();
                local.daily.roll_over(now.wall);
                now
            }
            Self::Shared(shared) => shared.sync(),
        }
    }

    /// Updates the callers' accounts of the day, and returns the state of the day that they divide. With Redis, this
    /// also passes on the changes of the accounts, so that a later request to Redis reports them to the other replicas.
    pub(crate) fn sync_fair_day(&mut self) -> DayState {
        let now = self.sync();
        match self {
            Self::Local(local) => local.sync_fair_day(now, (1, 1)),
            Self::Shared(shared) => shared.sync_fair_day(now),
        }
    }

    /// Returns the calls that other replicas have made for this caller since this was last called, minus those that
    /// they took back.
    pub(crate) fn take_calls_by_others(&mut self, caller: &str) -> i64 {
        match self {
            Self::Local(_) => 0,
            Self::Shared(shared) => shared.take_calls_by_others(caller),
        }
    }

    /// Returns the current time of the quota's clock, without updating the quota.
    pub(crate) fn now(&self) -> Now {
        match self {
            Self::Local(_) => Now::read(),
            Self::Shared(shared) => shared.now(),
        }
    }

    pub(crate) fn try_take(&mut self, now: Now) -> Result<Permit, Denied> {
        match self {
            Self::Local(local) => local.try_take(now),
            Self::Shared(shared) => shared.try_take(now),
        }
    }

    /// Estimates when a call gets its permit if `ahead` of the `waiting` calls are served before it, and no call is
    /// served before `opens`.
    pub(crate) fn estimate(&self, opens: Instant, ahead: usize, waiting: usize) -> Instant {
        match self {
            Self::Local(local) => local.estimate(opens, ahead),
            Self::Shared(shared) => shared.estimate(opens, ahead, waiting),
        }
    }

    pub(crate) fn release(&mut self, permit: Permit) {
        let now = self.sync();
        match self {
            Self::Local(local) => local.release(permit, now),
            Self::Shared(shared) => shared.release(permit, now),
        }
    }

    pub(crate) fn report_remaining(&mut self, calls: u64, called: Instant) {
        match self {
            Self::Local(local) => local.record_remaining(calls, called, Now::read()),
            Self::Shared(shared) => shared.report_remaining(calls, called),
        }
    }

    /// With Redis, reports how many calls wait here, and releases the reserved slots that they cannot use. The replicas
    /// divide the permits in proportion to their waiting calls.
    pub(crate) fn report_demand(&mut self, waiting: usize) {
        if let Self::Shared(shared) = self {
            let now = shared.sync();
            shared.report_demand(waiting, now);
        }
    }

    /// With Redis, starts to reserve slots for the waiting calls, and notifies `wake` when a reservation succeeds or
    /// fails. Without Redis, nothing needs to be reserved.
    pub(crate) fn reserve(&mut self, waiting: usize, now: Now, wake: &Rc<Notify>) {
        if let Self::Shared(shared) = self {
            shared.reserve(waiting, now.instant, wake);
        }
    }

    pub(crate) fn cool_down(&mut self, kind: LimitKind, until: Instant, failure: &Failure) {
        match self {
            Self::Local(local) => local.cool_down(kind, until),
            Self::Shared(shared) => shared.cool_down(kind, until, failure),
        }
    }

    /// Returns the quota of this process. With Redis, it follows the counts of all replicas.
    pub(crate) fn local(&self) -> &LocalQuota {
        match self {
            Self::Local(local) => local,
            Self::Shared(shared) => &shared.local,
        }
    }

    pub(crate) fn local_mut(&mut self) -> &mut LocalQuota {
        match self {
            Self::Local(local) => local,
            Self::Shared(shared) => &mut shared.local,
        }
    }
}
