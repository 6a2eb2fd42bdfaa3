//! How fast Zoom's own form is restored and participants are redacted, compared with cleaning the same page.
//!
//! Prints the ratios, then measures. Absolute numbers depend on the machine. Run: `cargo bench --bench view`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a bench fails by panicking, and prints"
)]

use std::time::{Duration, Instant};

use divan::{Bencher, counter::BytesCount};
use zoom_qos_proxy::{
    clean,
    hiding::{FieldGroup, HiddenFields, HidingKeys},
    view::{
        redact::{HiddenForm, ParticipantRedactor},
        zoom_shape,
    },
};
use zoom_sim::Meeting;

const MEETING: &str = "85746065432";
/// Samples per participant, one a minute: an hour, and ten hours.
const SAMPLES: [usize; 2] = [60, 600];
/// Values of a caller's `hide`. With an empty one, participants are only copied.
const HIDE: [&[FieldGroup]; 3] =
    [&[], &[FieldGroup::Identity], &[FieldGroup::Identity, FieldGroup::Address, FieldGroup::Device]];
const RUNS: usize = 30;

fn main() {
    println!("10 x samples: time to clean / time to restore, time to clean / time to redact");
    for samples in SAMPLES {
        let page = Page::new(samples);
        let mut out = Vec::new();
        let clean = fastest(|| page.clean(&mut out));
        let restore = fastest(|| page.restore(&mut out));
        let redactor = redactor(HIDE[2]);
        let redact = fastest(|| page.redact(&redactor, &mut out));
        let times = |other: Duration| clean.as_secs_f64() / other.as_secs_f64();
        println!("10 x {samples}: {:.2}, {:.2}", times(restore), times(redact));
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

/// `HIDDEN` is an index of [`HIDE`]. The throughput counts the bytes of the cleaned participants.
#[divan::bench(args = SAMPLES, consts = [0, 1, 2])]
fn redacted<const HIDDEN: usize>(bencher: Bencher<'_, '_>, samples: usize) {
    let page = Page::new(samples);
    let (redactor, mut out) = (redactor(HIDE[HIDDEN]), Vec::new());
    let bytes: usize = page.cleaned.iter().map(Vec::len).sum();
    bencher.counter(BytesCount::new(bytes)).bench_local(|| page.redact(&redactor, &mut out));
}

fn redactor(hide: &[FieldGroup]) -> ParticipantRedactor {
    let hidden: HiddenFields = hide.iter().copied().collect();
    ParticipantRedactor::new(hidden, HiddenForm::Null, &HidingKeys::derive("secret").unwrap(), MEETING)
}

struct Page {
    zoom: String,
    cleaned: Vec<Vec<u8>>,
}

impl Page {
    fn new(samples: usize) -> Self {
        let pages = Meeting::generated(MEETING, 10, samples).pages();
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
    fn redact(&self, redactor: &ParticipantRedactor, out: &mut Vec<u8>) {
        out.clear();
        for participant in &self.cleaned {
            redactor.append(participant, out).unwrap();
        }
    }
}
