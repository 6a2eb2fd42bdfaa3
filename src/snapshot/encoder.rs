//! The codings of one body, made page by page when the last one has come: the body of a large meeting is never in memory
//! as a whole, and neither are its codings twice. They are written one behind the other into one piece of memory, first all
//! pages as zstd, then all of them as gzip, so that a page can be dropped as soon as its gzip is there.
//!
//! The head of the document is put in front of each stream as a block that is stored, not compressed: both formats have
//! such blocks, and no later block refers back to it (RFC 1951, 3.2.4; RFC 8878, 3.1.1.2). So each coding is one gzip
//! member and one zstd frame, which every decoder takes whole.

use std::io;

use flate2::Crc;
use sha2::{Digest, Sha256};

use super::{Tag, compressors::Compressors};

/// RFC 1952: deflate, no name, no time, unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// Magic number; then a descriptor of 0: no content size, no checksum, no dictionary, and a byte for the window.
const ZSTD_HEADER: [u8; 5] = [0x28, 0xb5, 0x2f, 0xfd, 0];
const ZSTD_BLOCK_HEADER: usize = 3;
const ZSTD_HEADER_LENGTH: usize = ZSTD_HEADER.len() + 1;

/// Makes a body's codings. The body is given twice: to [`Packer::zstd`] first, and then to [`Packer::gzip`].
pub(super) struct Packer<'a> {
    head: &'a [u8],
    compressors: Compressors,
    /// The zstd frame, and behind it the gzip member.
    bytes: Vec<u8>,
    /// Length of the zstd frame, once it is whole.
    zstd: Option<usize>,
    crc: Crc,
    digest: Sha256,
    length: u64,
    /// The bytes themselves, as long as there are few.
    plain: Option<Vec<u8>>,
    plain_at_most: usize,
}

/// A body in all its codings.
pub(super) struct Packed {
    /// As zstd, as gzip, and, if it is small, as it is; one behind the other.
    pub(super) bytes: Vec<u8>,
    /// Bytes of the zstd frame.
    pub(super) zstd: usize,
    /// Bytes of the gzip member.
    pub(super) gzip: usize,
    /// Of the body as it is, in bytes.
    pub(super) length: u64,
    pub(super) tag: Tag,
}

