//! Caches bodies in encodings that snapshots do not store. They are made on demand and kept for some seconds.
//!
//! Most are uncompressed bodies, which are large. So two bounds apply: one on the cached bodies, and twice that on all
//! uncompressed bodies in memory, because slow readers hold bodies that the cache has evicted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use moka::{policy::EvictionPolicy, sync::Cache as Moka};

use super::entry::BOOKKEEPING;
use crate::snapshot::{Coding, Snapshot, Tag};

/// How long a body is kept without a request. The next request waits while it is made again, a third of a millisecond
/// for each megabyte.
const IDLE: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(crate) struct Bodies {
    pub(super) cached: Moka<(Tag, Coding), Bytes, foldhash::fast::RandomState>,
    /// Bytes of all uncompressed bodies that the cache or a response holds.
    in_use: Arc<AtomicU64>,
    max_bytes: u64,
}

impl Bodies {
    pub(super) fn new(max_bytes: u64) -> Self {
        let cached = Moka::builder()
            .max_capacity(max_bytes)
            .weigher(|_, body: &Bytes| u32::try_from(BOOKKEEPING + body.len()).unwrap_or(u32::MAX))
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(IDLE)
            .build_with_hasher(foldhash::fast::RandomState::default());
        Self { cached, in_use: Arc::default(), max_bytes }
    }

    /// Returns the size of the largest body that is cached, in bytes.
    pub(crate) fn largest(&self) -> usize {
        usize::try_from(self.max_bytes / 2).unwrap_or(usize::MAX)
    }

    /// Returns the uncompressed body, if it is stored or cached.
    pub(crate) fn plain(&self, snapshot: &Snapshot) -> Option<Bytes> {
        snapshot.body(Coding::Identity).or_else(|| self.cached.get(&(snapshot.tag, Coding::Identity)))
    }

    /// Returns the uncompressed body; `None` if all such bodies together would take too much memory. Blocks while the body
    /// is decompressed, which happens once for all threads.
    pub(crate) fn decompressed(&self, snapshot: &Snapshot) -> Option<Bytes> {
        let in_use = self.in_use.load(Ordering::Relaxed);
        if in_use.saturating_add(snapshot.length) > self.max_bytes.saturating_mul(2) {
            return None;
        }
        let decompress = || Some(CountedBytes::count(snapshot.decompress().ok()?, &self.in_use));
        self.cached.optionally_get_with((snapshot.tag, Coding::Identity), decompress)
    }

    /// Returns the body of a small snapshot, which is stored as gzip only, as zstd. Blocks for some tenths of a
    /// millisecond while it is made.
    pub(crate) fn zstd(&self, snapshot: &Snapshot) -> Option<Bytes> {
        self.cached.optionally_get_with((snapshot.tag, Coding::Zstd), || Some(snapshot.zstd().ok()?.into()))
    }
}

/// A body that counts as used memory as long as the cache or a response holds it.
pub(super) struct CountedBytes {
    body: Vec<u8>,
    in_use: Arc<AtomicU64>,
}

impl CountedBytes {
    pub(super) fn count(body: Vec<u8>, in_use: &Arc<AtomicU64>) -> Bytes {
        let body = Self { body, in_use: Arc::clone(in_use) };
        body.in_use.fetch_add(body.length(), Ordering::Relaxed);
        Bytes::from_owner(body)
    }

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
    use crate::cache::{
        Cache,
        tests::{SECOND, cache, key, snapshot_of},
    };

    #[test]
    fn cached_bodies_take_at_most_a_sixteenth_and_are_made_again() {
        let cache = cache(1_600_000);
        assert_eq!(cache.bodies.largest(), 50_000);
        let snapshots: Vec<_> =
            (0..10).map(|number| cache.insert(snapshot_of(key(number), 20_000, 30 * SECOND)).0).collect();
        for snapshot in &snapshots {
            assert!(cache.bodies.plain(snapshot).is_none(), "not requested yet");
            decompressed_soon(&cache, snapshot);
            cache.run_maintenance();
        }
        let at_hand = snapshots.iter().filter(|snapshot| cache.bodies.plain(snapshot).is_some()).count();
        assert!((1..=4).contains(&at_hand), "{at_hand}");
        for snapshot in &snapshots {
            let unpacked = decompressed_soon(&cache, snapshot);
            assert_eq!(u64::try_from(unpacked.len()).unwrap(), snapshot.length);
            cache.run_maintenance();
        }
        cache.run_maintenance();
        assert!(cache.bytes() <= 1_600_000);
    }

    /// Returns the body once there is memory for it. moka frees an evicted body only after other threads, such as those
    /// of other tests, have finished their look-ups.
    fn decompressed_soon(cache: &Cache, snapshot: &Arc<Snapshot>) -> Bytes {
        let look = |_| {
            cache.run_maintenance();
            cache.bodies.decompressed(snapshot).or_else(|| {
                std::thread::park_timeout(Duration::from_millis(10));
                None
            })
        };
        (0..1_000).find_map(look).expect("there is memory for it")
    }

    #[test]
    fn bodies_that_slow_readers_hold_count_until_they_are_dropped() {
        let cache = cache(1_600_000);
        let snapshots: Vec<_> =
            (0..20).map(|number| cache.insert(snapshot_of(key(number), 20_000, 30 * SECOND)).0).collect();
        let held: Vec<_> = snapshots
            .iter()
            .filter_map(|snapshot| {
                let body = cache.bodies.decompressed(snapshot);
                cache.run_maintenance();
                body
            })
            .collect();
        // Twice a sixteenth is 200,000 bytes.
        assert!((8..=10).contains(&held.len()), "{}", held.len());
        drop(held);
        cache.purge_all();
        decompressed_soon(&cache, &snapshots[0]);
    }
}
