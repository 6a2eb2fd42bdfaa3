//! What is remembered: snapshots, and those refusals of Zoom that will not change in a moment. Bounded by bytes.
//!
//! A look-up takes no lock of ours and parses nothing. Whether an entry is fresh is decided by the reader, from its own
//! clock; moka only frees what nobody can use any more.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use moka::{Expiry, policy::EvictionPolicy, sync::Cache as Moka};

use crate::{
    failure::{Failure, Reason},
    metrics::Metrics,
    snapshot::{MeetingType, Snapshot, SnapshotKey},
};

/// moka's own bookkeeping for one entry with an expiry and a weigher, measured at 291 bytes, and the key.
const BOOKKEEPING: usize = 320 + size_of::<SnapshotKey>();

/// How much is remembered, and for how long Zoom's refusals are.
pub struct CacheConfig {
    /// Bound on the memory of everything cached, in bytes.
    pub max_bytes: u64,
    /// How long "no such live meeting" is remembered.
    pub not_found_live: Duration,
    /// How long "no such past meeting", and what will never change, is remembered.
    pub not_found_past: Duration,
    /// When a snapshot serves that is not fresh.
    pub stale: StaleConfig,
}

/// When a snapshot serves that is not fresh, and when a fresh one serves though a caller wants a newer.
#[derive(Debug, Clone, Copy)]
pub struct StaleConfig {
    /// Past freshness: answered at once, and fetched anew in the background.
    pub while_revalidate: Duration,
    /// Past freshness: answered where Zoom fails, refuses or may not be asked.
    pub if_error: Duration,
    /// A caller cannot force a fetch more often than this.
    pub refresh_floor: Duration,
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

    /// From then on nobody can use it, not even stale.
    fn good_until(&self, stale: StaleConfig) -> Instant {
        match self {
            Self::Snapshot(snapshot) => {
                snapshot.landed + snapshot.fresh_for + stale.while_revalidate.max(stale.if_error)
            }
            Self::Refusal(refusal) => refusal.until,
        }
    }
}

/// The cache; a handle that is cheap to clone and shared by all threads.
#[derive(Clone)]
pub struct Cache {
    entries: Moka<SnapshotKey, Entry, foldhash::fast::RandomState>,
    config: Arc<CacheConfig>,
}

impl Cache {
    /// An empty cache.
    #[must_use]
    pub fn new(config: CacheConfig, metrics: &Arc<Metrics>) -> Self {
        let metrics = Arc::clone(metrics);
        let entries = Moka::builder()
            .max_capacity(config.max_bytes)
            .weigher(|_, entry: &Entry| u32::try_from(entry.weight()).unwrap_or(u32::MAX))
            // A new meeting is a wanted one: TinyLFU would refuse it while old favourites fill the cache.
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(UntilOfNoUse(config.stale))
            .eviction_listener(move |_, _, cause| {
                if cause == moka::notification::RemovalCause::Size {
                    metrics.cache_evictions.inc();
                }
            })
            .build_with_hasher(foldhash::fast::RandomState::default());
        Self { entries, config: Arc::new(config) }
    }

    /// When a snapshot serves that is not fresh.
    #[must_use]
    pub fn stale(&self) -> StaleConfig {
        self.config.stale
    }

    /// What is remembered of this meeting and still of use at `now`; a snapshot may be stale.
    #[must_use]
    pub fn get(&self, key: &SnapshotKey, now: Instant) -> Option<Entry> {
        self.entries.get(key).filter(|entry| entry.good_until(self.config.stale) > now)
    }

    /// Remembers a snapshot. `false`: it alone is larger than the bound, and was not kept.
    #[must_use]
    pub fn insert(&self, key: SnapshotKey, snapshot: Arc<Snapshot>) -> bool {
        let entry = Entry::Snapshot(snapshot);
        // moka shows an overweight entry until its next maintenance: it must not go in at all. It also counts in u32.
        let bound = self.config.max_bytes.min(u64::from(u32::MAX));
        if u64::try_from(entry.weight()).unwrap_or(u64::MAX) > bound {
            self.entries.invalidate(&key);
            return false;
        }
        self.entries.insert(key, entry);
        true
    }

