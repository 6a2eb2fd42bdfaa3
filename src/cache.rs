//! Caches snapshots and failures, bounded by bytes.
//!
//! A look-up takes no lock of ours and parses nothing. The reader decides by its own clock whether an entry may be
//! served. moka's clock only decides when an expired entry is freed. For a while, a snapshot that callers page through
//! is kept beside the newer one that replaced it.

mod bodies;
mod byte_cache;
mod entry;
mod eviction;
mod failures;
mod kinds;
mod lookup;
pub(crate) mod policy;
mod views;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use moka::{policy::EvictionPolicy, sync::Cache as Moka};

pub use self::policy::CachePolicy;
use self::{
    bodies::Bodies,
    entry::{CacheKey, Entries, ExpiryPolicy, snapshot_bytes},
    eviction::Eviction,
    kinds::KnownWebinars,
    views::Views,
};
pub(crate) use self::{
    entry::{Entry, PAGED_FOR},
    kinds::KIND_REMEMBERED_FOR,
    policy::ends_snapshot,
    views::{ViewBody, ViewKey},
};
use crate::{
    metrics::Metrics,
    snapshot::{Snapshot, SnapshotKey, Tag},
};

/// The fraction of the memory for bodies made on demand: a sixteenth.
const BODIES_SHARE: u64 = 16;
/// The fraction of the memory for views: 1/32.
const VIEWS_SHARE: u64 = 32;

/// The bound on the memory, and how long failures are cached.
pub struct CacheConfig {
    /// Bound on the memory of everything cached, in bytes.
    pub max_bytes: u64,
    /// How long "no such live meeting" is cached.
    pub not_found_live: Duration,
    /// How long "no such past meeting" is cached.
    pub not_found_past: Duration,
    /// How long any other error from Zoom is cached if a retry would not fix it.
    pub refusal: Duration,
    /// Decides whether a snapshot is served, refreshed or fetched.
    pub policy: CachePolicy,
}

impl CacheConfig {
    fn max_bodies(&self) -> u64 {
        self.max_bytes / BODIES_SHARE
    }

    fn max_views(&self) -> u64 {
        self.max_bytes / VIEWS_SHARE
    }

    fn max_entries(&self) -> u64 {
        self.max_bytes - self.max_bodies() - self.max_views()
    }
}

/// The cache; a handle that is cheap to clone and shared by all threads.
#[derive(Clone)]
pub struct Cache {
    entries: Entries,
    pub(crate) bodies: Bodies,
    pub(crate) views: Views,
    webinars: KnownWebinars,
    eviction: Arc<Eviction>,
    config: Arc<CacheConfig>,
}

impl Cache {
    /// Creates an empty cache.
    pub fn new(config: CacheConfig, metrics: &Arc<Metrics>) -> Self {
        let evicted = Arc::clone(metrics);
        let max_entries = config.max_entries();
        let entries: Entries = Moka::builder()
            .max_capacity(max_entries)
            .weigher(|_, entry: &Entry| u32::try_from(entry.memory_bytes()).unwrap_or(u32::MAX))
            // `eviction` evicts snapshots before moka would. moka evicts by itself if failures alone fill the cache.
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(ExpiryPolicy(config.policy))
            .eviction_listener(move |_, _, cause| {
                if cause == moka::notification::RemovalCause::Size {
                    evicted.cache_evictions.inc();
                }
            })
            .build_with_hasher(foldhash::fast::RandomState::default());
        Self {
            eviction: Arc::new(Eviction::new(entries.clone(), max_entries, Arc::clone(metrics))),
            entries,
            bodies: Bodies::new(config.max_bodies()),
            views: Views::new(config.max_views()),
            webinars: KnownWebinars::new(),
            config: Arc::new(config),
        }
    }

    pub(crate) fn policy(&self) -> CachePolicy {
        self.config.policy
    }

    /// Returns the newest entry of this meeting, if it can be served at `now`. A snapshot may be stale.
    pub fn get(&self, key: &SnapshotKey, now: Instant) -> Option<Entry> {
        self.entry(CacheKey::Newest(*key), now)
    }

