//! All bytes that a snapshot stores, in two allocations, and the restart points of a large one.

use std::{io, ops::Range, time::SystemTime};

use bytes::Bytes;

use super::{decoder::BodyDecoder, encoder::EncodedBody, encoding::Coding, restarts::Restarts};

/// The largest body, in bytes, that is stored as gzip only: zstd would hardly be smaller, and a second encoding doubles
/// the memory.
pub(super) const SMALL: u64 = 16 * 1024;

/// The number of parts: a date and one entity tag per coding for the headers, and one body per coding.
const PARTS: usize = 7;

pub(super) struct EncodedParts {
    /// Values of response headers. They are not in the bodies' allocation because actix keeps the headers of a finished
    /// response until it reuses their memory for another one, and would keep the bodies alive with them.
    headers: Bytes,
    bodies: Bytes,
    /// The end of each part in its allocation, where the next one begins.
    ends: [u32; PARTS],
    pub(super) restarts: Restarts,
}

#[derive(Clone, Copy)]
pub(super) enum Part {
    LastModified,
    /// Empty if the body in this coding is not stored.
    Etag(Coding),
    /// Empty if it is not stored.
    Body(Coding),
}

impl EncodedParts {
    /// The bodies stay in the encoder's allocation, without its spare capacity.
    pub(super) fn new(body: EncodedBody, fetched_at: SystemTime) -> io::Result<Self> {
        let EncodedBody { mut bytes, mut zstd, gzip, length, tag, restarts } = body;
        let last_modified = httpdate::fmt_http_date(fetched_at);
        let [mut zstd_etag, gzip_etag, plain_etag] = Coding::ALL.map(|coding| coding.etag(tag));
        if length <= SMALL {
            bytes.drain(..zstd);
            (zstd, zstd_etag) = (0, String::new());
        }
        bytes.shrink_to_fit();
        // In the order in which `place` reads them.
        let headers = [&last_modified, &zstd_etag, &gzip_etag, &plain_etag];
        let [date, for_zstd, for_gzip, for_plain] = headers.map(String::len);
        let all = date + for_zstd + for_gzip + for_plain;
        let places = [date, date + for_zstd, all - for_plain, all, zstd, zstd + gzip, bytes.len()];
        let mut ends = [0; PARTS];
        for (end, place) in ends.iter_mut().zip(places) {
            *end = u32::try_from(place).map_err(io::Error::other)?;
        }
        let headers = headers.map(String::as_str).concat().into_bytes();
        Ok(Self { headers: headers.into(), bodies: bytes.into(), ends, restarts })
    }

    fn place(&self, part: Part) -> (&Bytes, Range<usize>) {
        let at = |end: u32| usize::try_from(end).unwrap_or(usize::MAX);
        let [date, zstd_etag, gzip_etag, plain_etag, zstd, gzip, plain] = self.ends.map(at);
        match part {
            Part::LastModified => (&self.headers, 0..date),
            Part::Etag(Coding::Zstd) => (&self.headers, date..zstd_etag),
            Part::Etag(Coding::Gzip) => (&self.headers, zstd_etag..gzip_etag),
            Part::Etag(Coding::Identity) => (&self.headers, gzip_etag..plain_etag),
            Part::Body(Coding::Zstd) => (&self.bodies, 0..zstd),
            Part::Body(Coding::Gzip) => (&self.bodies, zstd..gzip),
            Part::Body(Coding::Identity) => (&self.bodies, gzip..plain),
        }
    }

    pub(super) fn get(&self, part: Part) -> Bytes {
        let (bytes, range) = self.place(part);
        // A range out of bounds would be a bug; an empty response is better than a panic.
        if range.end <= bytes.len() { bytes.slice(range) } else { Bytes::new() }
    }

    pub(super) fn has(&self, part: Part) -> bool {
        !self.place(part).1.is_empty()
    }

    /// Returns a decoder for `length` bytes of the body from `at` on.
    pub(super) fn decoder(&self, at: u64, length: u64) -> BodyDecoder {
        self.restarts.decoder(self.get(Part::Body(Coding::Gzip)), at, length)
    }

    pub(super) fn len(&self) -> usize {
        self.headers.len() + self.bodies.len() + size_of_val(self.restarts.points())
    }
}