    /// Remembers a failure, if it is of a kind that will still hold in a moment: never a rate limit, a timeout or a
    /// server error. Zoom's word that there is no such meeting also ends a snapshot kept of it.
    pub fn remember(&self, key: SnapshotKey, failure: &Failure, now: Instant) {
        let keep_for = match (failure.reason, key.meeting_type) {
            // Seen for live meetings in their first two minutes: asked again soon.
            (Reason::MeetingNotFound, MeetingType::Live) => self.config.not_found_live,
            (Reason::MeetingNotFound, MeetingType::Past)
            | (Reason::NotAMeeting | Reason::MeetingTooOld, _) => self.config.not_found_past,
            _ => return,
        };
        let refusal = Refusal { failure: failure.clone(), until: now + keep_for };
        self.entries.insert(key, Entry::Refusal(Arc::new(refusal)));
    }

    /// Forgets a snapshot or a refusal. Whether there was one.
    #[must_use]
    pub fn purge(&self, key: &SnapshotKey) -> bool {
        self.entries.remove(key).is_some()
    }

    /// Forgets everything. The next [`Cache::tidy`] frees the memory.
    pub fn purge_all(&self) {
        // moka hides what was inserted before the present instant of its clock, but not in it.
        let now = Instant::now();
        while Instant::now() == now {
            std::hint::spin_loop();
        }
        self.entries.invalidate_all();
    }

    /// Frees what has expired and makes the sizes true; moka would do so only as callers come by.
    pub fn tidy(&self) {
        self.entries.run_pending_tasks();
    }

    /// Entries, as of the last [`Cache::tidy`].
    #[must_use]
    pub fn entry_count(&self) -> u64 {
        self.entries.entry_count()
    }

    /// Bytes, as of the last [`Cache::tidy`].
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.entries.weighted_size()
    }
}

/// Both methods are needed: moka's default keeps the old deadline when an entry is replaced.
struct UntilOfNoUse(StaleConfig);

impl Expiry<SnapshotKey, Entry> for UntilOfNoUse {
    fn expire_after_create(&self, _: &SnapshotKey, entry: &Entry, now: Instant) -> Option<Duration> {
        Some(entry.good_until(self.0).saturating_duration_since(now))
    }

    fn expire_after_update(
        &self,
        _: &SnapshotKey,
        entry: &Entry,
        now: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.good_until(self.0).saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        meeting_id::MeetingId,
        snapshot::{Draft, FreshnessConfig},
    };

    const SECOND: Duration = Duration::from_secs(1);

    fn cache(max_bytes: u64) -> Cache {
        let stale = StaleConfig { while_revalidate: SECOND, if_error: 60 * SECOND, refresh_floor: SECOND };
        let config =
            CacheConfig { max_bytes, not_found_live: 10 * SECOND, not_found_past: 60 * SECOND, stale };
        Cache::new(config, &Arc::new(Metrics::default()))
    }

    fn key(number: u64) -> SnapshotKey {
        let meeting = MeetingId::parse(&format!("{number:011}")).unwrap();
        SnapshotKey { meeting, meeting_type: MeetingType::Live }
    }

    fn snapshot(key: SnapshotKey, bytes: usize, live_fresh: Duration) -> Arc<Snapshot> {
        let mut draft = Draft::default();
        draft.begin_page().resize(bytes, b' ');
        draft.end_page(0, 0, None);
        let config = FreshnessConfig {
            live_fresh,
            empty_live_fresh: live_fresh,
            past_fresh: SECOND,
            past_by_number_fresh: SECOND,
            settle: SECOND,
        };
        Arc::new(draft.seal(key, &config, Instant::now(), std::time::SystemTime::UNIX_EPOCH, 0))
    }

    #[test]
    fn a_snapshot_is_there_until_it_is_of_no_use_even_stale() {
        let cache = cache(1 << 20);
        assert!(cache.insert(key(1), snapshot(key(1), 10, 30 * SECOND)));
        let now = Instant::now();
        assert!(matches!(cache.get(&key(1), now), Some(Entry::Snapshot(_))));
        assert!(cache.get(&key(1), now + 89 * SECOND).is_some(), "stale, for when Zoom fails");
        assert!(cache.get(&key(1), now + 91 * SECOND).is_none());
        assert!(cache.get(&key(2), now).is_none());
    }

