//! What is remembered: snapshots, and those refusals of Zoom that will not change in a moment. Bounded by bytes.
//!
//! A snapshot is kept in its codings; its body as it is only while somebody asks for it, in a small part of the memory.
//! One that somebody pages through is kept beside the newer one that took its place.
//!
//! A look-up takes no lock of ours and parses nothing. Whether an entry is fresh is decided by the reader, from its own
//! clock; moka only frees what nobody can use any more.

mod failures;
pub mod policy;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use moka::{Expiry, policy::EvictionPolicy, sync::Cache as Moka};

pub use self::{
    failures::FAILURE_PAUSE,
    policy::{CachePolicy, ends_snapshot},
};
use crate::{
    failure::Failure,
    metrics::Metrics,
    snapshot::{Coding, Snapshot, SnapshotKey, Tag},
};

/// moka's own bookkeeping for one entry with an expiry and a weigher, measured at 291 bytes, and the key.
const BOOKKEEPING: usize = 320 + size_of::<Place>();
/// A snapshot of more than this part of the memory has room made for it at once: a hundredth.
const LARGE_SHARE: u64 = 100;
/// The part of the memory for bodies as they are: a sixteenth.
const PLAIN_SHARE: u64 = 16;
/// So long after its last slice was asked for, an older snapshot is still there for the next one. Every first slice gives a
/// token away, and most of those are never used.
pub const PAGED_FOR: Duration = Duration::from_secs(300);
/// Nobody asked for it so long: the next one to do so waits while it is unpacked, a third of a millisecond a megabyte.
const PLAIN_IDLE: Duration = Duration::from_secs(10);

/// How much is remembered, and for how long Zoom's refusals are.
pub struct CacheConfig {
    /// Bound on the memory of everything cached, in bytes.
    pub max_bytes: u64,
    /// How long "no such live meeting" is remembered.
    pub not_found_live: Duration,
    /// How long "no such past meeting" is remembered.
    pub not_found_past: Duration,
    /// How long any other refusal is remembered that another call would only repeat.
    pub refusal: Duration,
    /// When a snapshot is served, refreshed or fetched.
    pub policy: CachePolicy,
}

impl CacheConfig {
    fn for_plain(&self) -> u64 {
        self.max_bytes / PLAIN_SHARE
    }

    fn for_entries(&self) -> u64 {
        self.max_bytes - self.for_plain()
    }
}

/// One remembered answer. Cloning it copies a pointer.
#[derive(Clone)]
pub enum Entry {
    /// A whole meeting.
    Snapshot(Arc<Snapshot>),
    /// Zoom's word that there is none.
    Refusal(Arc<Refusal>),
}

/// A refusal and how long it is good for.
pub struct Refusal {
    /// What callers are told.
    pub failure: Failure,
    /// From when on Zoom is asked again.
    pub until: Instant,
}

impl Entry {
    fn weight(&self) -> usize {
        BOOKKEEPING
            + match self {
                Self::Snapshot(snapshot) => snapshot.weight(),
                Self::Refusal(_) => size_of::<Refusal>() + 512,
            }
    }

    fn is_paged(&self) -> bool {
        matches!(self, Self::Snapshot(snapshot) if snapshot.is_paged())
    }

    /// From then on nobody can use it, not even stale.
    fn good_until(&self, policy: CachePolicy) -> Instant {
        match self {
            Self::Snapshot(snapshot) => snapshot.landed + policy.useful_for(snapshot),
            Self::Refusal(refusal) => refusal.until,
        }
    }
}

/// Where an entry is kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    key: SnapshotKey,
    slot: Slot,
}

/// Which of the entries that a meeting may have beside each other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Slot {
    /// The newest snapshot, or Zoom's word that there is none.
    Newest,
    /// An older snapshot.
    Older(Tag),
    /// A failure that leaves the snapshots in place: see [`failures`].
    Failure,
}

impl Place {
    fn newest(key: SnapshotKey) -> Self {
        Self { key, slot: Slot::Newest }
    }

    fn older(key: SnapshotKey, tag: Tag) -> Self {
        Self { key, slot: Slot::Older(tag) }
    }

    fn is_older(&self) -> bool {
        matches!(self.slot, Slot::Older(_))
    }
}

/// The cache; a handle that is cheap to clone and shared by all threads.
#[derive(Clone)]
pub struct Cache {
    entries: Moka<Place, Entry, foldhash::fast::RandomState>,
    /// Bodies that are made of those kept: as they are, and small ones as zstd.
    plain: Moka<(Tag, Coding), Bytes, foldhash::fast::RandomState>,
    /// Bytes of all bodies as they are that anybody holds, the cache or an answer.
    plain_in_use: Arc<AtomicU64>,
    config: Arc<CacheConfig>,
}

