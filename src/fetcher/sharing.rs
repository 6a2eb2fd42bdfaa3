//! What other replicas do, on the fetcher's thread: the connection that is kept, and events that come over it.

use std::{rc::Rc, sync::Arc, time::Instant};

use tokio::sync::{mpsc, watch};

use super::{core::Core, purge::Purge};
use crate::{
    cache::ends_snapshot,
    cluster::{Shared, SharedConfig, events::Event, health::Standing, keys::Subject, words},
    failure::Failure,
    metrics::Metrics,
    supervisor::Supervisor,
};

/// The handle, and where its events come.
pub(super) struct Sharing {
    shared: Shared,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Sharing {
    pub(super) fn new(config: SharedConfig, metrics: &Arc<Metrics>) -> Self {
        let (tell, events) = mpsc::unbounded_channel();
        Self { shared: Shared::new(config, tell, metrics), events }
    }

    pub(super) fn handle(&self) -> Shared {
        self.shared.clone()
    }

    /// Connects, and goes on for as long as the service runs.
    pub(super) fn begin(self, core: &Rc<Core>, standing: watch::Sender<Standing>, supervisor: &Supervisor) {
        let Self { shared, events } = self;
        let hear = Rc::clone(core).hear(shared.clone(), events);
        drop(actix_rt::spawn(supervisor.watch("the reader of other replicas' events", hear)));
        let show = Rc::clone(core).show_standing(shared.standing(), standing);
        drop(actix_rt::spawn(supervisor.watch("the watch on the connection to Redis", show)));
        drop(actix_rt::spawn(supervisor.watch("the heartbeat to Redis", shared.keep())));
    }
}

impl Core {
    async fn show_standing(self: Rc<Self>, mut from: watch::Receiver<Standing>, to: watch::Sender<Standing>) {
        loop {
            let standing = *from.borrow_and_update();
            self.metrics.redis_up(standing == Standing::Up);
            to.send_replace(standing);
            self.scheduler.wake();
            if from.changed().await.is_err() {
                return;
            }
        }
    }

    async fn hear(self: Rc<Self>, shared: Shared, mut events: mpsc::UnboundedReceiver<Event>) {
        while let Some(event) = events.recv().await {
            self.access_tokens.on_event(&event);
            match event {
                Event::CoolDown { kind, until, words } => {
                    let Some(clock) = shared.clock() else { continue };
                    let now = Instant::now();
                    if let Some(until) = clock.when(until).ok().filter(|until| *until > now) {
                        // In the words of a later version there is no failure to read.
                        let failure = words::read(&words, &clock, now)
                            .unwrap_or_else(|| Failure::new(words::of_cool_down(kind)));
                        let failure = failure.retry_at(until);
                        self.scheduler.apply_cooldown(kind, until, failure.clone());
                        self.flights.pause(until, &failure);
                    }
                }
                Event::Purged { of, .. } => {
                    if let Some(what) = Purge::heard(of.as_deref()) {
                        self.purge(what);
                    }
                }
                Event::Failed { ref of, ref words, .. } => {
                    self.remember_failure_of_another(&shared, of, words);
                    self.followers.hear(event);
                }
                Event::Landed { .. } => self.followers.hear(event),
            }
        }
    }

    /// A caller in a loop reaches every replica: what failed at one of them is not tried by the next one either.
    fn remember_failure_of_another(&self, shared: &Shared, of: &str, words: &str) {
        let (Some(key), Some(clock)) = (Subject::key_of(of), shared.clock()) else { return };
        let now = Instant::now();
        let failure = words::read(words, &clock, now).filter(|failure| !ends_snapshot(failure));
        let Some(failure) = failure else { return };
        if let Some(keep) = self.cache.failure_ttl(key, &failure, now)
            && let Some(until) = failure.retry_at
        {
            // Never for longer than it would be here, whatever the other replica says.
            let until = until.min(now + keep);
            self.cache.insert_failure(key, &failure.retry_at(until), until);
        }
    }
}