    #[test]
    fn a_longer_lived_snapshot_replaces_a_short_one_with_its_own_deadline() {
        let cache = cache(1 << 20);
        assert!(cache.insert(key(1), snapshot(key(1), 10, Duration::from_millis(1))));
        assert!(cache.insert(key(1), snapshot(key(1), 10, 3600 * SECOND)));
        cache.tidy();
        assert!(cache.get(&key(1), Instant::now() + 60 * SECOND).is_some());
    }

    #[test]
    fn what_is_larger_than_the_bound_is_not_kept() {
        let cache = cache(100_000);
        assert!(!cache.insert(key(1), snapshot(key(1), 100_000, 30 * SECOND)));
        assert!(cache.get(&key(1), Instant::now()).is_none());
    }

    #[test]
    fn new_meetings_push_out_the_oldest_and_the_bound_holds() {
        let cache = cache(1_000_000);
        for number in 0..200 {
            assert!(cache.insert(key(number), snapshot(key(number), 10_000, 30 * SECOND)));
        }
        cache.tidy();
        assert!(cache.bytes() <= 1_000_000);
        assert!(cache.entry_count() > 50, "{}", cache.entry_count());
        assert!(cache.get(&key(199), Instant::now()).is_some(), "the newest is kept");
        assert!(cache.get(&key(0), Instant::now()).is_none(), "the oldest is gone");
    }

    #[test]
    fn a_missing_meeting_is_remembered_and_a_server_error_is_not() {
        let cache = cache(1 << 20);
        let now = Instant::now();
        cache.remember(key(1), &Failure::new(Reason::MeetingNotFound), now);
        cache.remember(key(2), &Failure::new(Reason::ZoomFailed), now);
        cache.remember(key(3), &Failure::new(Reason::ZoomRateLimited), now);
        assert!(matches!(cache.get(&key(1), now + 9 * SECOND), Some(Entry::Refusal(_))));
        assert!(cache.get(&key(1), now + 10 * SECOND).is_none());
        assert!(cache.get(&key(2), now).is_none());
        assert!(cache.get(&key(3), now).is_none());
    }

    #[test]
    fn one_purged_entry_is_gone_at_once_and_the_others_stay() {
        let cache = cache(1 << 20);
        assert!(cache.insert(key(1), snapshot(key(1), 10, 30 * SECOND)));
        assert!(cache.insert(key(2), snapshot(key(2), 10, 30 * SECOND)));
        cache.remember(key(3), &Failure::new(Reason::MeetingNotFound), Instant::now());
        for purged in [key(1), key(3)] {
            assert!(cache.purge(&purged));
            assert!(cache.get(&purged, Instant::now()).is_none());
            assert!(!cache.purge(&purged), "there is nothing left");
        }
        assert!(cache.get(&key(2), Instant::now()).is_some());
        assert!(cache.insert(key(1), snapshot(key(1), 10, 30 * SECOND)));
        assert!(cache.get(&key(1), Instant::now()).is_some());
    }

    #[test]
    fn whatever_comes_right_before_a_purge_of_everything_is_gone_and_what_comes_right_after_is_there() {
        let cache = cache(1 << 30);
        let (before, after) = (snapshot(key(1), 10, 30 * SECOND), snapshot(key(1), 11, 30 * SECOND));
        // Often enough to meet one tick of the clock twice, if that can be.
        for round in 0..20_000 {
            assert!(cache.insert(key(round), Arc::clone(&before)));
            assert!(cache.insert(key(1), Arc::clone(&before)));
            cache.purge_all();
            assert!(cache.get(&key(round), Instant::now()).is_none(), "{round}");
            assert!(cache.get(&key(1), Instant::now()).is_none(), "{round}");
            assert!(cache.insert(key(1), Arc::clone(&after)));
            assert!(cache.get(&key(1), Instant::now()).is_some(), "{round}");
            if round % 1_000 == 0 {
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
        assert!(cache.insert(key(1), snapshot(key(1), 10, 30 * SECOND)));
        cache.remember(key(1), &Failure::new(Reason::MeetingNotFound), Instant::now());
        assert!(matches!(cache.get(&key(1), Instant::now()), Some(Entry::Refusal(_))));
    }
}