    /// Returns the snapshot with this tag: the newest, or one that callers page through.
    pub(crate) fn snapshot(&self, key: &SnapshotKey, tag: Tag, now: Instant) -> Option<Arc<Snapshot>> {
        [CacheKey::Newest(*key), CacheKey::Older(*key, tag)].into_iter().find_map(|key| {
            match self.entry(key, now)? {
                Entry::Snapshot(snapshot) => Some(snapshot).filter(|snapshot| snapshot.tag == tag),
                Entry::Refusal(_) => None,
            }
        })
    }

    fn entry(&self, key: CacheKey, now: Instant) -> Option<Entry> {
        self.entries.get(&key).filter(|entry| entry.useful_until(self.config.policy) > now)
    }

    /// Caches a snapshot, unless it alone exceeds the bound. Returns it, and whether it is cached.
    ///
    /// Only one thread may call this. Two could lose an older snapshot that callers page through.
    #[must_use]
    pub fn insert(&self, snapshot: impl Into<Arc<Snapshot>>) -> (Arc<Snapshot>, bool) {
        let snapshot = snapshot.into();
        self.end_failure(&snapshot);
        self.webinars.remember(snapshot.key.meeting, snapshot.key.kind);
        let newest = CacheKey::Newest(snapshot.key);
        let replaced = match self.entries.get(&newest) {
            Some(Entry::Snapshot(replaced)) => Some(replaced),
            _ => None,
        };
        snapshot.requests.begin(replaced.as_deref().map(|replaced| &replaced.requests));
        let paged = replaced.as_ref().filter(|replaced| replaced.is_paged());
        let bytes = snapshot_bytes(&snapshot);
        let is_kept = bytes <= self.largest_entry();
        if is_kept {
            let freed = if paged.is_some() { 0 } else { replaced.as_deref().map_or(0, snapshot_bytes) };
            self.eviction.make_room(bytes.saturating_sub(freed), Some(&snapshot.key));
        }
        // Inserted before the new one, so that callers who page through the older one find it at every moment.
        if let Some(paged) = paged {
            self.insert_older(paged);
        }
        if is_kept {
            self.entries.insert(newest, Entry::Snapshot(Arc::clone(&snapshot)));
            self.eviction.add_newest(&snapshot);
        } else {
            self.entries.invalidate(&newest);
        }
        // moka updates its byte count only when its pending tasks run.
        self.entries.run_pending_tasks();
        (snapshot, is_kept)
    }

    /// Caches a snapshot beside the newest one, for callers who page through it, unless it alone exceeds the bound.
    pub(crate) fn insert_paged(&self, snapshot: &Arc<Snapshot>) {
        let bytes = snapshot_bytes(snapshot);
        if bytes <= self.largest_entry() {
            self.eviction.make_room(bytes, None);
            self.insert_older(snapshot);
            self.entries.run_pending_tasks();
        }
    }

    fn insert_older(&self, snapshot: &Arc<Snapshot>) {
        self.entries
            .insert(CacheKey::Older(snapshot.key, snapshot.tag), Entry::Snapshot(Arc::clone(snapshot)));
        self.eviction.add_older(snapshot);
    }

    /// Returns the size of the largest entry that may be cached, in bytes. moka would return a larger one until its next
    /// maintenance, and its weights are u32.
    fn largest_entry(&self) -> u64 {
        self.config.max_entries().min(u64::from(u32::MAX))
    }

    /// Removes the snapshots and failures under these keys, the remembered kinds of their ids, and all bodies and views
    /// made on demand. Returns for how many of the keys there was a newest entry or a failure.
    ///
    /// Too slow for the path of a request: it scans all entries, which takes a tenth of a second for a million.
    pub(crate) fn purge(&self, keys: &[SnapshotKey]) -> u64 {
        self.bodies.cached.clear();
        self.views.cached.clear();
        let older = self.entries.iter().map(|(key, _)| *key);
        let is_purged = |older: &CacheKey| matches!(older, CacheKey::Older(key, _) if keys.contains(key));
        for key in older.filter(is_purged).collect::<Vec<_>>() {
            self.entries.invalidate(&key);
        }
        let (mut found, now) = (0, Instant::now());
        for key in keys {
            self.webinars.purge(key.meeting, now);
            let failure = self.entries.remove(&CacheKey::Failure(*key));
            found += u64::from(self.entries.remove(&CacheKey::Newest(*key)).or(failure).is_some());
        }
        found
    }

