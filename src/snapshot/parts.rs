//! The encoded bytes of a snapshot: in two allocations, or in four or five if it is large.

use std::{io, ops::Range, time::SystemTime};

use bytes::Bytes;

use super::{
    decoder::BodyDecoder,
    encoder::EncodedBody,
    encoding::Coding,
    restarts::{Restart, Restarts},
};

/// The largest body, in bytes, that is stored as gzip only: zstd would hardly be smaller, and a second encoding doubles
/// the memory.
pub(super) const SMALL: u64 = 16 * 1024;

/// The number of parts in the first two allocations: a date and one entity tag per coding for the headers, the gzip and
/// the body itself.
const PARTS: usize = 6;

pub(super) struct EncodedParts {
    /// Values of response headers. actix keeps the headers of a finished response until it reuses their memory. In
    /// the same allocation as the bodies, the headers would keep the bodies alive.
    headers: Bytes,
    gzip_and_plain: Bytes,
    /// The end of each part in its allocation, where the next one begins.
    ends: [u32; PARTS],
    large: Option<Box<LargeParts>>,
}

/// The parts that only a large body has. Boxed, because most meetings are small.
struct LargeParts {
    zstd: Bytes,
    restarts: Restarts,
}

#[derive(Clone, Copy)]
pub(super) enum Part {
    LastModified,
    /// The entity tag in this coding; empty for zstd if the body is small.
    Etag(Coding),
    /// The body in this coding; empty if it is not stored.
    Body(Coding),
}

impl EncodedParts {
    /// Keeps the bodies in the encoder's allocations, and frees their spare capacity.
    pub(super) fn new(body: EncodedBody, fetched_at: SystemTime) -> io::Result<Self> {
        let EncodedBody { mut zstd, mut gzip_and_plain, gzip, length, tag, restarts } = body;
        let last_modified = httpdate::fmt_http_date(fetched_at);
        let [mut zstd_etag, gzip_etag, plain_etag] = Coding::ALL.map(|coding| coding.etag(tag));
        let mut large = None;
        if length <= SMALL {
            zstd_etag = String::new();
        } else {
            zstd.shrink_to_fit();
            large = Some(Box::new(LargeParts { zstd: zstd.into(), restarts }));
        }
        gzip_and_plain.shrink_to_fit();
        // In the order in which `place` reads them.
        let headers = [&last_modified, &zstd_etag, &gzip_etag, &plain_etag];
        let [date, for_zstd, for_gzip, for_plain] = headers.map(String::len);
        let all = date + for_zstd + for_gzip + for_plain;
        let places = [date, date + for_zstd, all - for_plain, all, gzip, gzip_and_plain.len()];
        let mut ends = [0; PARTS];
        for (end, place) in ends.iter_mut().zip(places) {
            *end = u32::try_from(place).map_err(io::Error::other)?;
        }
        let headers = headers.map(String::as_str).concat().into_bytes();
        Ok(Self { headers: headers.into(), gzip_and_plain: gzip_and_plain.into(), ends, large })
    }

    fn place(&self, part: Part) -> (&Bytes, Range<usize>) {
        let at = |end: u32| usize::try_from(end).unwrap_or(usize::MAX);
        let [date, zstd_etag, gzip_etag, plain_etag, gzip, plain] = self.ends.map(at);
        match part {
            Part::LastModified => (&self.headers, 0..date),
            Part::Etag(Coding::Zstd) => (&self.headers, date..zstd_etag),
            Part::Etag(Coding::Gzip) => (&self.headers, zstd_etag..gzip_etag),
            Part::Etag(Coding::Identity) => (&self.headers, gzip_etag..plain_etag),
            Part::Body(Coding::Zstd) => match &self.large {
                Some(large) => (&large.zstd, 0..large.zstd.len()),
                None => (&self.headers, 0..0),
            },
            Part::Body(Coding::Gzip) => (&self.gzip_and_plain, 0..gzip),
            Part::Body(Coding::Identity) => (&self.gzip_and_plain, gzip..plain),
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

    /// Returns the restart points of the gzip.
    pub(super) fn restarts(&self) -> &[Restart] {
        self.large.as_ref().map_or(&[], |large| large.restarts.points())
    }

    /// Returns a decoder for the `length` bytes of the body at offset `at`.
    pub(super) fn decoder(&self, at: u64, length: u64) -> BodyDecoder {
        let gzip = self.get(Part::Body(Coding::Gzip));
        match &self.large {
            Some(large) => large.restarts.decoder(gzip, at, length),
            None => BodyDecoder::new(gzip, at, length),
        }
    }

    pub(super) fn len(&self) -> usize {
        let large = self.large.as_ref().map_or(0, |large| size_of::<LargeParts>() + large.zstd.len());
        self.headers.len() + self.gzip_and_plain.len() + large + size_of_val(self.restarts())
    }
}
