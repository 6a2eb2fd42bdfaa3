//! The heartbeat: connects and reconnects, tells the server that this replica lives, and catches up on what it missed.
//!
//! The other replicas stop counting on one that sent no heartbeat for 1.5 s. At one every 300 ms, several may be lost.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::mpsc;

use super::{
    Cluster, OutboxItem,
    circuit_breaker::RedisStatus,
    clock::{Micros, ServerClock},
    connection::{Connected, OpError},
    events::Event,
    keys::RecordKey,
};
use crate::metrics::RedisValue;

const HEARTBEAT_EVERY: Duration = Duration::from_millis(300);
/// The pause after a failure; random, so that replicas do not reconnect in step.
const RETRY_AFTER_MS: std::ops::RangeInclusive<u64> = 200..=500;
/// After a connection that broke sooner than this, a pause comes before the next one: it may break as soon.
const LIVES_AT_LEAST: Duration = Duration::from_secs(1);
/// As many purges as the server remembers.
pub(super) const PURGES_REMEMBERED: usize = 1_000;

impl Cluster {
    /// Runs for as long as the service does.
    pub async fn run_heartbeat(self) {
        match self.0.pushes.take() {
            // One task, so that neither goes on without the other.
            Some(pushes) => drop(join(self.clone().listen(pushes), self.send_until_left()).await),
            None => self.send_until_left().await,
        }
    }

    async fn send_until_left(&self) {
        let mut connected_at: Option<Instant> = None;
        while !self.0.has_left.get() {
            let was_connected = self.0.client.is_connected();
            if !was_connected && connected_at.take().is_some_and(|at| at.elapsed() < LIVES_AT_LEAST) {
                pause().await;
            }
            let sent = self.connect_and_send().await;
            if sent.is_ok() && !was_connected {
                connected_at = Some(Instant::now());
            }
            match sent {
                Ok(()) => drop(tokio::time::timeout(HEARTBEAT_EVERY, self.0.doubt.notified()).await),
                Err(error) => {
                    self.record(|breaker| breaker.on_failure(Instant::now()), &error);
                    // A server that is only slow keeps its connection, until it counts as unavailable.
                    if !matches!(error, OpError::TimedOut) || !self.is_up() {
                        self.0.client.disconnect();
                    }
                    // A broken connection is replaced at once; a server that is down is given time.
                    if !(was_connected && matches!(error, OpError::Broken)) {
                        pause().await;
                    }
                }
            }
        }
    }

    fn is_up(&self) -> bool {
        self.0.breaker.borrow().status() == RedisStatus::Up
    }

    async fn connect_and_send(&self) -> Result<(), OpError> {
        if !self.0.client.is_connected() {
            self.reload_address().await;
            self.0.caught_up.set(false);
            let connected = self.0.client.connect(&self.0.keys).await.map_err(OpError::Refused)?;
            let Connected { clock, is_server_odd } = connected;
            self.0.rejections.count(RedisValue::Server, u64::from(is_server_odd));
            self.0.clock.set(Some(clock));
            self.0.bulk_timeouts.set(0);
        }
        if !self.is_up() {
            // Finds out whether scripts run, without a trace on the server. A heartbeat whose answer is lost may have told the
            // server that this replica is there, and postpones the time from which it may call on its own; repeated again and
            // again, that time would never come.
            self.request("probe", |call| call).await?;
        }
        let last_purge = self.request("beat", |call| call).await?.purge;
        self.record(|breaker| breaker.on_success(Instant::now()), &OpError::Broken);
        self.0.recovered.notify_waiters();
        // Before the outbox is sent: a purge of ours would get a larger number than those that were missed, and hide them.
        self.catch_up_with_purges(last_purge).await;
        // Not awaited: a long outbox would delay the next heartbeat, and make this replica look dead.
        if !self.0.outbox.borrow().is_empty() {
            drop(actix_rt::spawn(self.clone().flush_outbox()));
        }
        Ok(())
    }

