//! The heartbeat connects and reconnects, tells the server that this replica is alive, and catches up on missed purges.
//!
//! A replica that has sent neither a heartbeat nor a request for a slot for 1.5 s counts as missing. Heartbeats are
//! sent every 300 ms, so a few of them may be lost.

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
/// The pause after a failure, in milliseconds. It is random, so that replicas do not reconnect in step.
const RETRY_AFTER_MS: std::ops::RangeInclusive<u64> = 200..=500;
/// If a connection breaks within this time, the next connection is opened after a pause, because it may break just as
/// quickly.
const LIVES_AT_LEAST: Duration = Duration::from_secs(1);
/// The maximum number of purges that the server remembers.
pub(super) const PURGES_REMEMBERED: usize = 1_000;

impl Cluster {
    /// Sends heartbeats until this process leaves the cluster, and handles events as long as the service runs.
    pub async fn run_heartbeat(self) {
        match self.0.pushes.take() {
            // Both run in one task, so that neither continues if the other panics.
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
                    // After a timeout, the connection is kept until Redis counts as unavailable, because the server may
                    // just be slow.
                    if !matches!(error, OpError::TimedOut) || !self.is_up() {
                        self.0.client.disconnect();
                    }
                    // A connection that breaks is replaced immediately. After any other failure, the next attempt
                    // follows a pause.
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
            // The probe checks that scripts run, and does not mark this replica as present. A heartbeat could arrive
            // while its reply is lost. The server would then count this replica as present, which postpones the time
            // from which this replica may call on its own. Repeated heartbeats without a reply would postpone that time
            // forever.
            self.request("probe", |call| call).await?;
        }
        let last_purge = self.request("beat", |call| call).await?.purge;
        self.record(|breaker| breaker.on_success(Instant::now()), &OpError::Broken);
        self.0.recovered.notify_waiters();
        // This must precede the outbox. A purge from the outbox gets a larger number than the missed purges, and would
        // hide them.
        self.catch_up_with_purges(last_purge).await;
        // This is not awaited, because a long outbox would delay the next heartbeat and make this replica look dead.
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

    /// Purges these keys again in this process. Redis had the records until the outbox was flushed, so this process may
    /// have cached them again.
    fn purge_again_here(&self, keys: &[RecordKey]) {
        let named = keys.iter().map(|key| Some(key.as_str().to_owned()));
        let all = keys.is_empty().then_some(None);
        for key in named.chain(all) {
            self.emit_purge(key, 0);
        }
    }

    /// Applies the purges whose events were missed while there was no connection. `last` is the number of the latest
    /// purge.
    async fn catch_up_with_purges(&self, last: u64) {
        let applied = match self.0.purged.get() {
            // This process has applied no purge yet. Its cache is no older than its start, so earlier purges do not
            // concern it.
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

    /// Handles the events of the other replicas, and the notice that the connection has ended.
    async fn listen(self, mut pushes: mpsc::UnboundedReceiver<PushInfo>) {
        while let Some(PushInfo { kind, data }) = pushes.recv().await {
            match (kind, data.as_slice()) {
                (PushKind::Disconnection, _) => self.0.heartbeat_now.notify_one(),
                (PushKind::Message, [_, Value::BulkString(message)]) => {
                    // Events that arrive before the clock is known are dropped. Purges among them are applied by
                    // `catch_up_with_purges`.
                    let Some(clock) = self.0.clock.get() else { continue };
                    let event = Event::parse(message, &clock, Instant::now());
                    // Events of a later version (`None`) are ignored.
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
        // Fails only if the receiver is gone, which means that the service is stopping.
        self.0.events.send(event).ok();
    }

    pub(super) fn learn_clock(&self, sent: Instant, there: Micros) {
        // A reply with an impossible time has been rejected already.
        let Ok(seen) = ServerClock::observe(sent, Instant::now(), there) else { return };
        self.0.clock.set(Some(self.0.clock.get().map_or(seen, |known| known.or(seen))));
    }
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(fastrand::u64(RETRY_AFTER_MS))).await;
}
