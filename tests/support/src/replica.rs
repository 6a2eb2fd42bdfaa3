//! A replica's handle on the shared state, and helpers for tests that use it.

use std::{
    num::NonZeroU32,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use zoom_qos_proxy::{
    cluster::{
        Cluster, ClusterConfig,
        address::Address,
        cipher::RecordCipher,
        circuit_breaker::RedisStatus,
        events::Event,
        quota_reply::{Slot, SlotReply},
    },
    metrics::Metrics,
};

use crate::{
    rate::Calls,
    wait::{PATIENCE, pause_async, reached},
};

pub fn config(url: &str, per_second: u32, replicas: u32) -> ClusterConfig {
    ClusterConfig {
        address_now: Arc::new(|| None),
        address: Address::parse(url, None).unwrap(),
        timeout: Duration::from_millis(250),
        replicas: NonZeroU32::new(replicas).unwrap(),
        namespace: "test".to_owned(),
        cipher: None,
        per_second: NonZeroU32::new(per_second).unwrap(),
        per_day: 1_000_000,
        fresh_at_most: Duration::from_hours(48),
    }
}

pub fn encrypted(url: &str) -> ClusterConfig {
    ClusterConfig {
        cipher: Some(Arc::new(RecordCipher::new(&"3c".repeat(32)).unwrap())),
        ..config(url, 40, 2)
    }
}

/// Starts a handle, and returns it with the events that it receives.
pub fn join(config: ClusterConfig) -> (Cluster, mpsc::UnboundedReceiver<Event>) {
    let (events, heard) = mpsc::unbounded_channel();
    let shared = Cluster::new(config, events, &Arc::new(Metrics::default()));
    drop(actix_rt::spawn(shared.clone().run_heartbeat()));
    (shared, heard)
}

pub async fn until(shared: &Cluster, wanted: RedisStatus) {
    let mut status = shared.status();
    tokio::time::timeout(PATIENCE, status.wait_for(|status| *status == wanted))
        .await
        .unwrap_or_else(|_| panic!("never {wanted:?}"))
        .unwrap();
}

pub async fn up(config: ClusterConfig) -> (Cluster, mpsc::UnboundedReceiver<Event>) {
    let (shared, heard) = join(config);
    until(&shared, RedisStatus::Up).await;
    (shared, heard)
}

/// Runs a replica on its own thread, as the service does with the fetcher.
pub fn on_its_own_thread<T, F>(replica: impl FnOnce() -> F + Send + 'static) -> JoinHandle<T>
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    thread::spawn(|| actix_rt::System::new().block_on(replica()))
}

/// Reserves a slot, and retries until one is granted.
pub async fn next_slot(shared: &Cluster) -> Slot {
    let give_up = Instant::now() + PATIENCE;
    while Instant::now() < give_up {
        match shared.reserve_slot().await {
            Ok(SlotReply::Slot(slot)) => return slot,
            Ok(SlotReply::RetryAt { at, .. }) => reached(at).await,
            Err(_) => pause_async(Duration::from_millis(20)).await,
        }
    }
    panic!("no slot was granted");
}

/// Waits for the slot and records a call by replica `me`, or releases a slot that has passed.
pub async fn call_in_slot(shared: &Cluster, slot: Slot, me: usize, calls: &Calls) {
    reached(slot.from).await;
    let now = Instant::now();
    if now <= slot.until {
        calls.lock().unwrap().push((now, me));
    } else {
        shared.release_slot(slot.day).await;
    }
}
