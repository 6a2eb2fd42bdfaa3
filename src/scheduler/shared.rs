//! Permits of the budget that all replicas have in common, drawn ahead of their time; and those of this process's own share
//! while Redis is away. Without Redis all of it is the budget's own affair.

use std::{
    cell::RefCell,
    collections::VecDeque,
    time::{Duration, Instant, SystemTime},
};

use super::Permits;
use crate::{
    cluster::{
        Away, Shared,
        quota_view::{Draw, Slot},
        standalone::Mode,
        words,
    },
    failure::{Failure, LimitKind},
    quota::{Budget, Limit, NotBefore, Now, Origin, Permit},
};

/// The heartbeat tells by itself whether it goes on; this is for whoever waits meanwhile.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(30);
/// A refusal that no cool-down and no spent day explains is one by settings that differ.
const ASK_AGAIN_AT_LEAST_EVERY: Duration = Duration::from_secs(1);
/// The same cool-down, heard of in two ways.
const SAME: Duration = Duration::from_millis(50);

/// The part in the budget of all.
pub(super) struct Together {
    shared: Shared,
    /// Reserved, in the order of their times.
    slots: VecDeque<Slot>,
    /// Requests for one under way.
    drawing: u64,
    ask_again: Option<Instant>,
    /// On its own: in which day, and up to which count of it this process may go.
    ceiling: Option<(u64, u64)>,
    /// Where there are fewer calls than replicas: the next alone.
    next_alone: Option<Instant>,
}

impl Together {
    pub(super) fn new(shared: Shared, budget: &mut Budget) -> RefCell<Self> {
        budget.is_one_of_many(shared.share().per_second);
        RefCell::new(Self {
            shared,
            slots: VecDeque::new(),
            drawing: 0,
            ask_again: None,
            ceiling: None,
            next_alone: None,
        })
    }

    /// The time by the server's clock, to which the budget is brought: the day and the cool-downs of all.
    fn catch_up(&mut self, budget: &mut Budget) -> Now {
        let instant = Instant::now();
        let wall = self.shared.clock().map_or_else(SystemTime::now, |clock| clock.wall(instant));
        let now = Now { instant, wall };
        for kind in [LimitKind::PerSecond, LimitKind::PerDay] {
            if let Some(until) = self.shared.cooled_until(kind)
                && budget.cooldown_until(kind, instant).is_none_or(|known| until > known + SAME)
            {
                budget.cool_down(kind, until);
            }
        }
        let (date, used, taken) = self.shared.day(instant);
        if self.shared.mode(instant) == Mode::Together {
            // Those reserved are counted already, and can still be used.
            let reserved = self.slots.iter().filter(|slot| slot.day == date).count() as u64;
            self.ceiling = None;
            let part = part(budget.wish(now), self.shared.replicas().1);
            budget.day_is((date, used.saturating_sub(reserved), taken), self.shared.per_day(), part);
        } else {
            let ceiling = self.ceiling.filter(|(day, _)| *day == date);
            let (_, limit) = *self.ceiling.insert(ceiling.unwrap_or((date, self.shared.day_alone(used))));
            budget.day_is((date, used, taken), limit, 1.0);
        }
        now
    }

    fn take(&mut self, budget: &mut Budget, now: Now) -> Result<Permit, NotBefore> {
        let pace = |at| NotBefore { at, limit: Limit::Pace };
        match self.shared.mode(now.instant) {
            Mode::Together => {
                budget.closed_until(now).map_or(Ok(()), Err)?;
                let soon = now.instant + ASK_AGAIN_AFTER;
                match self.slots.front().copied() {
                    Some(Slot { from, until, day }) if (from..=until).contains(&now.instant) => {
                        self.slots.pop_front();
                        Ok(budget.pooled(day, now))
                    }
                    // Not yet; or too late, as the next look finds.
                    Some(Slot { from, .. }) => Err(pace(from)),
                    None => Err(pace(self.ask_again.map_or(soon, |at| at.max(now.instant)))),
                }
            }
            Mode::NotBefore(at) => Err(pace(at)),
            Mode::Alone => {
                if let Some(at) = self.next_alone.filter(|at| *at > now.instant) {
                    return Err(pace(at));
                }
                let permit = budget.permit(now)?;
                self.shared.called_alone(now.instant);
                self.next_alone = Some(now.instant + self.shared.share().apart);
                Ok(permit)
            }
        }
    }

    fn turn(&self, budget: &Budget, opens: Instant, ahead: usize, waiting: usize) -> Instant {
        let now = Instant::now();
        match self.shared.mode(now) {
            Mode::Together => {
                let first = self.slots.front().map_or(now, |slot| slot.from.max(now));
                opens.max(first) + self.shared.turn(ahead as u64, waiting as u64)
            }
            mode => {
                let from = if let Mode::NotBefore(at) = mode { at } else { now };
                let times = u32::try_from(ahead).unwrap_or(u32::MAX);
                budget.turn(opens.max(from), ahead) + self.shared.share().apart.saturating_mul(times)
            }
        }
    }

    /// Slots that nobody here will use: too many, too late, or at a time when no call may be made.
    fn take_useless(&mut self, waiting: usize, closed: bool, now: Instant) -> Vec<Slot> {
        let keep = if closed || self.shared.mode(now) != Mode::Together { 0 } else { waiting };
        let late = self.slots.iter().take_while(|slot| slot.until < now).count();
        let mut useless: Vec<_> = self.slots.drain(..late).collect();
        useless.extend(self.slots.drain(keep.min(self.slots.len())..));
        useless
    }