impl Cache {
    /// An empty cache.
    #[must_use]
    pub fn new(config: CacheConfig, metrics: &Arc<Metrics>) -> Self {
        let metrics = Arc::clone(metrics);
        let entries = Moka::builder()
            .max_capacity(config.for_entries())
            .weigher(|_, entry: &Entry| u32::try_from(entry.weight()).unwrap_or(u32::MAX))
            // A new meeting is a wanted one: TinyLFU would refuse it while old favourites fill the cache.
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(UntilOfNoUse(config.policy))
            .eviction_listener(move |_, _, cause| {
                if cause == moka::notification::RemovalCause::Size {
                    metrics.cache_evictions.inc();
                }
            })
            .build_with_hasher(foldhash::fast::RandomState::default());
        let plain = Moka::builder()
            .max_capacity(config.for_plain())
            .weigher(|_, body: &Bytes| u32::try_from(BOOKKEEPING + body.len()).unwrap_or(u32::MAX))
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(PLAIN_IDLE)
            .build_with_hasher(foldhash::fast::RandomState::default());
        Self { entries, plain, plain_in_use: Arc::default(), config: Arc::new(config) }
    }

    /// The rule by which snapshots are served, refreshed and fetched.
    #[must_use]
    pub fn policy(&self) -> CachePolicy {
        self.config.policy
    }

    /// What is remembered of this meeting and still of use at `now`; a snapshot may be stale.
    #[must_use]
    pub fn get(&self, key: &SnapshotKey, now: Instant) -> Option<Entry> {
        self.entry(Place::newest(*key), now)
    }

    /// This snapshot of the meeting, be it the newest or one that somebody pages through.
    #[must_use]
    pub fn snapshot(&self, key: &SnapshotKey, tag: Tag, now: Instant) -> Option<Arc<Snapshot>> {
        [Place::newest(*key), Place::older(*key, tag)].into_iter().find_map(|place| {
            match self.entry(place, now)? {
                Entry::Snapshot(snapshot) => Some(snapshot).filter(|snapshot| snapshot.tag == tag),
                Entry::Refusal(_) => None,
            }
        })
    }

    fn entry(&self, place: Place, now: Instant) -> Option<Entry> {
        self.entries.get(&place).filter(|entry| entry.good_until(self.config.policy) > now)
    }

    /// Remembers a snapshot. With `false`: it alone is larger than the bound, and was not kept.
    ///
    /// From one thread only, or an older one that is paged through could be lost.
    #[must_use]
    pub fn insert(&self, snapshot: impl Into<Arc<Snapshot>>) -> (Arc<Snapshot>, bool) {
        let snapshot = snapshot.into();
        let newest = Place::newest(snapshot.key);
        // First the place of the older one: who pages through it must find it at every moment.
        if let Some(Entry::Snapshot(replaced)) = self.entries.get(&newest).filter(Entry::is_paged) {
            self.keep_paged(&replaced);
        }
        let entry = Entry::Snapshot(Arc::clone(&snapshot));
        // moka shows an overweight entry until its next maintenance: it must not go in at all. It also counts in u32.
        let bound = self.config.for_entries().min(u64::from(u32::MAX));
        let is_kept = u64::try_from(entry.weight()).is_ok_and(|weight| weight <= bound);
        if is_kept {
            let is_large = u64::try_from(entry.weight()).is_ok_and(|weight| weight > bound / LARGE_SHARE);
            self.entries.insert(newest, entry);
            if is_large {
                // Not only at the next tidying: until then, the cache would take that much more than its bound.
                self.entries.run_pending_tasks();
            }
        } else {
            self.entries.invalidate(&newest);
        }
        (snapshot, is_kept)
    }

    /// Remembers a snapshot for those who page through it, beside the newest.
    pub fn keep_paged(&self, snapshot: &Arc<Snapshot>) {
        let place = Place::older(snapshot.key, snapshot.tag);
        self.entries.insert(place, Entry::Snapshot(Arc::clone(snapshot)));
    }

    /// The most bytes that a body may have to be kept as it is.
    #[must_use]
    pub fn plain_at_most(&self) -> usize {
        usize::try_from(self.config.for_plain() / 2).unwrap_or(usize::MAX)
    }

