//! The heartbeat: connects, connects again, tells the server that this replica lives, and hears what it missed.
//!
//! Other replicas take one that was not heard of for 1.5 s for missing; three beats in a second leave room for one that is
//! lost.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::mpsc;

use super::{
    Owed, Shared,
    clock::{Micros, ServerClock},
    events::Event,
    health::Health,
    keys::Subject,
    link::{Connected, Trouble},
};
use crate::metrics::RedisValue;

const BEAT_EVERY: Duration = Duration::from_millis(300);
/// After a failure: between these two, so that replicas do not come back in step.
const AGAIN_AFTER_MS: std::ops::RangeInclusive<u64> = 200..=500;
/// A connection that broke sooner is not made anew at once: the next one may break as soon.
const LIVES_AT_LEAST: Duration = Duration::from_secs(1);
/// As many purges as the server remembers.
pub(super) const PURGES_REMEMBERED: usize = 1_000;

impl Shared {
    /// Runs for as long as the service does.
    pub async fn keep(self) {
        match self.0.pushes.take() {
            // One task: that neither goes on without the other.
            Some(pushes) => drop(join(self.clone().listen(pushes), self.beat_until_gone()).await),
            None => self.beat_until_gone().await,
        }
    }

    async fn beat_until_gone(&self) {
        let mut connected_at: Option<Instant> = None;
        while !self.0.gone.get() {
            let was_connected = self.0.link.is_connected();
            if !was_connected && connected_at.take().is_some_and(|at| at.elapsed() < LIVES_AT_LEAST) {
                pause().await;
            }
            let beaten = self.connect_and_beat().await;
            if beaten.is_ok() && !was_connected {
                connected_at = Some(Instant::now());
            }
            match beaten {
                // Doubt cuts the pause short: the next beat tells.
                Ok(()) => drop(tokio::time::timeout(BEAT_EVERY, self.0.doubt.notified()).await),
                Err(trouble) => {
                    self.said(|health| health.fails(Instant::now()), &trouble);
                    if !matches!(trouble, Trouble::TimedOut) || self.is_away() {
                        self.0.link.hang_up();
                    }
                    // A connection that broke is made anew at once, and a server that is down is not hammered.
                    if !(was_connected && matches!(trouble, Trouble::Broken)) {
                        pause().await;
                    }
                }
            }
        }
    }

    fn is_away(&self) -> bool {
        self.0.health.borrow().standing() != super::Standing::Up
    }

    async fn connect_and_beat(&self) -> Result<(), Trouble> {
        if !self.0.link.is_connected() {
            self.look_where_it_is().await;
            let connected = self.0.link.connect(&self.0.keys).await.map_err(Trouble::Refused)?;
            let Connected { clock, is_server_odd } = connected;
            self.0.rejections.note(RedisValue::Server, u64::from(is_server_odd));
            self.0.clock.set(Some(clock));
            self.0.bulk_timeouts.set(0);
        }
        if self.is_away() {
            self.probe().await?;
        }
        let purge = self.beat().await?;
        self.said(Health::beats_now, &Trouble::Broken);
        self.0.recovered.notify_waiters();
        // In this order: a purge of ours has a later number than those that were missed.
        self.catch_up_with_purges(purge).await;
        // Not waited for: a long list would be taken for a heart that stands still.
        if !self.0.owed.borrow().is_empty() {
            drop(actix_rt::spawn(self.clone().pay_what_is_owed()));
        }
        Ok(())
    }

    /// Passwords change, and servers move. Off this thread, and not for long: a mounted file can hang.
    async fn look_where_it_is(&self) {
        let this = Arc::clone(&self.0.config.address_now);
        let read = actix_rt::task::spawn_blocking(move || this());
        if let Ok(Ok(Some(address))) = tokio::time::timeout(self.0.link.timeout(), read).await {
            self.0.link.moves_to(address);
        }
    }

    async fn pay_what_is_owed(self) {
        let owed = std::mem::take(&mut *self.0.owed.borrow_mut());
        for debt in owed {
            match debt {
                Owed::CoolDown { kind, until, words } => self.cool_down(kind, until, &words).await,
                Owed::Purge(subjects) => {
                    self.purge(&subjects).await;
                    self.purge_here_too(&subjects);
                }
                Owed::Claim(claimed) => self.disown(&claimed).await,
            }
        }
    }

    /// Redis still had what this process had forgotten, and may have been asked for it.
    fn purge_here_too(&self, subjects: &[Subject]) {
        let named = subjects.iter().map(|of| Some(of.as_str().to_owned()));
        let all = subjects.is_empty().then_some(None);
        for of in named.chain(all) {
            self.tell(Event::Purged { of, fence: 0, by: String::new() });
        }
    }

    /// Purges whose event was missed, because there was no connection then.
    async fn catch_up_with_purges(&self, last: u64) {
        let done = self.0.purged.get();
        // A process that starts has nothing cached from before its time.
        let done =
            if done == 0 { self.0.clock.get().map_or(last, |clock| clock.at(self.0.began)) } else { done };
        if last <= done {
            return;
        }
        match self.missed_purges(done).await {
            Err(_) => return,
            Ok(None) => self.tell(Event::Purged { of: None, fence: last, by: String::new() }),
            Ok(Some(missed)) => {
                for (of, fence) in missed {
                    self.tell(Event::Purged { of: (of != "*").then_some(of), fence, by: String::new() });
                }
            }
        }
        self.0.purged.set(last);
    }

    /// What others publish, and the end of the connection that it comes on.
    async fn listen(self, mut pushes: mpsc::UnboundedReceiver<PushInfo>) {
        while let Some(PushInfo { kind, data }) = pushes.recv().await {
            match (kind, data.as_slice()) {
                (PushKind::Disconnection, _) => self.0.doubt.notify_one(),
                (PushKind::Message, [_, Value::BulkString(message)]) => {
                    // What comes before there is a clock is found out in other ways.
                    let Some(clock) = self.0.clock.get() else { continue };
                    let event = Event::parse(message, &clock, Instant::now());
                    // One that is not understood is of another version.
                    if let Ok(Some(event)) = self.0.rejections.noted(RedisValue::Event, event) {
                        self.hear(event);
                    }
                }
                _ => {}
            }
        }
    }

    fn hear(&self, event: Event) {
        match &event {
            Event::CoolDown { kind, until, .. } => {
                self.0.quota_view.borrow_mut().extend_cooldown(*kind, *until);
            }
            Event::Purged { by, .. } if *by == self.0.replica => return,
            Event::Purged { fence, .. } => self.0.purged.set(self.0.purged.get().max(*fence)),
            Event::Landed { .. } | Event::Failed { .. } => {}
        }
        self.tell(event);
    }

    fn tell(&self, event: Event) {
        // Nobody who listens any more: the service stops.
        self.0.events.send(event).ok();
    }

    /// The better estimate of the server's clock.
    pub(super) fn learn_clock(&self, sent: Instant, there: Micros) {
        // A reply whose time is none does not come this far.
        let Ok(heard) = ServerClock::heard(sent, Instant::now(), there) else { return };
        self.0.clock.set(Some(self.0.clock.get().map_or(heard, |known| known.or(heard))));
    }
}

/// After a failure.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(fastrand::u64(AGAIN_AFTER_MS))).await;
}

impl Health {
    fn beats_now(&mut self) -> bool {
        self.beats(Instant::now())
    }
}