    /// How many to draw now, so that those who wait have theirs in time; they count as being drawn.
    fn begins_to_draw(&mut self, waiting: usize, now: Instant) -> u64 {
        let may_ask = self.shared.mode(now) == Mode::Together && self.ask_again.is_none_or(|at| at <= now);
        if !may_ask || waiting == 0 {
            return 0;
        }
        self.ask_again = None;
        let have = self.slots.len() as u64 + self.drawing;
        let more = self.shared.may_reserve(waiting as u64).min(waiting as u64).saturating_sub(have);
        self.drawing += more;
        more
    }

    fn drawn(&mut self, drawn: Result<Draw, Away>, now: Instant) {
        self.drawing = self.drawing.saturating_sub(1);
        match drawn {
            Ok(Draw::Slot(slot)) => {
                let place = self.slots.partition_point(|other| other.from <= slot.from);
                self.slots.insert(place, slot);
            }
            Ok(Draw::NotBefore { at, .. }) => {
                // A server may say again and again that it is time.
                let at = at.clamp(now + ASK_AGAIN_AFTER, now + ASK_AGAIN_AT_LEAST_EVERY);
                self.ask_again = Some(self.ask_again.map_or(at, |known| known.max(at)));
            }
            Err(Away) => self.ask_again = Some(now + ASK_AGAIN_AFTER),
        }
    }
}

/// Which part of what is left of the day is for the refreshes here, of all replicas' refreshes.
fn part(own: f64, all: u64) -> f64 {
    let all = f64::from(u32::try_from(all).unwrap_or(u32::MAX)).max(own);
    if own > 0.0 { own / all } else { 1.0 }
}

impl Permits {
    /// The time, by which everything is known that other replicas said until then.
    pub(super) fn now(&self, budget: &mut Budget) -> Now {
        match &self.0.together {
            Some(together) => together.borrow_mut().catch_up(budget),
            None => Now::read(),
        }
    }

    pub(super) fn take(&self, budget: &mut Budget, now: Now) -> Result<Permit, NotBefore> {
        match &self.0.together {
            Some(together) => together.borrow_mut().take(budget, now),
            None => budget.permit(now),
        }
    }

    /// When a call is made that has so many of the `waiting` before it, none of them before `opens`.
    pub(super) fn turn(&self, budget: &Budget, opens: Instant, ahead: usize, waiting: usize) -> Instant {
        match &self.0.together {
            Some(together) => together.borrow().turn(budget, opens, ahead, waiting),
            None => budget.turn(opens, ahead),
        }
    }

    /// Tells the others what waits here, and gives back what is no longer needed.
    pub(super) fn agree(&self) {
        let Some(together) = &self.0.together else { return };
        let waiting = self.0.queue.borrow().len();
        let mut budget = self.0.budget.borrow_mut();
        let now = self.now(&mut budget);
        let closed = [LimitKind::PerSecond, LimitKind::PerDay]
            .into_iter()
            .any(|kind| budget.cooldown_until(kind, now.instant).is_some());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "calls an hour, which no one counts to the last"
        )]
        let wish = budget.wish(now) as u64;
        let mut together = together.borrow_mut();
        together.shared.has_waiting(waiting as u64, wish);
        let useless = together.take_useless(waiting, closed, now.instant);
        let shared = together.shared.clone();
        drop((together, budget));
        if !useless.is_empty() {
            drop(actix_rt::spawn(async move {
                for slot in useless {
                    shared.give_back(slot.day).await;
                }
            }));
        }
    }

    /// Has slots drawn for those who wait.
    pub(super) fn draw(&self, waiting: usize, now: Instant) {
        let Some(together) = &self.0.together else { return };
        let mut together = together.borrow_mut();
        for _ in 0..together.begins_to_draw(waiting, now) {
            let (this, shared) = (self.clone(), together.shared.clone());
            drop(actix_rt::spawn(async move {
                let drawn = shared.permit().await;
                if let Some(together) = &this.0.together {
                    together.borrow_mut().drawn(drawn, Instant::now());
                }
                this.look_again();
            }));
        }
    }

    /// Takes back a permit that was not used after all.
    pub fn give_back(&self, permit: Permit) {
        let mut budget = self.0.budget.borrow_mut();
        let now = self.now(&mut budget);
        let (origin, day) = budget.give_back(permit, now);
        let Some(shared) = self.shared() else { return };
        match origin {
            Origin::Own => shared.did_not_call_alone(),
            Origin::Pool => drop(actix_rt::spawn(async move { shared.give_back(day).await })),
        }
    }

    /// Zoom says that so many of the day's calls are left to the whole account, in answer to a call made at `called`.
    pub fn account_has_left(&self, calls: u64, called: Instant) {
        if let Some(shared) = self.shared() {
            drop(actix_rt::spawn(async move { shared.account_has_left(calls, called).await }));
        } else {
            self.0.budget.borrow_mut().account_has_left(calls, called, Now::read());
        }
    }

    /// Zoom said 429: stops all calls until then, those of other replicas too. `failure` is what those are told who cannot
    /// wait so long.
    pub fn cool_down(&self, kind: LimitKind, until: Instant, failure: Failure) {
        if let Some(shared) = self.shared() {
            let words = shared.clock().and_then(|clock| words::write(&failure, &clock)).unwrap_or_default();
            drop(actix_rt::spawn(async move { shared.cool_down(kind, until, &words).await }));
        }
        self.cools_down(kind, until, failure);
    }

    /// The service stops: what this process did is told, and its share is the others' at once.
    pub async fn leave(&self) {
        if let Some(shared) = self.shared() {
            shared.leave().await;
        }
    }

    fn shared(&self) -> Option<Shared> {
        self.0.together.as_ref().map(|together| together.borrow().shared.clone())
    }
}
