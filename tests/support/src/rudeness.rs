//! Shared by the tests with random peers: seeds, durations, and limits on the services' memory and response times.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use fastrand::Rng;

use crate::{service::Service, wait::wait_for};

/// How long each of these tests runs in `make test`.
pub const MOMENT: Duration = Duration::from_secs(20);
/// The default timeout of a Kubernetes probe.
const ALIVE_WITHIN: Duration = Duration::from_secs(1);

/// A random seed, or `RUDE_SEED` from the environment, which repeats a run.
#[expect(clippy::disallowed_methods, reason = "not the service's environment")]
pub fn any_seed() -> u64 {
    std::env::var("RUDE_SEED").map_or_else(|_| fastrand::u64(..1 << 40), |seed| seed.parse().unwrap())
}

/// How long each of these tests runs in `make test-all`: an hour, or `RUDE_SECONDS` from the environment.
#[expect(clippy::disallowed_methods, reason = "not the service's environment")]
pub fn hour() -> Duration {
    let seconds = std::env::var("RUDE_SECONDS").map_or(3_600, |seconds| seconds.parse().unwrap());
    Duration::from_secs(seconds)
}

/// Returns 1 to 8,999 random bytes.
pub fn garbage(rng: &mut Rng) -> Vec<u8> {
    let length = rng.usize(1..9_000);
    std::iter::repeat_with(|| rng.u8(..)).take(length).collect()
}

/// Ends the peers' loops when dropped. Otherwise they would run forever if the watching thread panicked.
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How long this thread and all threads of the service have waited for a CPU while they were ready to run.
fn waited_for_cpu(service: &Service) -> Duration {
    let own = [PathBuf::from("/proc/thread-self/schedstat")];
    let threads = fs::read_dir(format!("/proc/{}/task", service.pid())).unwrap();
    let all = threads.map_while(Result::ok).map(|thread| thread.path().join("schedstat")).chain(own);
    // A thread may end before its file is read.
    let texts = all.filter_map(|file| fs::read_to_string(file).ok());
    texts.map(|text| Duration::from_nanos(text.split(' ').nth(1).unwrap().parse().unwrap())).sum()
}

/// Watches services while random peers use them.
pub struct Watch<'a> {
    /// The watched services, each with its resident size at the start, in bytes.
    services: Vec<(&'a Service, u64)>,
    /// How many bytes each service may grow by.
    memory: u64,
    most: u64,
    slowest: Duration,
}

impl<'a> Watch<'a> {
    pub fn new(services: impl IntoIterator<Item = &'a Service>, memory: u64) -> Self {
        let services = services.into_iter().map(|service| (service, service.resident())).collect();
        Self { services, memory, most: 0, slowest: Duration::ZERO }
    }

    /// Asserts that every service is alive, answers its probe in time, and is within its memory limit.
    pub fn look(&mut self) {
        for (service, before) in &self.services {
            let (asked, waited) = (Instant::now(), waited_for_cpu(service));
            let status = service.ops_get("/healthz").status;
            // Time spent waiting for a CPU does not count, because it depends on the load of the machine.
            let took = asked.elapsed().saturating_sub(waited_for_cpu(service).saturating_sub(waited));
            assert!(status == 200 && took < ALIVE_WITHIN, "/healthz: {status} after {took:?}");
            self.slowest = self.slowest.max(took);
            self.most = self.most.max(service.resident().saturating_sub(*before));
            assert!(self.most <= self.memory, "grown by {} MiB", self.most >> 20);
        }
    }

    /// Asserts that every service becomes idle, and is still within its limits.
    pub fn rest(mut self) {
        for (service, _) in &self.services {
            wait_for(|| (service.load_at_rest() < 0.05).then_some(()));
        }
        self.look();
        println!("grown by {} MiB at most, /healthz within {:?}", self.most >> 20, self.slowest);
    }
}
