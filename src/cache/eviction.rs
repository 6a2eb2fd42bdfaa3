//! Decides which snapshots a full cache evicts: those with the fewest requests for their size.
//!
//! This is GreedyDual-Size-Frequency with a window (docs/adr/0045). The rank of a snapshot is a clock plus its requests
//! divided by its size, where the fetch counts as a request. The snapshot with the lowest rank is evicted, and the clock
//! is set to that rank. So a popular snapshot is also evicted once it is no longer requested.
//!
//! Example: one request adds 1,000 to the rank of a snapshot of 1 KB ([`SCALE`] is much larger). While the clock is at 50, a
//! snapshot of 10 KB with 3 hits gets the rank 50 + 1,000 × 4 / 10 = 450, and a snapshot of 100 KB with 8 hits gets
//! 50 + 1,000 × 9 / 100 = 140.
//!
//! A hit only counts the request ([`RequestCount`](crate::snapshot::Snapshot::requests)). When a snapshot has the lowest
//! rank, but was requested since it got that rank, it gets a new rank and stays.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::entry::{CacheKey, Entries, Entry, snapshot_bytes};
use crate::{
    metrics::Metrics,
    snapshot::{Snapshot, SnapshotKey},
};

/// How much one request adds to the rank of a snapshot of one byte. Large enough that rounding hardly matters for
/// snapshots of up to a gigabyte.
const SCALE: u64 = 1 << 36;
/// A snapshot gets no rank until this fraction of the memory, a sixteenth, has been inserted after it. Otherwise the next
/// insertion could evict a large meeting, and the next request would fetch it again.
const WINDOW_SHARE: u64 = 16;
/// The maximum number of snapshots that get a new rank during one insertion because they were requested. That many take
/// less than a millisecond.
const MAX_UPDATES: usize = 1_000;
/// The number of ranked snapshots that one run of the maintenance checks.
const CHECKED_AT_ONCE: usize = 1_000;

/// Keeps the entries within their bound.
pub(super) struct Eviction {
    entries: Entries,
    max_bytes: u64,
    metrics: Arc<Metrics>,
    order: Mutex<EvictionOrder>,
}

/// The cached snapshots in the order of their eviction. Snapshots that have been replaced, purged or expired are removed
/// later. Weak references, so that their bodies are freed before that.
#[derive(Default)]
struct EvictionOrder {
    /// Snapshots that callers page through although there is a newer one, oldest first. They are evicted before the others.
    older: VecDeque<Weak<Snapshot>>,
    ranked: BTreeMap<Rank, Weak<Snapshot>>,
    /// The window: the newest snapshots and their sizes, oldest first. They are evicted last.
    newest: VecDeque<(Weak<Snapshot>, u64)>,
    newest_bytes: u64,
    clock: u64,
    /// The number of ranks given so far.
    given: u64,
    /// The rank at which the next run of the maintenance begins.
    unchecked: Rank,
}

/// Snapshots of equal value are evicted in the order in which they got their ranks.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    value: u64,
    given: u64,
}

impl EvictionOrder {
    /// Adds a snapshot to the window. Snapshots that leave the window get a rank.
    fn insert(&mut self, new: &Arc<Snapshot>, window: u64) {
        let bytes = snapshot_bytes(new);
        self.newest.push_back((Arc::downgrade(new), bytes));
        self.newest_bytes += bytes;
        while self.newest.front().is_some_and(|(_, bytes)| self.newest_bytes - bytes > window) {
            if let Some(oldest) = self.pop_newest().and_then(|oldest| oldest.upgrade()) {
                self.rank(&oldest);
            }
        }
    }

    fn pop_newest(&mut self) -> Option<Weak<Snapshot>> {
        let (oldest, bytes) = self.newest.pop_front()?;
        self.newest_bytes -= bytes;
        Some(oldest)
    }