    /// Passwords change, and servers move. On the blocking pool and with a time limit, because a mounted file can hang.
    async fn reload_address(&self) {
        let address_now = Arc::clone(&self.0.config.address_now);
        let read = actix_rt::task::spawn_blocking(move || address_now());
        if let Ok(Ok(Some(address))) = tokio::time::timeout(self.0.config.timeout, read).await {
            self.0.client.set_address(address);
        }
    }

    async fn flush_outbox(self) {
        let items = std::mem::take(&mut *self.0.outbox.borrow_mut());
        for item in items {
            match item {
                OutboxItem::CoolDown { kind, until, encoded_failure } => {
                    self.cool_down(kind, until, &encoded_failure).await;
                }
                OutboxItem::Purge(keys) => {
                    self.purge(&keys).await;
                    self.purge_again_here(&keys);
                }
                // If it fails, it is in the outbox again.
                OutboxItem::Release(claim) => drop(self.release(&claim, "").await),
                OutboxItem::Disown { key, attempt } => self.disown(key, attempt).await,
            }
        }
    }

    /// Until now Redis kept what this process purged a while ago, and may have returned it.
    fn purge_again_here(&self, keys: &[RecordKey]) {
        let named = keys.iter().map(|key| Some(key.as_str().to_owned()));
        let all = keys.is_empty().then_some(None);
        for key in named.chain(all) {
            self.emit_purge(key, 0);
        }
    }

    /// Applies purges whose events were missed, because there was no connection then. `last`: the latest purge's number.
    async fn catch_up_with_purges(&self, last: u64) {
        let applied = match self.0.purged.get() {
            // A process that starts has nothing cached from before its start.
            0 => self.0.clock.get().map_or(last, |clock| clock.at(self.0.started)),
            applied => applied,
        };
        if last <= applied {
            return self.0.caught_up.set(true);
        }
        match self.missed_purges(applied).await {
            Err(_) => return,
            Ok(None) => self.emit_purge(None, last),
            Ok(Some(missed)) => {
                for (key, fence) in missed {
                    self.emit_purge((key != "*").then_some(key), fence);
                }
            }
        }
        self.0.caught_up.set(true);
        self.purge_applied(last);
    }

    /// Receives what the other replicas publish, and the end of the connection that it comes on.
    async fn listen(self, mut pushes: mpsc::UnboundedReceiver<PushInfo>) {
        while let Some(PushInfo { kind, data }) = pushes.recv().await {
            match (kind, data.as_slice()) {
                (PushKind::Disconnection, _) => self.0.doubt.notify_one(),
                (PushKind::Message, [_, Value::BulkString(message)]) => {
                    // An event before the clock is known is lost, and catching up finds what it said.
                    let Some(clock) = self.0.clock.get() else { continue };
                    let event = Event::parse(message, &clock, Instant::now());
                    // `None`: an event of a later version.
                    if let Ok(Some(event)) = self.0.rejections.checked(RedisValue::Event, event) {
                        self.receive(event);
                    }
                }
                _ => {}
            }
        }
    }

    fn receive(&self, event: Event) {
        match &event {
            Event::CoolDown { kind, until, .. } => {
                self.0.quota_view.borrow_mut().extend_cooldown(*kind, *until);
            }
            Event::Purged { by, .. } if *by == self.0.replica => return,
            Event::Purged { fence, .. } => self.purge_applied(*fence),
            Event::Recorded { .. } | Event::Failed { .. } => {}
        }
        self.emit(event);
    }

    fn emit_purge(&self, key: Option<String>, fence: u64) {
        self.emit(Event::Purged { key, fence, by: String::new() });
    }

    fn emit(&self, event: Event) {
        // If nobody receives it, the service is stopping.
        self.0.events.send(event).ok();
    }

    pub(super) fn learn_clock(&self, sent: Instant, there: Micros) {
        // Replies with an impossible time were rejected before.
        let Ok(seen) = ServerClock::observe(sent, Instant::now(), there) else { return };
        self.0.clock.set(Some(self.0.clock.get().map_or(seen, |known| known.or(seen))));
    }
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(fastrand::u64(RETRY_AFTER_MS))).await;
}