    /// The body of this snapshot as it is, if it is at hand.
    #[must_use]
    pub fn plain(&self, snapshot: &Snapshot) -> Option<Bytes> {
        snapshot.body(Coding::Identity).or_else(|| self.plain.get(&(snapshot.tag, Coding::Identity)))
    }

    /// The body of this snapshot as it is, unpacked if need be; once, however many threads ask for it. Blocks while
    /// it is unpacked. `None` when that would take too much memory: slow readers hold bodies that the cache let go.
    #[must_use]
    pub fn unpacked(&self, snapshot: &Snapshot) -> Option<Bytes> {
        let in_use = self.plain_in_use.load(Ordering::Relaxed);
        if in_use.saturating_add(snapshot.length) > self.config.for_plain().saturating_mul(2) {
            return None;
        }
        let unpack = || Some(InUse::count(snapshot.unpack().ok()?, &self.plain_in_use));
        self.plain.optionally_get_with((snapshot.tag, Coding::Identity), unpack)
    }

    /// The body of this snapshot as zstd, made anew if need be: only of a small one, which is kept as gzip alone. Blocks
    /// while it is made, some tenths of a millisecond.
    #[must_use]
    pub fn zstd(&self, snapshot: &Snapshot) -> Option<Bytes> {
        self.plain.optionally_get_with((snapshot.tag, Coding::Zstd), || Some(snapshot.zstd().ok()?.into()))
    }

    /// For how long after its landing a snapshot is of use, the last part of it only stale.
    #[must_use]
    pub fn of_use_for(&self, snapshot: &Snapshot) -> Duration {
        self.config.policy.useful_for(snapshot)
    }

    /// Forgets a meeting's snapshots, the refusal and the failure. Whether there was one.
    ///
    /// Looks at every entry, which takes a tenth of a second for a million: not for the path of a request.
    #[must_use]
    pub fn purge(&self, key: &SnapshotKey) -> bool {
        self.plain.invalidate_all();
        let older = self.entries.iter().map(|(place, _)| *place);
        let older: Vec<_> = older.filter(|place| place.key == *key && place.is_older()).collect();
        for place in older {
            self.entries.invalidate(&place);
        }
        let failure = self.entries.remove(&Place { key: *key, slot: Slot::Failure });
        self.entries.remove(&Place::newest(*key)).or(failure).is_some()
    }

    /// Forgets everything. The next [`Cache::tidy`] frees the memory.
    pub fn purge_all(&self) {
        // moka hides what was inserted before the present instant of its clock, but not in it.
        let now = Instant::now();
        while Instant::now() == now {
            std::hint::spin_loop();
        }
        self.plain.invalidate_all();
        self.entries.invalidate_all();
    }

    /// Frees what has expired and makes the sizes true; moka would do so only as callers come by.
    pub fn tidy(&self) {
        self.entries.run_pending_tasks();
        self.plain.run_pending_tasks();
    }

    /// Entries (bodies as they are do not count), as of the last [`Cache::tidy`].
    #[must_use]
    pub fn entry_count(&self) -> u64 {
        self.entries.entry_count()
    }

    /// Bytes, as of the last [`Cache::tidy`].
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries.weighted_size() + self.plain.weighted_size()
    }
}

/// A body as it is, which counts for as long as anybody holds it.
struct InUse {
    body: Vec<u8>,
    counted: Arc<AtomicU64>,
}

impl InUse {
    fn count(body: Vec<u8>, in_use: &Arc<AtomicU64>) -> Bytes {
        let counted = Arc::clone(in_use);
        let body = Self { body, counted };
        body.counted.fetch_add(body.length(), Ordering::Relaxed);
        Bytes::from_owner(body)
    }

    fn length(&self) -> u64 {
        u64::try_from(self.body.len()).unwrap_or(u64::MAX)
    }
}

impl AsRef<[u8]> for InUse {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.counted.fetch_sub(self.length(), Ordering::Relaxed);
    }
}

/// Both methods are needed: moka's default keeps the old deadline when an entry is replaced.
struct UntilOfNoUse(CachePolicy);

impl UntilOfNoUse {
    fn left(&self, place: &Place, entry: &Entry, now: Instant) -> Duration {
        let left = entry.good_until(self.0).saturating_duration_since(now);
        if place.is_older() { left.min(PAGED_FOR) } else { left }
    }
}

impl Expiry<Place, Entry> for UntilOfNoUse {
    fn expire_after_create(&self, place: &Place, entry: &Entry, now: Instant) -> Option<Duration> {
        Some(self.left(place, entry, now))
    }

