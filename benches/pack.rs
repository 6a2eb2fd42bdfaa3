//! The cost of a cached meeting: bytes in the cache compared with the body, and the time to compress and decompress it.
//!
//! Prints the sizes, then measures. Run: `cargo bench --bench pack`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench fails by panicking, and prints")]

use std::time::{Duration, Instant, SystemTime};

use divan::{Bencher, counter::BytesCount};
use zoom_qos_proxy::{
    clean,
    meeting_id::MeetingId,
    snapshot::{Coding, FreshnessConfig, MeetingKind, MeetingType, Snapshot, SnapshotBuilder, SnapshotKey},
};
use zoom_sim::Meeting;

/// Participants, and samples per participant.
const MEETINGS: [(usize, usize); 5] = [(1, 7), (1, 10), (10, 10), (10, 60), (100, 60)];

fn main() {
    println!("participants x samples: body, gzip, zstd, kept; body / kept");
    for size in MEETINGS {
        let snapshot = seal(&pages(size));
        let coded = |coding| snapshot.body(coding).map_or(0, |body| body.len());
        let (body, kept) = (snapshot.length, u64::try_from(snapshot.memory_bytes()).unwrap());
        let ratio = (body * 10 / kept, 10);
        println!(
            "{} x {}: {body}, {}, {}, {kept}; {}.{}",
            size.0,
            size.1,
            coded(Coding::Gzip),
            coded(Coding::Zstd),
            ratio.0 / ratio.1,
            ratio.0 % ratio.1,
        );
    }
    divan::main();
}

/// The cleaned participants of each page.
fn pages((participants, samples): (usize, usize)) -> Vec<(Vec<u8>, clean::Page)> {
    let pages = Meeting::generated("85746065432", participants, samples).pages();
    let clean = |page: String| {
        let mut cleaned = Vec::new();
        let page = clean::page(format!(r#"{{"participants":{page}}}"#).as_bytes(), &mut cleaned).unwrap();
        (cleaned, page)
    };
    pages.into_iter().map(clean).collect()
}

fn seal(pages: &[(Vec<u8>, clean::Page)]) -> Snapshot {
    let mut builder = SnapshotBuilder::default();
    for (cleaned, page) in pages {
        builder.begin_page().extend_from_slice(cleaned);
        builder.end_page(&page.rows, page.newest_leave_time);
    }
    let minute = Duration::from_secs(60);
    let freshness = FreshnessConfig::always(minute);
    let key = SnapshotKey {
        meeting: MeetingId::parse("85746065432").unwrap(),
        kind: MeetingKind::Meeting,
        meeting_type: MeetingType::Live,
    };
    builder.finish(key, &freshness, Instant::now(), SystemTime::now(), 1.0, 0).unwrap()
}

#[divan::bench(args = MEETINGS)]
fn compressed_and_sealed(bencher: Bencher<'_, '_>, size: (usize, usize)) {
    let pages = pages(size);
    let bytes = BytesCount::new(pages.iter().map(|(cleaned, _)| cleaned.len()).sum::<usize>());
    bencher.counter(bytes).bench_local(|| seal(&pages));
}

#[divan::bench(args = MEETINGS)]
fn unpacked_whole(bencher: Bencher<'_, '_>, size: (usize, usize)) {
    let snapshot = seal(&pages(size));
    bencher.counter(BytesCount::new(snapshot.length)).bench_local(|| snapshot.decompress().unwrap());
}

#[divan::bench(args = MEETINGS)]
fn unpacked_as_it_is_read(bencher: Bencher<'_, '_>, size: (usize, usize)) {
    let snapshot = seal(&pages(size));
    bencher.counter(BytesCount::new(snapshot.length)).bench_local(|| {
        let mut unpacker = snapshot.decoder(0, snapshot.length);
        while let Some(part) = unpacker.next(64 * 1024).unwrap() {
            divan::black_box(part);
        }
    });
}

/// Decodes the last ten participants of a large meeting, as the request for its last slice does.
#[divan::bench(args = [(100, 60), (1000, 60)])]
fn last_slice_of_ten(bencher: Bencher<'_, '_>, size: (usize, usize)) {
    let snapshot = seal(&pages(size));
    let length = snapshot.length / u64::try_from(size.0 / 10).unwrap();
    bencher.bench_local(|| {
        let mut unpacker = snapshot.decoder(snapshot.length - length, length);
        while let Some(part) = unpacker.next(64 * 1024).unwrap() {
            divan::black_box(part);
        }
    });
}
