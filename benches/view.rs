//! How fast Zoom's own form is restored, in bytes of that form, beside the cleaning of the same page.
//!
//! Prints the ratio, then measures. Absolute numbers depend on the machine. Run: `cargo bench --bench view`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a bench fails by panicking, and prints"
)]

use std::time::{Duration, Instant};

use divan::{Bencher, counter::BytesCount};
use zoom_qos_proxy::{clean, view::zoom_shape};
use zoom_sim::Meeting;

/// Samples per participant of a page of ten: an hour, and ten hours.
const SAMPLES: [usize; 2] = [60, 600];
const RUNS: usize = 30;

fn main() {
    println!("10 x samples: time to clean / time to restore");
    for samples in SAMPLES {
        let page = Page::new(samples);
        let mut out = Vec::new();
        let clean = fastest(|| page.clean(&mut out));
        let restore = fastest(|| page.restore(&mut out));
        println!("10 x {samples}: {:.2}", clean.as_secs_f64() / restore.as_secs_f64());
    }
    divan::main();
}

fn fastest(mut run: impl FnMut()) -> Duration {
    let mut time = || {
        let begin = Instant::now();
        run();
        begin.elapsed()
    };
    (0..RUNS).map(|_| time()).min().unwrap()
}

#[divan::bench(args = SAMPLES)]
fn cleaned(bencher: Bencher<'_, '_>, samples: usize) {
    let page = Page::new(samples);
    let mut out = Vec::new();
    bencher.counter(BytesCount::of_str(&page.zoom)).bench_local(|| page.clean(&mut out));
}

#[divan::bench(args = SAMPLES)]
fn in_zooms_shape(bencher: Bencher<'_, '_>, samples: usize) {
    let page = Page::new(samples);
    let mut out = Vec::new();
    page.restore(&mut out);
    bencher.counter(BytesCount::new(out.len())).bench_local(|| page.restore(&mut out));
}

struct Page {
    zoom: String,
    /// Each participant.
    cleaned: Vec<Vec<u8>>,
}

impl Page {
    fn new(samples: usize) -> Self {
        let pages = Meeting::generated("85746065432", 10, samples).pages();
        let zoom = format!(r#"{{"participants":{}}}"#, pages.concat());
        let mut out = Vec::new();
        let page = clean::page(zoom.as_bytes(), &mut out).unwrap();
        let cleaned = page.rows.into_iter().map(|row| out[row].to_vec()).collect();
        Self { zoom, cleaned }
    }

    fn clean(&self, out: &mut Vec<u8>) {
        out.clear();
        clean::page(self.zoom.as_bytes(), out).unwrap();
    }

    fn restore(&self, out: &mut Vec<u8>) {
        out.clear();
        for participant in &self.cleaned {
            zoom_shape::append_participant(participant, out).unwrap();
        }
    }
}