    fn rank(&mut self, snapshot: &Arc<Snapshot>) {
        let value = SCALE / snapshot_bytes(snapshot).max(1) * (u64::from(snapshot.requests.add_up()) + 1);
        self.given += 1;
        let rank = Rank { value: self.clock.saturating_add(value), given: self.given };
        self.ranked.insert(rank, Arc::downgrade(snapshot));
    }

    /// Removes the snapshot with the lowest rank or, if none has a rank, the oldest snapshot of the window.
    fn pop_lowest(&mut self) -> Option<Weak<Snapshot>> {
        let Some((rank, lowest)) = self.ranked.pop_first() else { return self.pop_newest() };
        self.clock = self.clock.max(rank.value);
        Some(lowest)
    }

    /// Removes those of the next few ranked snapshots that are no longer cached.
    fn check_some(&mut self, is_cached: impl Fn(&Arc<Snapshot>) -> bool) {
        let mut next = self.ranked.range(self.unchecked..);
        let checked = next.by_ref().take(CHECKED_AT_ONCE);
        let gone = checked.filter(|(_, snapshot)| !snapshot.upgrade().as_ref().is_some_and(&is_cached));
        let gone: Vec<_> = gone.map(|(rank, _)| *rank).collect();
        self.unchecked = next.next().map_or_else(Rank::default, |(rank, _)| *rank);
        for rank in gone {
            self.ranked.remove(&rank);
        }
    }
}

impl Eviction {
    pub(super) fn new(entries: Entries, max_bytes: u64, metrics: Arc<Metrics>) -> Self {
        Self { entries, max_bytes, metrics, order: Mutex::default() }
    }

    /// Evicts snapshots until there is memory for `bytes` more, or until only failures are left. Does not evict the newest
    /// snapshot of `replaced`, because the caller is about to replace it.
    pub(super) fn make_room(&self, bytes: u64, replaced: Option<&SnapshotKey>) {
        let mut order = self.order();
        let (mut used, mut updates) = (self.entries.weighted_size(), 0);
        while used.saturating_add(bytes) > self.max_bytes {
            let (key, snapshot) = if let Some(oldest) = order.older.pop_front() {
                let Some(oldest) = oldest.upgrade() else { continue };
                let key = CacheKey::Older(oldest.key, oldest.tag);
                if !self.entries.contains_key(&key) {
                    continue;
                }
                (key, oldest)
            } else {
                let Some(lowest) = order.pop_lowest() else { return };
                let Some(lowest) = lowest.upgrade() else { continue };
                if replaced == Some(&lowest.key) || !self.is_newest(&lowest) {
                    continue;
                }
                if lowest.requests.is_recent() && updates < MAX_UPDATES {
                    updates += 1;
                    order.rank(&lowest);
                    continue;
                }
                (CacheKey::Newest(lowest.key), lowest)
            };
            used = used.saturating_sub(snapshot_bytes(&snapshot));
            self.entries.invalidate(&key);
            self.metrics.cache_evictions.inc();
        }
    }

    /// Records that the snapshot was inserted as the newest of its meeting.
    pub(super) fn add_newest(&self, snapshot: &Arc<Snapshot>) {
        self.order().insert(snapshot, self.max_bytes / WINDOW_SHARE);
    }

    /// Records that the snapshot was inserted beside a newer one.
    pub(super) fn add_older(&self, snapshot: &Arc<Snapshot>) {
        self.order().older.push_back(Arc::downgrade(snapshot));
    }

    /// Forgets all snapshots.
    pub(super) fn clear(&self) {
        *self.order() = EvictionOrder::default();
    }

    /// Forgets some of the snapshots that are no longer cached.
    pub(super) fn check_some(&self) {
        let mut order = self.order();
        order.older.retain(|older| {
            let key = older.upgrade().map(|older| CacheKey::Older(older.key, older.tag));
            key.is_some_and(|key| self.entries.contains_key(&key))
        });
        order.check_some(|snapshot| self.is_newest(snapshot));
    }

