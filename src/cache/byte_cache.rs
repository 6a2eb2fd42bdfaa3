//! A cache of bodies that is bounded by bytes. An evicted body is freed immediately, unless a response still holds it.
//!
//! By itself, moka frees an evicted value only after all threads have finished the look-ups that they had begun. One
//! thread that waits for a CPU would then keep evicted bodies in memory, and callers would be rejected although there is
//! room.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use moka::{notification::RemovalCause, policy::EvictionPolicy, sync::Cache as Moka};

use super::entry::BOOKKEEPING;

/// How long a body is cached after its last request, unless it is evicted. The next request then waits while it is made
/// again. Decompression, for example, takes a third of a millisecond for each megabyte.
const IDLE: Duration = Duration::from_secs(10);

/// The cached bodies of type `V` by their keys.
#[derive(Clone)]
pub(super) struct ByteCache<K, V> {
    cached: Moka<K, CachedBody<V>, foldhash::fast::RandomState>,
    /// The bytes of all bodies from [`Self::count`] that the cache or a response holds.
    in_use: Arc<AtomicU64>,
}

/// The place of a cached body. It is emptied when the body is evicted.
struct CachedBody<V> {
    body: Arc<ArcSwapOption<V>>,
    bytes: u32,
}

impl<V> Clone for CachedBody<V> {
    fn clone(&self) -> Self {
        Self { body: Arc::clone(&self.body), bytes: self.bytes }
    }
}

impl<K: Hash + Eq + Send + Sync + 'static, V: Clone + Send + Sync + 'static> ByteCache<K, V> {
    pub(super) fn new(max_bytes: u64) -> Self {
        let cached = Moka::builder()
            .max_capacity(max_bytes)
            .weigher(|_, slot: &CachedBody<V>| slot.bytes)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(IDLE)
            .eviction_listener(|_, slot: CachedBody<V>, _: RemovalCause| slot.body.store(None))
            .build_with_hasher(foldhash::fast::RandomState::default());
        Self { cached, in_use: Arc::default() }
    }

    pub(super) fn get(&self, key: &K) -> Option<V> {
        self.cached.get(key)?.body()
    }

    /// Caches the body, whose size is `bytes`, and immediately evicts others if that is necessary.
    pub(super) fn insert(&self, key: K, body: V, bytes: usize) {
        self.cached.insert(key, CachedBody::of(body, bytes));
        self.cached.run_pending_tasks();
    }

    /// Returns the body. If it is not cached, one thread makes it, and the others wait for it.
    pub(super) fn get_or_make(&self, key: K, make: impl FnOnce() -> Option<(V, usize)>) -> Option<V> {
        let mut new = None;
        let slot = self.cached.optionally_get_with(key, || {
            let (body, bytes) = make()?;
            new = Some(body.clone());
            Some(CachedBody::of(body, bytes))
        })?;
        if new.is_some() {
            self.cached.run_pending_tasks();
        }
        // Another body may have evicted this one already.
        new.or_else(|| slot.body())
    }

    /// Wraps this body, so that it counts as used memory while the cache or a response holds it.
    pub(super) fn count(&self, body: Vec<u8>) -> Bytes {
        let body = CountedBytes { body, in_use: Arc::clone(&self.in_use) };
        body.in_use.fetch_add(body.length(), Ordering::Relaxed);
        Bytes::from_owner(body)
    }

    /// Returns the bytes of all bodies from [`Self::count`] that the cache or a response holds.
    pub(super) fn in_use(&self) -> u64 {
        self.in_use.load(Ordering::Relaxed)
    }

    pub(super) fn weighted_size(&self) -> u64 {
        self.cached.weighted_size()
    }

    pub(super) fn clear(&self) {
        self.cached.invalidate_all();
        self.cached.run_pending_tasks();
    }

    pub(super) fn run_pending_tasks(&self) {
        self.cached.run_pending_tasks();
    }
}

impl<V: Clone> CachedBody<V> {
    fn of(body: V, bytes: usize) -> Self {
        let bytes = u32::try_from(BOOKKEEPING + bytes).unwrap_or(u32::MAX);
        Self { body: Arc::new(ArcSwapOption::from_pointee(body)), bytes }
    }

    fn body(&self) -> Option<V> {
        self.body.load().as_deref().cloned()
    }
}

struct CountedBytes {
    body: Vec<u8>,
    in_use: Arc<AtomicU64>,
}

impl CountedBytes {
    fn length(&self) -> u64 {
        u64::try_from(self.body.len()).unwrap_or(u64::MAX)
    }
}

impl AsRef<[u8]> for CountedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for CountedBytes {
    fn drop(&mut self) {
        self.in_use.fetch_sub(self.length(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_evicted_body_is_freed_although_a_look_up_is_under_way() {
        let bodies: ByteCache<u32, Bytes> = ByteCache::new(100_000);
        // A thread in the middle of a look-up, as it is when it waits for a CPU.
        let guard = crossbeam_epoch::pin();
        for number in 0..50 {
            bodies.insert(number, bodies.count(vec![0; 40_000]), 40_000);
            assert!(bodies.in_use() <= 80_000, "{number}: {}", bodies.in_use());
        }
        drop(guard);
    }

    #[test]
    fn bodies_that_a_response_holds_stay_counted() {
        let bodies: ByteCache<u32, Bytes> = ByteCache::new(100_000);
        let make = || Some((bodies.count(vec![0; 60_000]), 60_000));
        let held = bodies.get_or_make(1, make).unwrap();
        bodies.insert(2, bodies.count(vec![0; 60_000]), 60_000);
        assert!(bodies.get(&1).is_none() && bodies.in_use() == 120_000);
        drop(held);
        assert_eq!(bodies.in_use(), 60_000);
        bodies.clear();
        assert_eq!(bodies.in_use(), 0);
    }
}
