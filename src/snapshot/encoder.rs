//! Encodes one body as zstd and as gzip, page by page.
//!
//! The head of the document is known only after the last page. The encoder puts it in front of each stream as a stored
//! block, which is not compressed. Both formats have such blocks, and no later block refers back to the head (RFC 1951,
//! 3.2.4; RFC 8878, 3.1.1.2). Each encoding is therefore one gzip member or one zstd frame, which every decoder reads
//! as a whole. The encoder writes these blocks itself, because the libraries cannot put one in front of a stream.

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

/// Encodes everything in a body that follows its head.
pub(super) struct BodyEncoder {
    compressors: Compressors,
    zstd: Vec<u8>,
    /// The deflate blocks of the gzip, without its header and the head of the document.
    gzip: Vec<u8>,
    crc: Crc,
    digest: Sha256,
    length: u64,
    /// The uncompressed bytes; `None` once they exceed `max_plain`.
    plain: Option<Vec<u8>>,
    max_plain: usize,
    /// The restart points, by offsets that do not include the head.
    restarts: Vec<Restart>,
}

pub(super) struct EncodedBody {
    pub(super) zstd: Vec<u8>,
    /// The gzip member, and the body itself if it is small.
    pub(super) gzip_and_plain: Vec<u8>,
    /// The length of the gzip member, in bytes.
    pub(super) gzip: usize,
    /// The length of the uncompressed body, in bytes.
    pub(super) length: u64,
    pub(super) tag: Tag,
    /// The places in the gzip member where decompression can begin.
    pub(super) restarts: Restarts,
}

impl BodyEncoder {
    /// A body of up to `max_plain` bytes is also kept uncompressed.
    pub(super) fn new(max_plain: usize) -> io::Result<Self> {
        Ok(Self {
            compressors: Compressors::take()?,
            zstd: Vec::new(),
            gzip: Vec::new(),
            crc: Crc::new(),
            digest: Sha256::new(),
            length: 0,
            plain: Some(Vec::new()),
            max_plain,
            restarts: Vec::new(),
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.compressors.zstd(bytes, &mut self.zstd, false)?;
        self.compressors.deflate(bytes, &mut self.gzip, FlushCompress::None)?;
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
        if self.length - last >= RESTART_EVERY {
            self.compressors.deflate(&[], &mut self.gzip, FlushCompress::Full)?;
            let gzip = u64::try_from(self.gzip.len()).map_err(io::Error::other)?;
            self.restarts.push(Restart { body: self.length, gzip });
        }
        Ok(())
    }

    /// Returns the average memory of the two encodings so far, in bytes, which is about what the waiting pages would
    /// take. The memory of the second encoding is allowed for when a meeting is finished (docs/adr/0023).
    pub(super) fn weight(&self) -> usize {
        usize::midpoint(self.zstd.len(), self.gzip.len()) + self.restarts.capacity() * size_of::<Restart>()
    }

    /// Ends the encodings, and puts the head in front of them.
    pub(super) fn finish(mut self, head: &[u8]) -> io::Result<EncodedBody> {
        self.compressors.zstd(&[], &mut self.zstd, true)?;
        self.compressors.deflate(&[], &mut self.gzip, FlushCompress::Finish)?;
        self.compressors.give_back();
        if !self.zstd.starts_with(&ZSTD_HEADER) {
            return Err(io::Error::other("a zstd frame has an unexpected header"));
        }
        // A zstd block header: not the last block, raw, and its length.
        let block = u32::try_from(head.len()).map_err(io::Error::other)? << 3;
        let block = block.to_le_bytes();
        let block = block.iter().take(ZSTD_BLOCK_HEADER).chain(head).copied();
        self.zstd.splice(ZSTD_HEADER_LENGTH..ZSTD_HEADER_LENGTH, block);

        // A deflate block header: not the last block, stored; its length, and the length inverted.
        let length = u16::try_from(head.len()).map_err(io::Error::other)?;
        let begin = [&GZIP_HEADER[..], &[0], &length.to_le_bytes(), &(!length).to_le_bytes(), head].concat();
        let [body, before] =
            [head.len(), begin.len()].map(|length| u64::try_from(length).unwrap_or(u64::MAX));
        let mut gzip = self.gzip;
        gzip.splice(..0, begin);
        let mut crc = Crc::new();
        crc.update(head);
        crc.combine(&self.crc);
        gzip.extend_from_slice(&crc.sum().to_le_bytes());
        let length = body + self.length;
        // RFC 1952 stores the length modulo 2^32.
        let modulo = u32::try_from(length & u64::from(u32::MAX)).unwrap_or_default();
        gzip.extend_from_slice(&modulo.to_le_bytes());
        let (zstd, end) = (self.zstd, gzip.len());
        if let Some(plain) = self.plain.filter(|plain| head.len() + plain.len() <= self.max_plain) {
            gzip.extend_from_slice(head);
            gzip.extend_from_slice(&plain);
        }
        let moved = |point: Restart| Restart { body: point.body + body, gzip: point.gzip + before };
        let restarts = Restarts::new(self.restarts.into_iter().map(moved).collect());
        let tag = tag(head, self.digest);
        Ok(EncodedBody { zstd, gzip_and_plain: gzip, gzip: end, length, tag, restarts })
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
        let mut encoder = BodyEncoder::new(max_plain).unwrap();
        for part in parts {
            encoder.write(part).unwrap();
        }
        encoder.finish(head).unwrap()
    }

    /// Returns the zstd frame, the gzip member, and the plain body.
    fn pieces(body: &EncodedBody) -> (&[u8], &[u8], &[u8]) {
        let (gzip, plain) = body.gzip_and_plain.split_at(body.gzip);
        (&body.zstd, gzip, plain)
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
            // This decoder reads only one member. The assertion below checks that nothing follows it.
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
