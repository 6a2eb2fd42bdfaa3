//! Content codings of Zoom's answers, undone in small steps: a kilobyte on the wire can be a megabyte behind it, and every
//! step's memory is counted before it is taken.

use bytes::{Buf as _, Bytes};
use flate2::{Decompress, FlushDecompress, Status};

/// What a request asks for. deflate is understood, too, but half of its senders leave out the header of RFC 1950.
pub(super) const ACCEPTED: &str = "gzip";
/// The most that comes out of one step, in bytes.
pub(super) const STEP: usize = 16 * 1024;
/// 32 KiB: all that deflate can refer to.
const WINDOW_BITS: u8 = 15;

/// The body does not fit its coding.
#[derive(Debug)]
pub(super) struct Corrupt;

/// Undoes the coding of one body.
pub(super) struct Decoder {
    coding: Coding,
    /// Of the gzip member, or the whole body, that was begun; boxed by flate2.
    begun: Option<Decompress>,
    /// Whether a member has come to its end.
    ended: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    Identity,
    Gzip,
    Deflate,
}

impl Decoder {
    /// For a body with this `Content-Encoding`. One that is not known is left as it is.
    pub(super) fn new(content_encoding: Option<&str>) -> Self {
        let is = |name: &str| content_encoding.is_some_and(|said| said.trim().eq_ignore_ascii_case(name));
        let coding = if is("gzip") || is("x-gzip") {
            Coding::Gzip
        } else if is("deflate") {
            Coding::Deflate
        } else {
            Coding::Identity
        };
        Self { coding, begun: None, ended: false }
    }

    /// The most that comes out of the next step.
    pub(super) fn step(&self, part: &Bytes) -> usize {
        if self.coding == Coding::Identity { part.len() } else { STEP }
    }

    /// Takes some of `part`, and appends what comes out of it. To be called until it gives `false`: then all of `part` is
    /// taken.
    pub(super) fn decode(&mut self, part: &mut Bytes, out: &mut Vec<u8>) -> Result<bool, Corrupt> {
        if self.coding == Coding::Identity {
            out.extend_from_slice(part);
            part.clear();
            return Ok(false);
        }
        if self.begun.is_none() {
            if part.is_empty() {
                return Ok(false);
            }
            if self.ended && self.coding == Coding::Deflate {
                return Err(Corrupt);
            }
        }
        let coding = self.coding;
        let member = self.begun.get_or_insert_with(|| match coding {
            Coding::Gzip => Decompress::new_gzip(WINDOW_BITS),
            _ => Decompress::new(true),
        });
        let mut room = [0; STEP];
        let (taken, given) = (member.total_in(), member.total_out());
        let status = member.decompress(part, &mut room, FlushDecompress::None).map_err(|_| Corrupt)?;
        let since = |total: u64, before: u64| usize::try_from(total - before).unwrap_or_default();
        let (taken, given) = (since(member.total_in(), taken), since(member.total_out(), given));
        part.advance(taken);
        out.extend_from_slice(room.get(..given).unwrap_or_default());
        if status == Status::StreamEnd {
            self.begun = None;
            self.ended = true;
        } else if taken == 0 && given == 0 && !part.is_empty() {
            return Err(Corrupt);
        }
        // What fills the room may be followed by more.
        Ok(!part.is_empty() || (given == STEP && self.begun.is_some()))
    }

    /// Whether the body may end here.
    pub(super) fn is_whole(&self) -> bool {
        self.begun.is_none()
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

    /// What comes out of these parts, and the most of one step; `None`: they are corrupt or not whole.
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
    fn a_body_comes_back_however_it_is_cut_and_no_step_gives_more_than_was_counted() {
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
        assert_eq!(decoded("br", &body, 1 << 20).unwrap().0, body, "left as it is");
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
    fn a_body_that_is_cut_or_changed_or_followed_by_anything_is_not_whole() {
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
