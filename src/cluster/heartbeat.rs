//! The heartbeat: connects and reconnects, reports to the server that this replica is alive, and catches up on missed purges.
//!
//! A replica that has sent no heartbeat for 1.5 s counts as missing. A heartbeat is sent every 300 ms, so several may be lost.

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
/// The pause after a failure, in milliseconds. It is random, so that replicas do not reconnect at the same time.
const RETRY_AFTER_MS: std::ops::RangeInclusive<u64> = 200..=500;
/// If a connection breaks sooner than this, the next one is opened after a pause, because it may break just as quickly.
const LIVES_AT_LEAST: Duration = Duration::from_secs(1);
/// The number of purges that the server remembers.
pub(super) const PURGES_REMEMBERED: usize = 1_000;

impl Cluster {
    /// Runs as long as the service.
    pub async fn run_heartbeat(self) {
        match self.0.pushes.take() {
            // In one task, so that neither goes on if the other panics.
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
                Ok(()) => drop(tokio::time::timeout(HEARTBEAT_EVERY, self.0.heartbeat_now.notified()).await),
                Err(error) => {
                    self.record(|breaker| breaker.on_failure(Instant::now()), &error);
                    // A timeout keeps the connection, until Redis counts as unavailable, because the server may only be slow.
                    if !matches!(error, OpError::TimedOut) || !self.is_up() {
                        self.0.client.disconnect();
                    }
                    // A broken connection is replaced at once. A server that is down is retried after a pause.
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
            // The probe checks that scripts run, and does not mark this replica as present. A heartbeat can arrive
            // although its reply is lost. The server then counts this replica as present, which postpones the time from
            // which this replica may call on its own. Repeated heartbeats without a reply would postpone that time
            // forever.
            self.request("probe", |call| call).await?;
        }
        let last_purge = self.request("beat", |call| call).await?.purge;
        self.record(|breaker| breaker.on_success(Instant::now()), &OpError::Broken);
        self.0.recovered.notify_waiters();
        // Before the outbox is flushed: a purge from it would get a larger number than the missed purges, and hide them.
        self.catch_up_with_purges(last_purge).await;
        // Not awaited: a long outbox would delay the next heartbeat, and make this replica look dead.
        if !self.0.outbox.borrow().is_empty() {
            drop(actix_rt::spawn(self.clone().flush_outbox()));
        }
        Ok(())
    }

    /// Reads the address again. This runs on the blocking pool and has a time limit, because reading a mounted file can hang.
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
                // If this fails, it puts the claim back into the outbox.
                OutboxItem::Release(claim) => drop(self.release(&claim, "").await),
                OutboxItem::Disown { key, attempt } => self.disown(key, attempt).await,
            }
        }
    }

    /// Purges these keys in this process once more. Until the outbox was flushed, Redis still had the records, and this process may
    /// have cached them again.
    fn purge_again_here(&self, keys: &[RecordKey]) {
        let named = keys.iter().map(|key| Some(key.as_str().to_owned()));
        let all = keys.is_empty().then_some(None);
        for key in named.chain(all) {
            self.emit_purge(key, 0);
        }
    }

    /// Applies the purges whose events were missed because there was no connection. `last` is the number of the latest purge.
    async fn catch_up_with_purges(&self, last: u64) {
        let applied = match self.0.purged.get() {
            // This process has applied none yet. Its cache is no older than its start, so earlier purges do not concern it.
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

    /// Receives the events of the other replicas, and the end of the connection.
    async fn listen(self, mut pushes: mpsc::UnboundedReceiver<PushInfo>) {
        while let Some(PushInfo { kind, data }) = pushes.recv().await {
            match (kind, data.as_slice()) {
                (PushKind::Disconnection, _) => self.0.heartbeat_now.notify_one(),
                (PushKind::Message, [_, Value::BulkString(message)]) => {
                    // Events that arrive before the clock is known are dropped. Catching up finds the purges among them.
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
        // A reply with an impossible time was rejected before.
        let Ok(seen) = ServerClock::observe(sent, Instant::now(), there) else { return };
        self.0.clock.set(Some(self.0.clock.get().map_or(seen, |known| known.or(seen))));
    }
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(fastrand::u64(RETRY_AFTER_MS))).await;
}
