//! The cost of the queue for permits, by its length. In each iteration, a call joins, and then the first call is served
//! or the new one leaves.
//!
//! Every operation should take O(log n). Run: `cargo bench --bench queue`.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use divan::Bencher;
use zoom_qos_proxy::scheduler::fair_queue::{CallerWeight, FairQueue, Priority};

const WAITING: [u64; 4] = [100, 1_000, 10_000, 100_000];
const CALLERS: u64 = 10;

fn main() {
    divan::main();
}

fn weight(flight: u64) -> CallerWeight {
    let caller = u32::try_from(flight % CALLERS).unwrap();
    CallerWeight { caller, weight: NonZeroU32::new(caller + 1).unwrap() }
}

fn push(queue: &mut FairQueue<u64>, flight: u64, now: Instant) {
    // The deadlines differ, and are not in the order of arrival.
    let deadline = now + Duration::from_micros(flight.wrapping_mul(7_919) % 15_000_000);
    queue.push((Priority::Foreground, flight), &[weight(flight)], now, Some(deadline), flight);
}

fn filled(waiting: u64, now: Instant) -> FairQueue<u64> {
    let mut queue = FairQueue::default();
    (0..waiting).for_each(|flight| push(&mut queue, flight, now));
    queue
}

#[divan::bench(args = WAITING)]
fn one_joins_and_one_is_served(bencher: Bencher<'_, '_>, waiting: u64) {
    let now = Instant::now();
    let mut queue = filled(waiting, now);
    let mut next = waiting;
    bencher.bench_local(|| {
        push(&mut queue, next, now);
        next += 1;
        queue.pop().unwrap()
    });
}

#[divan::bench(args = WAITING)]
fn one_joins_and_gives_up(bencher: Bencher<'_, '_>, waiting: u64) {
    let now = Instant::now();
    let mut queue = filled(waiting, now);
    let mut next = waiting;
    bencher.bench_local(|| {
        push(&mut queue, next, now);
        let left = queue.remove(next).unwrap();
        next += 1;
        left
    });
}
