//! Caches bodies in encodings that snapshots do not store. They are made on demand, and kept for some seconds after
//! their last use.
//!
//! Most are uncompressed bodies, which are large. So two bounds apply: one on the cached bodies, and twice that on all
//! uncompressed bodies in memory, because slow readers hold bodies that the cache has evicted.

use bytes::Bytes;

use super::byte_cache::ByteCache;
use crate::snapshot::{Coding, Snapshot, Tag};

#[derive(Clone)]
pub(crate) struct Bodies {
    pub(super) cached: ByteCache<(Tag, Coding), Bytes>,
    max_bytes: u64,
}

impl Bodies {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self { cached: ByteCache::new(max_bytes), max_bytes }
    }

    /// Returns the size of the largest body that should be cached, in bytes.
    pub(crate) fn largest(&self) -> usize {
        usize::try_from(self.max_bytes / 2).unwrap_or(usize::MAX)
    }

    /// Returns the uncompressed body, if it is stored or cached.
    pub(crate) fn plain(&self, snapshot: &Snapshot) -> Option<Bytes> {
        snapshot.body(Coding::Identity).or_else(|| self.cached.get(&(snapshot.tag, Coding::Identity)))
    }

    /// Returns the uncompressed body; `None` if, for example, all such bodies together would take too much memory. Blocks
    /// while the body is decompressed, which happens once for all threads that wait.
    pub(crate) fn decompressed(&self, snapshot: &Snapshot) -> Option<Bytes> {
        if self.cached.in_use().saturating_add(snapshot.length) > self.max_bytes.saturating_mul(2) {
            return None;
        }
        self.cached.get_or_make((snapshot.tag, Coding::Identity), || {
            let body = snapshot.decompress().ok()?;
            let bytes = body.len();
            Some((self.cached.count(body), bytes))
        })
    }

    /// Returns the zstd body of a small snapshot, which is stored as gzip only; `None` if making it fails. Blocks for
    /// some tenths of a millisecond while the body is made.
    pub(crate) fn zstd(&self, snapshot: &Snapshot) -> Option<Bytes> {
        self.cached.get_or_make((snapshot.tag, Coding::Zstd), || {
            let body = Bytes::from(snapshot.zstd().ok()?);
            let bytes = body.len();
            Some((body, bytes))
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::cache::tests::{SECOND, cache, key, snapshot_of};

    #[test]
    fn cached_bodies_take_at_most_a_sixteenth_and_are_made_again() {
        let cache = cache(1_600_000);
        assert_eq!(cache.bodies.largest(), 50_000);
        let snapshots: Vec<_> =
            (0..10).map(|number| cache.insert(snapshot_of(key(number), 20_000, 30 * SECOND)).0).collect();
        for snapshot in &snapshots {
            assert!(cache.bodies.plain(snapshot).is_none(), "not requested yet");
            assert!(cache.bodies.decompressed(snapshot).is_some());
        }
        let at_hand = snapshots.iter().filter(|snapshot| cache.bodies.plain(snapshot).is_some()).count();
        assert!((1..=4).contains(&at_hand), "{at_hand}");
        for snapshot in &snapshots {
            let unpacked = cache.bodies.decompressed(snapshot).expect("there is memory for it");
            assert_eq!(u64::try_from(unpacked.len()).unwrap(), snapshot.length);
        }
        cache.run_maintenance();
        assert!(cache.bytes() <= 1_600_000);
    }

    #[test]
    fn bodies_that_slow_readers_hold_count_until_they_are_dropped() {
        let cache = cache(1_600_000);
        let snapshots: Vec<_> =
            (0..20).map(|number| cache.insert(snapshot_of(key(number), 20_000, 30 * SECOND)).0).collect();
        let held: Vec<_> =
            snapshots.iter().filter_map(|snapshot| cache.bodies.decompressed(snapshot)).collect();
        // All bodies in memory may take twice a sixteenth of 1,600,000 bytes, which is 200,000 bytes.
        assert!((8..=10).contains(&held.len()), "{}", held.len());
        drop(held);
        cache.purge_all();
        assert!(cache.bodies.decompressed(&snapshots[0]).is_some());
    }
}