impl<'a> Packer<'a> {
    /// `head` is what the body begins with.
    pub(super) fn new(head: &'a [u8], plain_at_most: usize) -> io::Result<Self> {
        let (mut crc, mut bytes) = (Crc::new(), Vec::new());
        crc.update(head);
        // Not the last block; raw; its length. The compressor writes the frame's header behind it: see `end_zstd`.
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
            plain: Some(head.to_vec()).filter(|head| head.len() <= plain_at_most),
            plain_at_most,
        })
    }

    /// Appends to the body's zstd coding.
    pub(super) fn zstd(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.compressors.zstd(bytes, &mut self.bytes, false)
    }

    /// Appends to the body's gzip coding.
    pub(super) fn gzip(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.end_zstd()?;
        self.compressors.deflate(bytes, &mut self.bytes, false)?;
        self.crc.update(bytes);
        self.digest.update(bytes);
        self.length += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        match &mut self.plain {
            Some(plain) if plain.len() + bytes.len() <= self.plain_at_most => plain.extend_from_slice(bytes),
            too_long => *too_long = None,
        }
        Ok(())
    }

    /// Closes the zstd frame and begins the gzip member.
    fn end_zstd(&mut self) -> io::Result<()> {
        if self.zstd.is_some() {
            return Ok(());
        }
        self.compressors.zstd(&[], &mut self.bytes, true)?;
        let beginning = self.bytes.get_mut(..ZSTD_BLOCK_HEADER + self.head.len() + ZSTD_HEADER_LENGTH);
        let beginning = beginning.ok_or_else(|| io::Error::other("a zstd frame without a header"))?;
        beginning.rotate_right(ZSTD_HEADER_LENGTH);
        if !beginning.starts_with(&ZSTD_HEADER) {
            return Err(io::Error::other("a zstd frame with a header of another form"));
        }
        self.zstd = Some(self.bytes.len());
        let head_length = u16::try_from(self.head.len()).map_err(io::Error::other)?;
        self.bytes.extend_from_slice(&GZIP_HEADER);
        // Not the last block; stored; its length, and that inverted.
        self.bytes.push(0);
        self.bytes.extend_from_slice(&head_length.to_le_bytes());
        self.bytes.extend_from_slice(&(!head_length).to_le_bytes());
        self.bytes.extend_from_slice(self.head);
        Ok(())
    }

    /// Closes both.
    pub(super) fn finish(mut self) -> io::Result<Packed> {
        self.end_zstd()?;
        self.compressors.deflate(&[], &mut self.bytes, true)?;
        self.compressors.give_back();
        let mut bytes = self.bytes;
        bytes.extend_from_slice(&self.crc.sum().to_le_bytes());
        // RFC 1952: modulo 2^32.
        let length = u32::try_from(self.length & u64::from(u32::MAX)).unwrap_or_default();
        bytes.extend_from_slice(&length.to_le_bytes());
        let zstd = self.zstd.unwrap_or_default();
        let gzip = bytes.len() - zstd;
        bytes.extend_from_slice(&self.plain.unwrap_or_default());
        let mut digest = Sha256::new();
        digest.update(self.head);
        digest.update(self.digest.finalize());
        Ok(Packed { bytes, zstd, gzip, length: self.length, tag: Tag::of(&digest.finalize()) })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    fn pack(head: &[u8], parts: &[Vec<u8>], plain_at_most: usize) -> Packed {
        let mut packer = Packer::new(head, plain_at_most).unwrap();
        for part in parts {
            packer.zstd(part).unwrap();
        }
        for part in parts {
            packer.gzip(part).unwrap();
        }
        packer.finish().unwrap()
    }

    /// As zstd, as gzip, and as it is.
    fn pieces(packed: &Packed) -> (&[u8], &[u8], &[u8]) {
        let (zstd, rest) = packed.bytes.split_at(packed.zstd);
        let (gzip, plain) = rest.split_at(packed.gzip);
        (zstd, gzip, plain)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_coding_gives_the_body_back(
            head in proptest::collection::vec(any::<u8>(), 0..400),
            parts in proptest::collection::vec(proptest::collection::vec(b'a'..b'f', 0..60_000), 0..4),
        ) {
            let whole = [head.clone(), parts.concat()].concat();
            let packed = pack(&head, &parts, 1 << 20);
            let (zstd, gzip, plain) = pieces(&packed);
            let mut unpacked = Vec::new();
            // A decoder of one member, which fails on anything behind it.
            let mut gzip = flate2::bufread::GzDecoder::new(gzip);
            gzip.read_to_end(&mut unpacked).unwrap();
            prop_assert_eq!(&unpacked, &whole);
            prop_assert!(gzip.into_inner().is_empty());
            let mut one_frame = zstd::stream::read::Decoder::new(zstd).unwrap().single_frame();
            unpacked.clear();
            one_frame.read_to_end(&mut unpacked).unwrap();
            prop_assert_eq!(&unpacked, &whole);
            prop_assert_eq!(packed.length, u64::try_from(whole.len()).unwrap());
            prop_assert_eq!(plain, &whole);
        }
    }

    #[test]
    fn bytes_that_do_not_compress_are_given_back_too() {
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(3 << 20).collect();
        let packed = pack(b"{", std::slice::from_ref(&noise), 0);
        let unpacked = zstd::stream::decode_all(pieces(&packed).0).unwrap();
        assert!(unpacked.iter().eq(b"{".iter().chain(&noise)));
        assert!(pieces(&packed).2.is_empty(), "more than was asked to be kept");
    }

    #[test]
    fn the_tag_is_of_the_whole_body_however_it_came() {
        let one = pack(b"head", &[b"abc".to_vec(), b"def".to_vec()], 0).tag;
        assert_eq!(one, pack(b"head", &[b"abcdef".to_vec()], 9).tag);
        assert_ne!(one, pack(b"heae", &[b"abcdef".to_vec()], 9).tag);
        assert_ne!(one, pack(b"head", &[b"abcdeg".to_vec()], 9).tag);
    }
}