    /// Returns whether the snapshot is cached as the newest of its meeting.
    fn is_newest(&self, snapshot: &Arc<Snapshot>) -> bool {
        match self.entries.get(&CacheKey::Newest(snapshot.key)) {
            Some(Entry::Snapshot(newest)) => Arc::ptr_eq(&newest, snapshot),
            _ => false,
        }
    }

    fn order(&self) -> MutexGuard<'_, EvictionOrder> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{CacheKey, MAX_UPDATES};
    use crate::{
        cache::{
            Cache,
            tests::{SECOND, cache, key, snapshot_of},
        },
        failure::{Failure, Reason},
        snapshot::Snapshot,
    };

    const BOUND: u64 = 1_000_000;

    fn snapshot(number: u64, bytes: usize) -> Snapshot {
        snapshot_of(key(number), bytes, 3_600 * SECOND)
    }

    fn insert(cache: &Cache, number: u64, bytes: usize) {
        assert!(cache.insert(snapshot(number, bytes)).1);
    }

    fn is_cached(cache: &Cache, number: u64) -> bool {
        cache.entries.contains_key(&CacheKey::Newest(key(number)))
    }

    /// Returns whether the meeting is cached, and counts the request.
    fn request(cache: &Cache, number: u64) -> bool {
        match cache.get(&key(number), Instant::now()) {
            Some(super::Entry::Snapshot(snapshot)) => {
                snapshot.record_request();
                true
            }
            _ => false,
        }
    }

    /// Inserts meetings from `number` on for as long as `number` is cached, and returns how many.
    fn insert_until_gone(cache: &Cache, number: u64, first: u64, bytes: usize) -> u64 {
        let mut next = first;
        while is_cached(cache, number) {
            insert(cache, next, bytes);
            next += 1;
        }
        next - first
    }

    fn evictions(cache: &Cache) -> u64 {
        cache.eviction.metrics.cache_evictions.get()
    }

    #[test]
    fn a_requested_snapshot_stays_until_it_is_no_longer_requested() {
        let cache = cache(BOUND);
        insert(&cache, 0, 5_000);
        assert!((0..20).all(|_| request(&cache, 0)));
        let requested_long_ago = insert_until_gone(&cache, 0, 1, 5_000);
        assert!(!is_cached(&cache, 5_000), "it is not cached yet");
        insert(&cache, 5_000, 5_000);
        let never_requested = insert_until_gone(&cache, 5_000, 5_001, 5_000);
        assert!(requested_long_ago > 4 * never_requested, "{requested_long_ago} and {never_requested}");
    }

    #[test]
    fn a_small_snapshot_needs_fewer_requests_than_a_large_one() {
        let cache = cache(BOUND);
        // Snapshot 0 is smaller and older than snapshot 1, and its last request is longer ago.
        for (number, bytes, requests) in [(0, 1_000, 1), (1, 20_000, 5)] {
            insert(&cache, number, bytes);
            assert!((0..requests).all(|_| request(&cache, number)));
        }
        insert_until_gone(&cache, 1, 2, 5_000);
        assert!(is_cached(&cache, 0));
    }

    #[test]
    fn a_new_large_snapshot_stays_while_a_sixteenth_is_inserted() {
        let cache = cache(BOUND);
        for number in 1..1_000 {
            insert(&cache, number, 600 + fastrand::usize(..800));
            assert!((0..5).all(|_| request(&cache, number)));
        }
        assert!(evictions(&cache) > 0, "the cache is full");
        insert(&cache, 0, 26_000);
        let stays = insert_until_gone(&cache, 0, 1_000, 1_000);
        let bytes = stays * super::snapshot_bytes(&snapshot(1_000, 1_000));
        assert!(bytes > BOUND / 20, "{bytes}");
    }

