//! Hit ratios of the service's cache when it is full, and of other policies for the same requests.
//!
//! 10,000 meetings of lognormal sizes are requested by Zipf's law. Every so often, a new meeting becomes one of the fifty favourites.
//! Prints the hits as a fraction of the requests, and the calls saved as a fraction of the calls without a cache; then how many
//! requests for a new favourite miss before the first hit. Measures no time. Run: `cargo bench --bench eviction`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a simulation, which fails by panicking"
)]

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use moka::{policy::EvictionPolicy, sync::Cache as Moka};
use zoom_qos_proxy::{
    cache::Cache,
    config::Config,
    meeting_id::MeetingId,
    metrics::Metrics,
    snapshot::{FreshnessConfig, MeetingKind, MeetingType, Snapshot, SnapshotBuilder, SnapshotKey},
};

const MEETINGS: usize = 10_000;
const FAVOURITES: usize = 50;
/// Sizes and the cache are a quarter of the real ones: 16 MiB stand for 64 MiB.
const SCALE: u64 = 4;
const CACHE_BYTES: u64 = (64 << 20) / SCALE;
/// The bytes that the cache adds to each snapshot's own memory.
const BOOKKEEPING: u64 = 416;
const DAY: Duration = Duration::from_secs(86_400);

/// A sequence of requests for meetings, by number.
struct Trace {
    requests: Vec<usize>,
    snapshots: Vec<Arc<Snapshot>>,
    /// Pages at Zoom, which are the calls that a miss costs.
    pages: Vec<u64>,
    /// Whether a meeting was new when it became a favourite.
    is_new: Vec<bool>,
}

impl Trace {
    fn new(requests: usize, exponent: f64, drift: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(7);
        let (mut trace, mut ranks) = (
            Self { requests: Vec::new(), snapshots: Vec::new(), pages: Vec::new(), is_new: Vec::new() },
            Vec::new(),
        );
        for _ in 0..MEETINGS {
            ranks.push(trace.add_meeting(&mut random, false));
        }
        let mut sum = 0.0;
        let shares = (1..=MEETINGS).map(|rank| (rank as f64).powf(-exponent));
        let bounds: Vec<f64> = shares
            .map(|share| {
                sum += share;
                sum
            })
            .collect();
        for number in 1..=requests {
            if number % drift == 0 {
                let (place, colder) = (random.usize(..FAVOURITES), random.usize(FAVOURITES..MEETINGS));
                ranks[colder] = ranks[place];
                ranks[place] = trace.add_meeting(&mut random, true);
            }
            let at = random.f64() * sum;
            trace.requests.push(ranks[bounds.partition_point(|bound| *bound < at).min(MEETINGS - 1)]);
        }
        trace
    }

    /// Adds a meeting of random size. The medians are 4 participants and 30 samples each. A sample takes about 68 bytes
    /// in each encoding, before [`SCALE`].
    fn add_meeting(&mut self, random: &mut fastrand::Rng, is_new: bool) -> usize {
        let mut lognormal = |median: f64, spread: f64, most: f64| {
            let normal = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
            (median.ln() + spread * normal).exp().round().clamp(1.0, most)
        };
        let (participants, samples) = (lognormal(4.0, 0.9, 300.0), lognormal(30.0, 0.8, 240.0));
        let encoded = (participants * (350.0 + samples * 135.0)) as u64 / SCALE;
        self.snapshots.push(Arc::new(snapshot(self.snapshots.len(), encoded / 2, random)));
        self.pages.push((participants / 10.0).ceil() as u64);
        self.is_new.push(is_new);
        self.snapshots.len() - 1
    }

    fn bytes(&self, meeting: usize) -> u64 {
        self.snapshots[meeting].memory_bytes() as u64 + BOOKKEEPING
    }
}

/// A snapshot of random bytes, which is stored as gzip and as zstd.
fn snapshot(number: usize, bytes: u64, random: &mut fastrand::Rng) -> Snapshot {
    let key = SnapshotKey {
        meeting: MeetingId::parse(&format!("{}", 90_000_000_000 + number)).unwrap(),
        kind: MeetingKind::Meeting,
        meeting_type: MeetingType::Live,
    };
    let mut builder = SnapshotBuilder::default();
    builder.begin_page().extend((0..bytes).map(|_| random.u8(..)));
    builder.end_page(&[], None);
    builder.finish(key, &FreshnessConfig::always(DAY), Instant::now(), SystemTime::now(), 1.0, 0).unwrap()
}

/// A cache with an eviction policy. `request` returns whether the request hits, and inserts a missed meeting.
trait Policy {
    fn request(&mut self, trace: &Trace, at: usize) -> bool;
}

/// The cache of the service.
impl Policy for Cache {
    fn request(&mut self, trace: &Trace, at: usize) -> bool {
        let snapshot = &trace.snapshots[trace.requests[at]];
        let hits = self.get(&snapshot.key, Instant::now()).is_some();
        if hits {
            snapshot.record_request();
        } else {
            drop(self.insert(Arc::clone(snapshot)));
            self.run_maintenance();
        }
        hits
    }
}

impl Policy for Moka<usize, u64> {
    fn request(&mut self, trace: &Trace, at: usize) -> bool {
        let meeting = trace.requests[at];
        let hits = self.get(&meeting).is_some();
        if !hits {
            self.insert(meeting, trace.bytes(meeting));
            self.run_pending_tasks();
        }
        hits
    }
}

