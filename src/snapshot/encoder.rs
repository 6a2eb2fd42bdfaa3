//! Encodes one body as zstd and as gzip once its last page has arrived. To save memory, the pages are never
//! uncompressed all at once, and both encodings share one buffer: zstd of all pages is written first, then gzip of all
//! pages, and each page is freed as soon as its gzip is written.
//!
//! The head of the document is written in front of each stream as a stored block, not compressed. Both formats have
//! such blocks, and no later block refers back to it (RFC 1951, 3.2.4; RFC 8878, 3.1.1.2). So each encoding is one gzip
//! member or one zstd frame, which every decoder reads as a whole. No library writes such blocks by itself.

use std::io;

use flate2::{Crc, FlushCompress};
use sha2::{Digest, Sha256};

use super::{
    compressors::Compressors,
    decoder::GZIP_HEADER,
    key::Tag,
    restarts::{RESTART_EVERY, Restart, Restarts},
};

/// The beginning of a zstd frame: the magic number, and a descriptor of 0 (no content size, no checksum, no
/// dictionary). A byte for the window follows.
const ZSTD_HEADER: [u8; 5] = [0x28, 0xb5, 0x2f, 0xfd, 0];
const ZSTD_BLOCK_HEADER: usize = 3;
const ZSTD_HEADER_LENGTH: usize = ZSTD_HEADER.len() + 1;

/// Encodes a body that is passed in twice: first all of it through [`BodyEncoder::zstd`], then all of it through
/// [`BodyEncoder::gzip`].
pub(super) struct BodyEncoder<'a> {
    head: &'a [u8],
    compressors: Compressors,
    /// The zstd frame, followed by the gzip member.
    bytes: Vec<u8>,
    /// Length of the zstd frame, once it is complete.
    zstd: Option<usize>,
    crc: Crc,
    digest: Sha256,
    length: u64,
    /// The body itself, until it becomes larger than `max_plain`.
    plain: Option<Vec<u8>>,
    max_plain: usize,
    restarts: Vec<Restart>,
}

pub(super) struct EncodedBody {
    /// The zstd frame, the gzip member, and the body itself if it is small.
    pub(super) bytes: Vec<u8>,
    /// Bytes of the zstd frame.
    pub(super) zstd: usize,
    /// Bytes of the gzip member.
    pub(super) gzip: usize,
    /// Bytes of the body itself.
    pub(super) length: u64,
    pub(super) tag: Tag,
    /// Where the gzip member can be read from.
    pub(super) restarts: Restarts,
}

impl<'a> BodyEncoder<'a> {
    /// `head` is the beginning of the body, which is not passed in again. A body of up to `max_plain` bytes is kept
    /// uncompressed, too.
    pub(super) fn new(head: &'a [u8], max_plain: usize) -> io::Result<Self> {
        let (mut crc, mut bytes) = (Crc::new(), Vec::new());
        crc.update(head);
        // A block header: not the last block, raw, and its length. The compressor appends the frame's header; see
        // `end_zstd`.
        let block = u32::try_from(head.len()).map_err(io::Error::other)? << 3;
        bytes.extend_from_slice(block.to_le_bytes().get(..ZSTD_BLOCK_HEADER).unwrap_or_default());
        bytes.extend_from_slice(head);
        Ok(Self {
            head,
            compressors: Compressors::take()?,
            bytes,
            zstd: None,
            crc,
            digest: Sha256::new(),
            length: u64::try_from(head.len()).unwrap_or(u64::MAX),
            plain: Some(head.to_vec()).filter(|head| head.len() <= max_plain),
            max_plain,
            restarts: Vec::new(),
        })
    }

    pub(super) fn zstd(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.compressors.zstd(bytes, &mut self.bytes, false)
    }

    pub(super) fn gzip(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.end_zstd()?;
        self.compressors.deflate(bytes, &mut self.bytes, FlushCompress::None)?;
        self.crc.update(bytes);
        self.digest.update(bytes);
        self.length += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        match &mut self.plain {
            Some(plain) if plain.len() + bytes.len() <= self.max_plain => plain.extend_from_slice(bytes),
            too_long => *too_long = None,
        }
        Ok(())
    }