    #[test]
    fn half_of_the_requests_for_a_replaced_snapshot_count() {
        let cache = cache(BOUND);
        insert(&cache, 0, 5_000);
        assert!((0..20).all(|_| request(&cache, 0)));
        let (newer, _) = cache.insert(snapshot(0, 5_000));
        assert_eq!(newer.requests.add_up(), 7);
    }

    #[test]
    fn older_snapshots_that_callers_page_through_are_evicted_first() {
        let cache = cache(BOUND);
        let mut older = Vec::new();
        for number in 0..10 {
            let (first, _) = cache.insert(snapshot(number, 5_000));
            first.mark_paged();
            older.push(first.tag);
            insert(&cache, number, 5_000);
        }
        let left = || {
            let numbered = (0..).zip(&older);
            numbered
                .filter(|(number, tag)| cache.snapshot(&key(*number), **tag, Instant::now()).is_some())
                .count()
        };
        assert_eq!(left(), 10);
        let mut number = 10;
        while left() > 0 {
            assert!((0..number).all(|number| is_cached(&cache, number)), "{number}: {} are left", left());
            insert(&cache, number, 5_000);
            number += 1;
        }
    }

    #[test]
    fn a_replaced_snapshot_keeps_its_place_until_the_newer_one_is_there() {
        let cache = cache(BOUND);
        (0..500).for_each(|number| insert(&cache, number, 1_000));
        assert!(evictions(&cache) > 0, "the cache is full");
        let (cached, _) = cache.insert(snapshot(500, 30_000));
        cached.mark_paged();
        let before = evictions(&cache);
        insert(&cache, 500, 31_000);
        assert!(cache.snapshot(&key(500), cached.tag, Instant::now()).is_some(), "its tokens are still good");
        assert!(evictions(&cache) > before);
    }

    #[test]
    fn snapshots_make_room_for_failures_and_moka_evicts_none() {
        let cache = cache(BOUND);
        (0..1_000).for_each(|number| insert(&cache, number, 1_000));
        assert!(request(&cache, 999));
        let until = Instant::now() + 60 * SECOND;
        for number in 1_000..1_300 {
            let before = (evictions(&cache), cache.entry_count());
            cache.insert_failure(key(number), &Failure::new(Reason::ZoomFailed), until);
            assert!(cache.failure(&key(number), Instant::now()).is_some());
            assert_eq!(cache.entry_count() + evictions(&cache), before.0 + before.1 + 1, "{number}");
        }
        assert!(is_cached(&cache, 999), "the newest snapshots stay");
    }

    #[test]
    fn an_oversized_older_snapshot_evicts_nothing() {
        let cache = cache(BOUND);
        insert(&cache, 0, 5_000);
        cache.insert_paged(&snapshot(1, 600_000).into());
        assert_eq!((evictions(&cache), cache.entry_count()), (0, 1));
    }

    #[test]
    fn one_insertion_updates_a_bounded_number_of_ranks() {
        let cache = cache(10 * BOUND);
        (0..10_000).for_each(|number| insert(&cache, number, 100));
        let requested = (0..10_000).filter(|number| request(&cache, *number)).count();
        assert!(requested > 2 * MAX_UPDATES, "{requested}");
        let before = cache.eviction.order().given;
        insert(&cache, 10_000, 100);
        let given = usize::try_from(cache.eviction.order().given - before).unwrap();
        assert!((MAX_UPDATES..MAX_UPDATES + 10).contains(&given), "{given}");
    }

    #[test]
    fn snapshots_that_are_no_longer_cached_are_forgotten() {
        let cache = cache(BOUND);
        // Keeps replaced snapshots in memory, as slow readers do.
        let held: Vec<_> = (0..1_500).map(|number| cache.insert(snapshot(number % 3, 1_000)).0).collect();
        assert!(cache.eviction.order().ranked.len() > 1_000);
        cache.run_maintenance();
        cache.run_maintenance();
        assert!(cache.eviction.order().ranked.len() <= 3, "{}", cache.eviction.order().ranked.len());
        drop(held);
    }
}