fn moka(policy: EvictionPolicy) -> Moka<usize, u64> {
    let weigher = |_: &usize, bytes: &u64| *bytes as u32;
    Moka::builder().max_capacity(CACHE_BYTES).weigher(weigher).eviction_policy(policy).build()
}

/// Evicts the meeting with the lowest rank. Each request for a meeting sets the meeting's rank.
struct Ranked<F> {
    rank: F,
    used: u64,
    /// The rank and the number of requests of each cached meeting.
    cached: HashMap<usize, (u64, u64)>,
    order: BTreeSet<(u64, usize)>,
    /// The rank of the last evicted meeting.
    evicted: u64,
}

impl<F: FnMut(usize, u64, u64, u64) -> u64> Ranked<F> {
    /// `rank` gets the number of the request, the meeting's bytes, its requests, and the rank of the last evicted meeting.
    fn new(rank: F) -> Self {
        Self { rank, used: 0, cached: HashMap::new(), order: BTreeSet::new(), evicted: 0 }
    }
}

impl<F: FnMut(usize, u64, u64, u64) -> u64> Policy for Ranked<F> {
    fn request(&mut self, trace: &Trace, at: usize) -> bool {
        let meeting = trace.requests[at];
        let old = self.cached.remove(&meeting);
        match old {
            Some((rank, _)) => _ = self.order.remove(&(rank, meeting)),
            None => self.used += trace.bytes(meeting),
        }
        let requests = old.map_or(1, |(_, requests)| requests + 1);
        let rank = (self.rank)(at, trace.bytes(meeting), requests, self.evicted);
        self.cached.insert(meeting, (rank, requests));
        self.order.insert((rank, meeting));
        while self.used > CACHE_BYTES {
            let (rank, evicted) = self.order.pop_first().unwrap();
            self.evicted = rank;
            self.cached.remove(&evicted);
            self.used -= trace.bytes(evicted);
        }
        old.is_some()
    }
}

/// The rank that each request gives its meeting. The later the meeting is requested again, the lower is the rank.
fn foresight(trace: &Trace) -> Vec<u64> {
    let mut next = HashMap::new();
    let mut ranks: Vec<u64> = trace
        .requests
        .iter()
        .enumerate()
        .rev()
        .map(|(at, meeting)| u64::MAX - next.insert(meeting, at as u64).unwrap_or(u64::MAX))
        .collect();
    ranks.reverse();
    ranks
}

fn show(name: &str, trace: &Trace, policy: &mut dyn Policy) {
    let (mut requests, mut hits, mut pages, mut pages_hit) = (0, 0, 0, 0);
    let mut misses: HashMap<usize, (u32, bool)> = HashMap::new();
    for at in 0..trace.requests.len() {
        let (meeting, hit) = (trace.requests[at], policy.request(trace, at));
        if trace.is_new[meeting] {
            let (before_hit, was_hit) = misses.entry(meeting).or_default();
            *was_hit |= hit;
            *before_hit += u32::from(!*was_hit);
        }
        // The first third fills the cache.
        if at > trace.requests.len() / 3 {
            (requests, pages) = (requests + 1, pages + trace.pages[meeting]);
            (hits, pages_hit) = (hits + u64::from(hit), pages_hit + u64::from(hit) * trace.pages[meeting]);
        }
    }
    let mut misses: Vec<u32> =
        misses.values().filter(|(_, hit)| *hit).map(|(before_hit, _)| *before_hit).collect();
    misses.sort_unstable();
    let (median, last) = (misses[misses.len() / 2], misses[misses.len() - 1]);
    let ratio = |hits: u64, all: u64| hits as f64 / all as f64;
    println!(
        "{name:24} {:.3} of requests, {:.3} of calls; misses: median {median}, most {last}",
        ratio(hits, requests),
        ratio(pages_hit, pages)
    );
}

fn service_cache() -> Cache {
    let secrets = ["ACCOUNT_ID", "CLIENT_ID", "CLIENT_SECRET"];
    let environment = secrets.map(|key| (format!("QOS_PROXY__ZOOM__{key}").into(), "bench".into()));
    let (mut config, _) = Config::load(&[], environment).unwrap();
    // A part of the bound is for views and uncompressed bodies.
    config.cache.max_bytes = CACHE_BYTES * 32 / 29;
    Cache::new(config.cache, &Arc::new(Metrics::default()))
}

fn main() {
    // `cargo bench -- --test` only checks that it runs.
    let requests = if std::env::args().any(|argument| argument == "--test") { 5_000 } else { 400_000 };
    for (exponent, drift) in [(0.8, 500), (1.0, 500), (1.0, 50), (1.2, 500)] {
        let trace = Trace::new(requests, exponent, drift);
        println!("zipf({exponent}), a new favourite every {drift} requests");
        show("the service's cache", &trace, &mut service_cache());
        show("moka, LRU", &trace, &mut moka(EvictionPolicy::lru()));
        show("moka, TinyLFU", &trace, &mut moka(EvictionPolicy::tiny_lfu()));
        let by_size = |_: usize, bytes: u64, _: u64, evicted: u64| evicted + (1 << 30) / bytes;
        show("GreedyDual by size", &trace, &mut Ranked::new(by_size));
        let by_requests =
            |_: usize, bytes: u64, requests: u64, evicted: u64| evicted + (requests << 30) / bytes;
        show("GreedyDual, size and use", &trace, &mut Ranked::new(by_requests));
        let next = foresight(&trace);
        show("foresight", &trace, &mut Ranked::new(|at: usize, _, _, _| next[at]));
    }
}