    /// Removes everything. The next [`Cache::run_maintenance`] frees the memory.
    pub(crate) fn purge_all(&self) {
        // moka removes the entries inserted before the present tick of its clock. This waits for the next tick;
        // otherwise entries inserted within the present one would stay.
        let now = Instant::now();
        while Instant::now() == now {
            std::hint::spin_loop();
        }
        self.bodies.cached.clear();
        self.views.cached.clear();
        self.webinars.purge_all();
        self.entries.invalidate_all();
        self.eviction.clear();
    }

    /// Frees expired entries and updates the sizes, which moka by itself does only while requests arrive.
    pub fn run_maintenance(&self) {
        self.entries.run_pending_tasks();
        self.bodies.cached.run_pending_tasks();
        self.views.cached.run_pending_tasks();
        self.eviction.check_some();
    }

    /// Returns the number of entries, as of the last [`Cache::run_maintenance`]. Bodies and views made on demand do not
    /// count.
    pub fn entry_count(&self) -> u64 {
        self.entries.entry_count()
    }

    /// Returns the memory in bytes, as of the last [`Cache::run_maintenance`].
    pub(crate) fn bytes(&self) -> u64 {
        self.entries.weighted_size() + self.bodies.cached.weighted_size() + self.views.cached.weighted_size()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        failure::{Failure, Reason},
        meeting_id::MeetingId,
        snapshot::{FreshnessConfig, SnapshotBuilder, tests::live_meeting},
    };

    pub(super) const SECOND: Duration = Duration::from_secs(1);

    pub(crate) fn cache(max_bytes: u64) -> Cache {
        let policy = CachePolicy { while_revalidate: SECOND, if_error: 60 * SECOND, refresh_floor: SECOND };
        let config = CacheConfig {
            max_bytes,
            not_found_live: 10 * SECOND,
            not_found_past: 60 * SECOND,
            refusal: 30 * SECOND,
            policy,
        };
        Cache::new(config, &Arc::new(Metrics::default()))
    }

    pub(super) fn key(number: u64) -> SnapshotKey {
        let meeting = MeetingId::parse(&format!("{number:011}")).unwrap();
        SnapshotKey { meeting, ..live_meeting() }
    }

    /// Returns a snapshot of random bytes. They do not compress, and two encodings are stored.
    pub(super) fn snapshot_of(key: SnapshotKey, bytes: usize, live_fresh: Duration) -> Snapshot {
        let mut builder = SnapshotBuilder::default();
        builder.begin_page().extend(std::iter::repeat_with(|| fastrand::u8(..)).take(bytes));
        builder.end_page(&[], None);
        let config = FreshnessConfig::always(live_fresh);
        builder.finish(key, &config, Instant::now(), std::time::SystemTime::UNIX_EPOCH, 1.0, 0).unwrap()
    }

    #[test]
    fn a_snapshot_is_there_until_it_cannot_be_served_even_stale() {
        let cache = cache(1 << 20);
        assert!(cache.insert(snapshot_of(key(1), 10, 30 * SECOND)).1);
        let now = Instant::now();
        assert!(matches!(cache.get(&key(1), now), Some(Entry::Snapshot(_))));
        assert!(cache.get(&key(1), now + 89 * SECOND).is_some(), "stale, for when Zoom fails");
        assert!(cache.get(&key(1), now + 91 * SECOND).is_none());
        assert!(cache.get(&key(2), now).is_none());
    }

    #[test]
    fn a_longer_lived_snapshot_replaces_a_short_one_with_its_own_deadline() {
        let cache = cache(1 << 20);
        assert!(cache.insert(snapshot_of(key(1), 10, Duration::from_millis(1))).1);
        assert!(cache.insert(snapshot_of(key(1), 10, 3600 * SECOND)).1);
        cache.run_maintenance();
        assert!(cache.get(&key(1), Instant::now() + 60 * SECOND).is_some());
    }

    #[test]
    fn a_snapshot_larger_than_the_bound_is_not_cached() {
        let cache = cache(100_000);
        assert!(!cache.insert(snapshot_of(key(1), 50_000, 30 * SECOND)).1);
        assert!(cache.get(&key(1), Instant::now()).is_none());
    }

