//! Decompresses Zoom's responses in small steps: a kilobyte on the wire can become a megabyte, and the memory of every step
//! is counted before it is allocated.

use bytes::{Buf as _, Bytes};
use flate2::{Decompress, FlushDecompress, Status};

/// The `Accept-Encoding` of requests to Zoom. Deflate is decoded but not requested, because many of its senders omit
/// the header of RFC 1950.
pub(super) const ACCEPTED: &str = "gzip";
/// The largest output of one step of decompression, in bytes.
pub(super) const STEP: usize = 16 * 1024;
/// A window of 32 KiB, which is as far back as deflate can refer.
const WINDOW_BITS: u8 = 15;

/// The body does not match its content encoding.
#[derive(Debug)]
pub(super) struct Corrupt;

pub(super) struct Decoder {
    encoding: ContentEncoding,
    /// The state inside a gzip member, or a deflate body.
    member: Option<Decompress>,
    has_ended: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ContentEncoding {
    /// No encoding, or an unknown one: the body is passed on as it is.
    Identity,
    Gzip,
    Deflate,
}

impl Decoder {
    pub(super) fn new(content_encoding: Option<&str>) -> Self {
        let is = |name: &str| content_encoding.is_some_and(|given| given.trim().eq_ignore_ascii_case(name));
        let encoding = if is("gzip") || is("x-gzip") {
            ContentEncoding::Gzip
        } else if is("deflate") {
            ContentEncoding::Deflate
        } else {
            ContentEncoding::Identity
        };
        Self { encoding, member: None, has_ended: false }
    }

    /// Returns the maximum output of the next step, in bytes.
    pub(super) fn step(&self, part: &Bytes) -> usize {
        if self.encoding == ContentEncoding::Identity { part.len() } else { STEP }
    }

    /// Consumes some of `part` and appends decompressed bytes. Returns whether it must be called again for this part.
    pub(super) fn decode(&mut self, part: &mut Bytes, out: &mut Vec<u8>) -> Result<bool, Corrupt> {
        if self.encoding == ContentEncoding::Identity {
            out.extend_from_slice(part);
            part.clear();
            return Ok(false);
        }
        if self.member.is_none() {
            if part.is_empty() {
                return Ok(false);
            }
            // A gzip body may have several members; a deflate body is a single stream.
            if self.has_ended && self.encoding == ContentEncoding::Deflate {
                return Err(Corrupt);
            }
        }
        let encoding = self.encoding;
        let member = self.member.get_or_insert_with(|| match encoding {
            ContentEncoding::Gzip => Decompress::new_gzip(WINDOW_BITS),
            _ => Decompress::new(true),
        });
        let mut room = [0; STEP];
        let (consumed, produced) = (member.total_in(), member.total_out());
        let status = member.decompress(part, &mut room, FlushDecompress::None).map_err(|_| Corrupt)?;
        let since = |total: u64, before: u64| usize::try_from(total - before).unwrap_or_default();
        let (consumed, produced) = (since(member.total_in(), consumed), since(member.total_out(), produced));
        part.advance(consumed);
        out.extend_from_slice(room.get(..produced).unwrap_or_default());
        if status == Status::StreamEnd {
            self.member = None;
            self.has_ended = true;
        } else if consumed == 0 && produced == 0 && !part.is_empty() {
            return Err(Corrupt);
        }
        // If the output filled the buffer, the decompressor may hold back more.
        Ok(!part.is_empty() || (produced == STEP && self.member.is_some()))
    }

    /// Returns whether the body may end here.
    pub(super) fn is_whole(&self) -> bool {
        self.member.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Returns the decompressed body and the largest output of one step; `None` if the body is corrupt or cut.
    fn decoded(coding: &str, body: &[u8], part: usize) -> Option<(Vec<u8>, usize)> {
        let (mut decoder, mut out, mut most) = (Decoder::new(Some(coding)), Vec::new(), 0);
        for part in body.chunks(part) {
            let mut part = Bytes::copy_from_slice(part);
            loop {
                let before = out.len();
                let is_more = decoder.decode(&mut part, &mut out).ok()?;
                most = most.max(out.len() - before);
                if !is_more {
                    break;
                }
            }
            assert!(part.is_empty());
        }
        decoder.is_whole().then_some((out, most))
    }

    #[test]
    fn a_body_in_any_parts_is_decompressed_in_small_steps() {
        let body = br#"{"latency":"126 ms"},"#.repeat(10_000);
        let mut deflate = ZlibEncoder::new(Vec::new(), Compression::fast());
        deflate.write_all(&body).unwrap();
        for (coding, coded) in
            [("gzip", gzip(&body)), ("GZIP", gzip(&body)), ("deflate", deflate.finish().unwrap())]
        {
            for part in [1, 7, 4_096, 1 << 20] {
                let (out, most) = decoded(coding, &coded, part).unwrap();
                assert!(out == body && most <= STEP, "{coding} in parts of {part}");
            }
        }
        assert_eq!(decoded("br", &body, 1 << 20).unwrap().0, body, "an unknown encoding is passed on");
    }

    #[test]
    fn gzip_of_several_members_is_one_body() {
        let (one, two) = (vec![b'a'; STEP], vec![b'b'; 3 * STEP + 1]);
        let members = [gzip(&one), gzip(b""), gzip(&two)].concat();
        for part in [1, 50, 1 << 20] {
            assert_eq!(decoded("gzip", &members, part).unwrap().0, [one.clone(), two.clone()].concat());
        }
    }

    #[test]
    fn a_cut_or_changed_or_continued_body_is_not_whole() {
        let whole = gzip(b"a body of some length, and another one");
        for end in 1..whole.len() {
            assert!(decoded("gzip", &whole[..end], 1 << 20).is_none(), "{end} of {} bytes", whole.len());
        }
        let mut changed = whole.clone();
        changed[20] ^= 1;
        assert!(decoded("gzip", &changed, 1 << 20).is_none());
        assert!(decoded("gzip", &[&whole[..], b"\0"].concat(), 1 << 20).is_none());
        assert!(decoded("gzip", b"{}", 1 << 20).is_none());
    }
}
