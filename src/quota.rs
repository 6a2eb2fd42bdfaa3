//! How many calls may be made to Zoom. The only maker of [`Permit`]s.
//!
//! Three limits hold at once: the calls in any second ([`rate`]), the calls in a UTC day ([`daily`]), and the cool-down that Zoom
//! demands with a 429 ([`cooldown`]). A quota decides and counts; it never waits. Which call gets the next permit is decided by
//! the scheduler.
//!
//! The scheduler's methods of the same names say what the methods of a quota do.
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
mod usage;

use std::{rc::Rc, time::Instant};

use tokio::sync::Notify;

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
                local.daily.roll_over(now.wall);
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

    /// Reports how many calls wait here. Replicas divide their permits by that.
    pub(crate) fn report_demand(&mut self, waiting: usize) {
        if let Self::Shared(shared) = self {
            let now = shared.sync();
            shared.report_demand(waiting, now);
        }
    }

    /// Has permits reserved for the calls that wait, where that takes time. `wake` is notified when more are available.
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

    /// The limits of this process; with Redis, they follow the counts of all replicas.
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