    #[test]
    fn new_meetings_evict_the_oldest_and_the_bound_holds() {
        let cache = cache(1_000_000);
        for number in 0..200 {
            assert!(cache.insert(snapshot_of(key(number), 5_000, 30 * SECOND)).1);
        }
        cache.run_maintenance();
        assert!(cache.bytes() <= 1_000_000);
        assert!(cache.entry_count() > 50, "{}", cache.entry_count());
        assert!(cache.get(&key(199), Instant::now()).is_some(), "the newest is kept");
        assert!(cache.get(&key(0), Instant::now()).is_none(), "the oldest is gone");
    }

    #[test]
    fn one_purged_entry_is_gone_at_once_and_the_others_stay() {
        let cache = cache(1 << 20);
        assert!(cache.insert(snapshot_of(key(1), 10, 30 * SECOND)).1);
        assert!(cache.insert(snapshot_of(key(2), 10, 30 * SECOND)).1);
        cache.insert_failure(key(3), &Failure::new(Reason::MeetingNotFound), Instant::now() + SECOND);
        for purged in [key(1), key(3)] {
            assert_eq!(cache.purge(&[purged]), 1);
            assert!(cache.get(&purged, Instant::now()).is_none());
            assert_eq!(cache.purge(&[purged]), 0, "nothing is left");
        }
        assert!(cache.get(&key(2), Instant::now()).is_some());
        assert!(cache.insert(snapshot_of(key(1), 10, 30 * SECOND)).1);
        assert!(cache.get(&key(1), Instant::now()).is_some());
    }

    #[test]
    fn a_full_purge_removes_what_came_before_it_and_nothing_after() {
        let cache = cache(1 << 30);
        // Repeated often enough that some inserts and purges happen within one tick of the clock.
        for round in 0..2_000 {
            assert!(cache.insert(snapshot_of(key(round), 10, 30 * SECOND)).1);
            assert!(cache.insert(snapshot_of(key(1), 10, 30 * SECOND)).1);
            cache.purge_all();
            assert!(cache.get(&key(round), Instant::now()).is_none(), "{round}");
            assert!(cache.get(&key(1), Instant::now()).is_none(), "{round}");
            assert!(cache.insert(snapshot_of(key(1), 11, 30 * SECOND)).1);
            assert!(cache.get(&key(1), Instant::now()).is_some(), "{round}");
            if round % 100 == 0 {
                cache.run_maintenance();
                assert!(cache.get(&key(1), Instant::now()).is_some(), "{round}");
            }
        }
        cache.run_maintenance();
        assert_eq!(cache.entry_count(), 1, "the purged entries are freed");
    }

    #[test]
    fn a_meeting_that_zoom_no_longer_knows_ends_its_snapshot() {
        let cache = cache(1 << 20);
        assert!(cache.insert(snapshot_of(key(1), 10, 30 * SECOND)).1);
        cache.insert_failure(key(1), &Failure::new(Reason::MeetingNotFound), Instant::now() + SECOND);
        assert!(matches!(cache.get(&key(1), Instant::now()), Some(Entry::Refusal(_))));
    }

    #[test]
    fn a_paged_snapshot_is_kept_beside_the_newer_one() {
        let cache = cache(1 << 20);
        let (first, _) = cache.insert(snapshot_of(key(1), 10, 30 * SECOND));
        let (second, _) = cache.insert(snapshot_of(key(1), 10, 30 * SECOND));
        second.mark_paged();
        let (third, _) = cache.insert(snapshot_of(key(1), 10, 30 * SECOND));
        let now = Instant::now();
        let found = |tag: Tag| cache.snapshot(&key(1), tag, now).map(|snapshot| snapshot.tag);
        assert_eq!(found(first.tag), None, "not paged");
        assert_eq!(found(second.tag), Some(second.tag));
        assert_eq!(found(third.tag), Some(third.tag));
        assert_eq!(cache.snapshot(&key(2), second.tag, now).map(|other| other.tag), None);
        assert!(matches!(cache.get(&key(1), now), Some(Entry::Snapshot(newest)) if newest.tag == third.tag));
        assert_eq!(cache.purge(&[key(1)]), 1);
        for snapshot in [second, third] {
            assert!(cache.snapshot(&key(1), snapshot.tag, now).is_none(), "older ones are purged too");
        }
    }
}