    fn expire_after_read(
        &self,
        place: &Place,
        entry: &Entry,
        now: Instant,
        left: Option<Duration>,
        _: Instant,
    ) -> Option<Duration> {
        if place.is_older() { Some(self.left(place, entry, now)) } else { left }
    }

    fn expire_after_update(
        &self,
        place: &Place,
        entry: &Entry,
        now: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(self.left(place, entry, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        failure::Reason,
        meeting_id::MeetingId,
        snapshot::{Draft, FreshnessConfig, MeetingType},
    };

    pub(super) const SECOND: Duration = Duration::from_secs(1);

    pub(super) fn cache(max_bytes: u64) -> Cache {
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
        SnapshotKey { meeting, meeting_type: MeetingType::Live }
    }

    /// Of bytes that do not compress: it weighs twice as much.
    pub(super) fn sealed(key: SnapshotKey, bytes: usize, live_fresh: Duration) -> Snapshot {
        let mut draft = Draft::default();
        draft.begin_page().extend(std::iter::repeat_with(|| fastrand::u8(..)).take(bytes));
        draft.end_page(&[], None).unwrap();
        let config = FreshnessConfig::always(live_fresh);
        draft.seal(key, &config, Instant::now(), std::time::SystemTime::UNIX_EPOCH, 1.0, 0).unwrap()
    }

    #[test]
    fn a_snapshot_is_there_until_it_is_of_no_use_even_stale() {
        let cache = cache(1 << 20);
        assert!(cache.insert(sealed(key(1), 10, 30 * SECOND)).1);
        let now = Instant::now();
        assert!(matches!(cache.get(&key(1), now), Some(Entry::Snapshot(_))));
        assert!(cache.get(&key(1), now + 89 * SECOND).is_some(), "stale, for when Zoom fails");
        assert!(cache.get(&key(1), now + 91 * SECOND).is_none());
        assert!(cache.get(&key(2), now).is_none());
    }

    #[test]
    fn a_longer_lived_snapshot_replaces_a_short_one_with_its_own_deadline() {
        let cache = cache(1 << 20);
        assert!(cache.insert(sealed(key(1), 10, Duration::from_millis(1))).1);
        assert!(cache.insert(sealed(key(1), 10, 3600 * SECOND)).1);
        cache.tidy();
        assert!(cache.get(&key(1), Instant::now() + 60 * SECOND).is_some());
    }

    #[test]
    fn what_is_larger_than_the_bound_is_not_kept() {
        let cache = cache(100_000);
        assert!(!cache.insert(sealed(key(1), 50_000, 30 * SECOND)).1);
        assert!(cache.get(&key(1), Instant::now()).is_none());
    }

    #[test]
    fn new_meetings_push_out_the_oldest_and_the_bound_holds() {
        let cache = cache(1_000_000);
        for number in 0..200 {
            assert!(cache.insert(sealed(key(number), 5_000, 30 * SECOND)).1);
        }
        cache.tidy();
        assert!(cache.bytes() <= 1_000_000);
        assert!(cache.entry_count() > 50, "{}", cache.entry_count());
        assert!(cache.get(&key(199), Instant::now()).is_some(), "the newest is kept");
        assert!(cache.get(&key(0), Instant::now()).is_none(), "the oldest is gone");
    }

    #[test]
    fn one_purged_entry_is_gone_at_once_and_the_others_stay() {
        let cache = cache(1 << 20);
        assert!(cache.insert(sealed(key(1), 10, 30 * SECOND)).1);
        assert!(cache.insert(sealed(key(2), 10, 30 * SECOND)).1);
        cache.remember(key(3), &Failure::new(Reason::MeetingNotFound), Instant::now() + SECOND);
        for purged in [key(1), key(3)] {
            assert!(cache.purge(&purged));
            assert!(cache.get(&purged, Instant::now()).is_none());
            assert!(!cache.purge(&purged), "there is nothing left");
        }
        assert!(cache.get(&key(2), Instant::now()).is_some());
        assert!(cache.insert(sealed(key(1), 10, 30 * SECOND)).1);
        assert!(cache.get(&key(1), Instant::now()).is_some());
    }

    #[test]
    fn whatever_comes_right_before_a_purge_of_everything_is_gone_and_what_comes_right_after_is_there() {
        let cache = cache(1 << 30);
        // Often enough to meet one tick of the clock twice, if that can be.
        for round in 0..2_000 {
            assert!(cache.insert(sealed(key(round), 10, 30 * SECOND)).1);
            assert!(cache.insert(sealed(key(1), 10, 30 * SECOND)).1);
            cache.purge_all();
            assert!(cache.get(&key(round), Instant::now()).is_none(), "{round}");
            assert!(cache.get(&key(1), Instant::now()).is_none(), "{round}");
            assert!(cache.insert(sealed(key(1), 11, 30 * SECOND)).1);
            assert!(cache.get(&key(1), Instant::now()).is_some(), "{round}");
            if round % 100 == 0 {
                cache.tidy();
                assert!(cache.get(&key(1), Instant::now()).is_some(), "{round}");
            }
        }
        cache.tidy();
        assert_eq!(cache.entry_count(), 1, "what was purged is freed");
    }

    #[test]
    fn a_meeting_that_zoom_no_longer_knows_ends_its_snapshot() {
        let cache = cache(1 << 20);
        assert!(cache.insert(sealed(key(1), 10, 30 * SECOND)).1);
        cache.remember(key(1), &Failure::new(Reason::MeetingNotFound), Instant::now() + SECOND);
        assert!(matches!(cache.get(&key(1), Instant::now()), Some(Entry::Refusal(_))));
    }

    #[test]
    fn a_snapshot_that_is_paged_through_is_kept_beside_the_newer_one() {
        let cache = cache(1 << 20);
        let (first, _) = cache.insert(sealed(key(1), 10, 30 * SECOND));
        let (second, _) = cache.insert(sealed(key(1), 10, 30 * SECOND));
        second.note_paged();
        let (third, _) = cache.insert(sealed(key(1), 10, 30 * SECOND));
        let now = Instant::now();
        let found = |tag: Tag| cache.snapshot(&key(1), tag, now).map(|snapshot| snapshot.tag);
        assert_eq!(found(first.tag), None, "nobody paged through it");
        assert_eq!(found(second.tag), Some(second.tag));
        assert_eq!(found(third.tag), Some(third.tag));
        assert_eq!(cache.snapshot(&key(2), second.tag, now).map(|other| other.tag), None);
        assert!(matches!(cache.get(&key(1), now), Some(Entry::Snapshot(newest)) if newest.tag == third.tag));
        assert!(cache.purge(&key(1)));
        for snapshot in [second, third] {
            assert!(cache.snapshot(&key(1), snapshot.tag, now).is_none(), "older ones are purged, too");
        }
    }

    #[test]
    fn a_body_as_it_is_takes_a_sixteenth_of_the_memory_at_most_and_is_unpacked_again() {
        let cache = cache(1_600_000);
        assert_eq!(cache.plain_at_most(), 50_000);
        let snapshots: Vec<_> =
            (0..10).map(|number| cache.insert(sealed(key(number), 20_000, 30 * SECOND)).0).collect();
        for snapshot in &snapshots {
            assert!(cache.plain(snapshot).is_none(), "nobody asked for it yet");
            unpacked_soon(&cache, snapshot);
            cache.tidy();
        }
        let at_hand = snapshots.iter().filter(|snapshot| cache.plain(snapshot).is_some()).count();
        assert!((1..=4).contains(&at_hand), "{at_hand}");
        for snapshot in &snapshots {
            let unpacked = unpacked_soon(&cache, snapshot);
            assert_eq!(u64::try_from(unpacked.len()).unwrap(), snapshot.length);
            cache.tidy();
        }
        cache.tidy();
        assert!(cache.bytes() <= 1_600_000);
    }

    /// The body, where nobody holds others. moka lets go of what it has evicted only when other threads, such as those of
    /// other tests, are done with their look-ups.
    fn unpacked_soon(cache: &Cache, snapshot: &Arc<Snapshot>) -> Bytes {
        let look = |_| {
            cache.tidy();
            cache.unpacked(snapshot).or_else(|| {
                std::thread::park_timeout(Duration::from_millis(10));
                None
            })
        };
        (0..1_000).find_map(look).expect("there is room for it")
    }

    #[test]
    fn bodies_that_slow_readers_hold_count_until_they_let_go() {
        let cache = cache(1_600_000);
        let snapshots: Vec<_> =
            (0..20).map(|number| cache.insert(sealed(key(number), 20_000, 30 * SECOND)).0).collect();
        let held: Vec<_> = snapshots
            .iter()
            .filter_map(|snapshot| {
                let body = cache.unpacked(snapshot);
                cache.tidy();
                body
            })
            .collect();
        // Twice a sixteenth is 200,000 bytes.
        assert!((8..=10).contains(&held.len()), "{}", held.len());
        drop(held);
        cache.purge_all();
        unpacked_soon(&cache, &snapshots[0]);
    }
}
