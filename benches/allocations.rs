//! How often and how much cleaning a page allocates. A separate bench, because counting takes time.
//!
//! The output buffer is reused, as in a flight. Run: `cargo bench --bench allocations`.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use divan::{AllocProfiler, Bencher};
use serde_json::Value;
use zoom_qos_proxy::clean;
use zoom_sim::Meeting;

#[global_allocator]
static COUNTED: AllocProfiler = AllocProfiler::system();

/// Samples per participant, on a page of ten participants.
const SAMPLES: [usize; 2] = [1, 60];

fn main() {
    divan::main();
}

fn page(samples: usize) -> String {
    let pages = Meeting::generated("85746065432", 10, samples).pages();
    format!(r#"{{"next_page_token":"","total_records":10,"participants":{}}}"#, pages.first().unwrap())
}

#[divan::bench(args = SAMPLES)]
fn cleaned(bencher: Bencher<'_, '_>, samples: usize) {
    let zoom = page(samples);
    let mut out = Vec::new();
    clean::page(zoom.as_bytes(), &mut out).unwrap();
    bencher.bench_local(|| {
        out.clear();
        clean::page(zoom.as_bytes(), &mut out).unwrap()
    });
}

#[divan::bench(args = SAMPLES)]
fn through_a_tree(bencher: Bencher<'_, '_>, samples: usize) {
    let zoom = page(samples);
    bencher.bench_local(|| serde_json::to_vec(&serde_json::from_str::<Value>(&zoom).unwrap()).unwrap());
}