    /// Makes this place in the gzip a restart point, if the last one is far enough away.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        let last = self.restarts.last().map_or(0, |last| last.body);
        if let Some(zstd) = self.zstd
            && self.length - last >= RESTART_EVERY
        {
            self.compressors.deflate(&[], &mut self.bytes, FlushCompress::Full)?;
            let gzip = u64::try_from(self.bytes.len() - zstd).map_err(io::Error::other)?;
            self.restarts.push(Restart { body: self.length, gzip });
        }
        Ok(())
    }

    /// Closes the zstd frame and begins the gzip member. Does nothing after the first call.
    ///
    /// So far the buffer holds the head's block, then the frame's header, then its blocks. Rotating the first two puts
    /// the frame's header first, where it belongs; it was not known before the compressor had written it.
    fn end_zstd(&mut self) -> io::Result<()> {
        if self.zstd.is_some() {
            return Ok(());
        }
        self.compressors.zstd(&[], &mut self.bytes, true)?;
        let beginning = self.bytes.get_mut(..ZSTD_BLOCK_HEADER + self.head.len() + ZSTD_HEADER_LENGTH);
        let beginning = beginning.ok_or_else(|| io::Error::other("a zstd frame has no header"))?;
        beginning.rotate_right(ZSTD_HEADER_LENGTH);
        if !beginning.starts_with(&ZSTD_HEADER) {
            return Err(io::Error::other("a zstd frame has an unexpected header"));
        }
        self.zstd = Some(self.bytes.len());
        let head_length = u16::try_from(self.head.len()).map_err(io::Error::other)?;
        self.bytes.extend_from_slice(&GZIP_HEADER);
        // A block header: not the last block, stored; its length, and the length inverted.
        self.bytes.push(0);
        self.bytes.extend_from_slice(&head_length.to_le_bytes());
        self.bytes.extend_from_slice(&(!head_length).to_le_bytes());
        self.bytes.extend_from_slice(self.head);
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<EncodedBody> {
        self.end_zstd()?;
        self.compressors.deflate(&[], &mut self.bytes, FlushCompress::Finish)?;
        self.compressors.give_back();
        let mut bytes = self.bytes;
        bytes.extend_from_slice(&self.crc.sum().to_le_bytes());
        // RFC 1952 stores the length modulo 2^32.
        let length = u32::try_from(self.length & u64::from(u32::MAX)).unwrap_or_default();
        bytes.extend_from_slice(&length.to_le_bytes());
        let zstd = self.zstd.unwrap_or_default();
        let gzip = bytes.len() - zstd;
        bytes.extend_from_slice(&self.plain.unwrap_or_default());
        let (tag, restarts) = (tag(self.head, self.digest), Restarts::new(self.restarts));
        Ok(EncodedBody { bytes, zstd, gzip, length: self.length, tag, restarts })
    }
}

/// Returns the tag of a body with this head, and with this digest of the rest.
pub(super) fn tag(head: &[u8], rest: Sha256) -> Tag {
    let mut digest = Sha256::new();
    digest.update(head);
    digest.update(rest.finalize());
    Tag::of(&digest.finalize())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    fn encode(head: &[u8], parts: &[Vec<u8>], max_plain: usize) -> EncodedBody {
        let mut encoder = BodyEncoder::new(head, max_plain).unwrap();
        for part in parts {
            encoder.zstd(part).unwrap();
        }
        for part in parts {
            encoder.gzip(part).unwrap();
        }
        encoder.finish().unwrap()
    }

    /// Returns the zstd frame, the gzip member, and the plain body.
    fn pieces(body: &EncodedBody) -> (&[u8], &[u8], &[u8]) {
        let (zstd, rest) = body.bytes.split_at(body.zstd);
        let (gzip, plain) = rest.split_at(body.gzip);
        (zstd, gzip, plain)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_encoding_decodes_to_the_body(
            head in proptest::collection::vec(any::<u8>(), 0..400),
            parts in proptest::collection::vec(proptest::collection::vec(b'a'..b'f', 0..60_000), 0..4),
        ) {
            let whole = [head.clone(), parts.concat()].concat();
            let encoded = encode(&head, &parts, 1 << 20);
            let (zstd, gzip, plain) = pieces(&encoded);
            let mut decoded = Vec::new();
            // This decoder reads only one member, and fails on anything after it.
            let mut gzip = flate2::bufread::GzDecoder::new(gzip);
            gzip.read_to_end(&mut decoded).unwrap();
            prop_assert_eq!(&decoded, &whole);
            prop_assert!(gzip.into_inner().is_empty());
            let mut one_frame = zstd::stream::read::Decoder::new(zstd).unwrap().single_frame();
            decoded.clear();
            one_frame.read_to_end(&mut decoded).unwrap();
            prop_assert_eq!(&decoded, &whole);
            prop_assert_eq!(encoded.length, u64::try_from(whole.len()).unwrap());
            prop_assert_eq!(plain, &whole);
        }
    }

    #[test]
    fn random_bytes_survive_encoding() {
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(3 << 20).collect();
        let encoded = encode(b"{", std::slice::from_ref(&noise), 0);
        let decoded = zstd::stream::decode_all(pieces(&encoded).0).unwrap();
        assert!(decoded.iter().eq(b"{".iter().chain(&noise)));
        assert!(pieces(&encoded).2.is_empty(), "larger than the limit");
    }

    #[test]
    fn the_tag_depends_on_the_body_and_not_on_its_parts() {
        let one = encode(b"head", &[b"abc".to_vec(), b"def".to_vec()], 0).tag;
        assert_eq!(one, encode(b"head", &[b"abcdef".to_vec()], 9).tag);
        assert_ne!(one, encode(b"heae", &[b"abcdef".to_vec()], 9).tag);
        assert_ne!(one, encode(b"head", &[b"abcdeg".to_vec()], 9).tag);
    }
}
