//! Places in a stored gzip where decompression can begin. A slice near the end of a large meeting is read without
//! decompressing everything before it.
//!
//! At such a restart point, the compressor has been flushed completely: a block begins at a byte boundary, and no later
//! block refers to anything before the point. The gzip is still one member, which decoders read like any other.

use std::io::Read as _;

use bytes::Bytes;
use flate2::{Crc, bufread::DeflateDecoder};

use super::decoder::{BodyDecoder, GZIP_HEADER, read_all};

/// The minimum distance between two restart points, in bytes of the body. The next point is at the end of the current
/// page. With half the distance, the gzip would be 2 % larger than without points, instead of 0.5 %. Decompressing a
/// megabyte takes a third of a millisecond.
pub(super) const RESTART_EVERY: u64 = 1024 * 1024;
/// The minimum distance between two points in a record from Redis, in bytes of the body. Each point costs an
/// allocation when it is checked.
const LEAST_DISTANCE: u64 = 64 * 1024;

/// A place where decompression can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Restart {
    /// The number of bytes of the body before this place.
    pub(super) body: u64,
    /// The number of bytes of the gzip before this place.
    pub(super) gzip: u64,
}

/// The restart points of a gzip, in order.
#[derive(Default)]
pub(super) struct Restarts(Box<[Restart]>);

impl Restarts {
    pub(super) fn new(points: Vec<Restart>) -> Self {
        Self(points.into())
    }

    pub(super) fn points(&self) -> &[Restart] {
        &self.0
    }

    /// Returns a decoder for the `length` bytes of the body at offset `at`. Decompression begins at the last restart
    /// point before them.
    pub(super) fn decoder(&self, gzip: Bytes, at: u64, length: u64) -> BodyDecoder {
        let after = self.0.partition_point(|point| point.body <= at);
        let before = after.checked_sub(1).and_then(|last| self.0.get(last));
        let rest = before.and_then(|point| Some((point, usize::try_from(point.gzip).ok()?)));
        match rest {
            Some((point, gzip_at)) if gzip_at <= gzip.len() => {
                BodyDecoder::of_blocks(gzip.slice(gzip_at..), at - point.body, length)
            }
            _ => BodyDecoder::new(gzip, at, length),
        }
    }

    /// Returns whether decompressing from each point to the next yields a body of this length and checksum. Without
    /// this check, a wrong index in a record from Redis could lead to participants other than the requested ones.
    pub(super) fn lead_to(&self, gzip: &[u8], length: u64, crc: u32) -> bool {
        self.0.is_empty() || self.checked_crc(gzip, length) == Some(crc)
    }

    fn checked_crc(&self, gzip: &[u8], length: u64) -> Option<u32> {
        let mut crc = Crc::new();
        let begin = Restart { body: 0, gzip: u64::try_from(GZIP_HEADER.len()).ok()? };
        let mut points = std::iter::once(&begin).chain(&self.0).peekable();
        while let Some(point) = points.next() {
            let end = points.peek().map_or(length, |next| next.body);
            let distance = end.checked_sub(point.body)?;
            if distance < LEAST_DISTANCE && points.peek().is_some() {
                return None;
            }
            let blocks = DeflateDecoder::new(gzip.get(usize::try_from(point.gzip).ok()?..)?);
            read_all(blocks.take(distance), distance, |part| crc.update(part))?;
        }
        Some(crc.sum())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::{Coding, Snapshot, SnapshotBuilder, tests::finish};

    /// Returns a meeting with one page for each list, whose rows have these lengths. The rows consist of letters that
    /// compress to about half their size.
    fn meeting(pages: &[Vec<usize>]) -> Snapshot {
        let (mut builder, mut random) = (SnapshotBuilder::default(), fastrand::Rng::with_seed(7));
        for lengths in pages {
            let (body, mut rows) = (builder.begin_page(), Vec::new());
            for length in lengths {
                if !body.is_empty() {
                    body.push(b',');
                }
                let begin = body.len();
                body.extend(std::iter::repeat_with(|| random.u8(b'a'..=b'p')).take(*length));
                rows.push(begin..body.len());
            }
            builder.end_page(&rows, None);
        }
        finish(builder, Duration::ZERO)
    }

    fn read(mut decoder: BodyDecoder) -> Vec<u8> {
        let mut read = Vec::new();
        while let Some(part) = decoder.next(100_000).unwrap() {
            read.extend_from_slice(&part);
        }
        read
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn every_range_is_the_same_from_its_nearest_point(
            pages in prop::collection::vec(prop::collection::vec(1..400_000_usize, 0..4), 0..12),
            ranges in prop::collection::vec((any::<u64>(), 0..300_000_u64), 8),
        ) {
            let snapshot = meeting(&pages);
            let (body, restarts) = (snapshot.decompress().unwrap(), snapshot.parts.restarts());
            let largest = pages.iter().map(|rows| rows.iter().sum::<usize>() + rows.len()).max().unwrap_or(0);
            let most = RESTART_EVERY + u64::try_from(largest).unwrap();
            let mut before = 0;
            for point in restarts {
                prop_assert!((RESTART_EVERY..=most + 300).contains(&(point.body - before)));
                before = point.body;
            }
            let edges = restarts.iter().flat_map(|point| [point.body - 1, point.body, point.body + 1]);
            let ranges = ranges.into_iter().map(|(at, length)| (at % (snapshot.length + 1), length));
            for (at, length) in edges.map(|at| (at, 5)).chain(ranges) {
                let length = length.min(snapshot.length - at);
                let [from, to] = [at, at + length].map(|at| usize::try_from(at).unwrap());
                prop_assert!(read(snapshot.decoder(at, length)) == body[from..to], "{length} bytes at {at}");
            }
            let mut whole = Vec::new();
            let gzip = snapshot.body(Coding::Gzip).unwrap();
            let mut member = flate2::bufread::GzDecoder::new(&gzip[..]);
            member.read_to_end(&mut whole).unwrap();
            prop_assert!(whole == body && member.into_inner().is_empty(), "one member");
        }
    }

    #[test]
    fn a_point_that_leads_elsewhere_is_noticed() {
        let snapshot = meeting(&vec![vec![300_000; 2]; 8]);
        let (gzip, length) = (snapshot.body(Coding::Gzip).unwrap(), snapshot.length);
        let points = snapshot.parts.restarts().to_vec();
        assert!(points.len() > 2, "{points:?}");
        let checked = |change: &dyn Fn(&mut Vec<Restart>)| {
            let mut points = points.clone();
            change(&mut points);
            Restarts::new(points).checked_crc(&gzip, length)
        };
        let mut crc = Crc::new();
        crc.update(&snapshot.decompress().unwrap());
        let is_true = |change: &dyn Fn(&mut Vec<Restart>)| checked(change) == Some(crc.sum());
        assert!(is_true(&|_| ()));
        assert!(is_true(&|points| points.truncate(1)), "fewer points are also valid");
        for number in [0, u64::MAX, length, length + 1, points[1].gzip, points[1].body] {
            assert!(!is_true(&|points| points[0].gzip = number), "gzip {number}");
            assert!(!is_true(&|points| points[0].body = number), "body {number}");
        }
        for distance in [1, 1_000, 100_000] {
            assert!(!is_true(&|points| points[1].gzip += distance), "{distance} bytes of gzip too far");
            assert!(!is_true(&|points| points[1].body -= distance), "{distance} bytes of the body too early");
        }
        assert!(!is_true(&|points| points.swap(0, 1)), "out of order");
        assert!(!is_true(&|points| points.insert(0, points[0])), "too close");
    }
}
