//! The codings of one body, made page by page when the last one has come: the body of a large meeting is never in memory
//! as a whole.
//!
//! The head of the document holds the number of rows and the time, which are known last. It is put in front of the
//! finished streams as a block that is stored, not compressed: both formats have such blocks, and no later block refers
//! back to it (RFC 1951, 3.2.4; RFC 8878, 3.1.1.2). So each coding is one gzip member and one zstd frame, which every
//! decoder takes whole.

use std::io;

use flate2::Crc;
use sha2::{Digest, Sha256};

use super::{Tag, compressors::Compressors};

/// RFC 1952: deflate, no name, no time, unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// Magic number; then a descriptor of 0: no content size, no checksum, no dictionary, and a byte for the window.
const ZSTD_HEADER: [u8; 5] = [0x28, 0xb5, 0x2f, 0xfd, 0];
const ZSTD_HEADER_LENGTH: usize = ZSTD_HEADER.len() + 1;

pub(super) struct Packer {
    compressors: Compressors,
    deflated: Vec<u8>,
    frame: Vec<u8>,
    crc: Crc,
    digest: Sha256,
    length: u64,
    /// The bytes themselves, as long as there are few.
    plain: Option<Vec<u8>>,
    plain_at_most: usize,
}

/// A body in all its codings.
pub(super) struct Packed {
    pub(super) gzip: Vec<u8>,
    pub(super) zstd: Vec<u8>,
    /// The body as it is, if it is small.
    pub(super) plain: Option<Vec<u8>>,
    /// Of the body as it is, in bytes.
    pub(super) length: u64,
    pub(super) tag: Tag,
}

impl Packer {
    pub(super) fn new(plain_at_most: usize) -> io::Result<Self> {
        Ok(Self {
            compressors: Compressors::take()?,
            deflated: Vec::new(),
            frame: Vec::new(),
            crc: Crc::new(),
            digest: Sha256::new(),
            length: 0,
            plain: Some(Vec::new()),
            plain_at_most,
        })
    }

    /// Appends to the body.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.compressors.deflate(bytes, &mut self.deflated, false)?;
        self.compressors.zstd(bytes, &mut self.frame, false)?;
        self.crc.update(bytes);
        self.digest.update(bytes);
        self.length += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        match &mut self.plain {
            Some(plain) if plain.len() + bytes.len() <= self.plain_at_most => plain.extend_from_slice(bytes),
            too_long => *too_long = None,
        }
        Ok(())
    }

    /// Puts `head` in front, and closes.
    pub(super) fn finish(mut self, head: &[u8]) -> io::Result<Packed> {
        let mut crc = Crc::new();
        crc.update(head);
        crc.combine(&self.crc);
        let length = self.length + u64::try_from(head.len()).unwrap_or(u64::MAX);
        let mut digest = Sha256::new();
        digest.update(head);
        digest.update(self.digest.finalize());
        let tag = Tag::of(&digest.finalize());
        let plain = self.plain.map(|plain| [head, &plain].concat());
        let plain = plain.filter(|plain| plain.len() <= self.plain_at_most);
        self.compressors.deflate(&[], &mut self.deflated, true)?;
        self.compressors.zstd(&[], &mut self.frame, true)?;
        self.compressors.give_back();
        let gzip = gzip(head, &self.deflated, crc.sum(), length)?;
        let zstd = zstd(head, &self.frame)?;
        Ok(Packed { gzip, zstd, plain, length, tag })
    }
}

fn gzip(head: &[u8], deflated: &[u8], crc: u32, length: u64) -> io::Result<Vec<u8>> {
    let head_length = u16::try_from(head.len()).map_err(io::Error::other)?;
    let mut gzip = Vec::with_capacity(head.len() + deflated.len() + 32);
    gzip.extend_from_slice(&GZIP_HEADER);
    // Not the last block; stored; its length, and that inverted.
    gzip.push(0);
    gzip.extend_from_slice(&head_length.to_le_bytes());
    gzip.extend_from_slice(&(!head_length).to_le_bytes());
    gzip.extend_from_slice(head);
    gzip.extend_from_slice(deflated);
    gzip.extend_from_slice(&crc.to_le_bytes());
    // RFC 1952: modulo 2^32.
    gzip.extend_from_slice(&u32::try_from(length & u64::from(u32::MAX)).unwrap_or_default().to_le_bytes());
    Ok(gzip)
}

fn zstd(head: &[u8], frame: &[u8]) -> io::Result<Vec<u8>> {
    let Some((header, blocks)) = frame.split_at_checked(ZSTD_HEADER_LENGTH) else {
        return Err(io::Error::other("a zstd frame without a header"));
    };
    if !header.starts_with(&ZSTD_HEADER) {
        return Err(io::Error::other("a zstd frame with a header of another form"));
    }
    // Not the last block; raw; its length.
    let block = u32::try_from(head.len()).map_err(io::Error::other)? << 3;
    let mut zstd = Vec::with_capacity(frame.len() + head.len() + 3);
    zstd.extend_from_slice(header);
    zstd.extend_from_slice(block.to_le_bytes().get(..3).unwrap_or_default());
    zstd.extend_from_slice(head);
    zstd.extend_from_slice(blocks);
    Ok(zstd)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    fn pack(head: &[u8], parts: &[Vec<u8>], plain_at_most: usize) -> Packed {
        let mut packer = Packer::new(plain_at_most).unwrap();
        for part in parts {
            packer.write(part).unwrap();
        }
        packer.finish(head).unwrap()
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
            let mut unpacked = Vec::new();
            // A decoder of one member, which fails on anything behind it.
            let mut gzip = flate2::bufread::GzDecoder::new(&packed.gzip[..]);
            gzip.read_to_end(&mut unpacked).unwrap();
            prop_assert_eq!(&unpacked, &whole);
            prop_assert!(gzip.into_inner().is_empty());
            let mut one_frame = zstd::stream::read::Decoder::new(&packed.zstd[..]).unwrap().single_frame();
            unpacked.clear();
            one_frame.read_to_end(&mut unpacked).unwrap();
            prop_assert_eq!(&unpacked, &whole);
            prop_assert_eq!(packed.length, u64::try_from(whole.len()).unwrap());
            prop_assert_eq!(packed.plain.as_ref(), Some(&whole));
        }
    }

    #[test]
    fn bytes_that_do_not_compress_are_given_back_too() {
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(3 << 20).collect();
        let packed = pack(b"{", std::slice::from_ref(&noise), 0);
        let unpacked = zstd::stream::decode_all(&packed.zstd[..]).unwrap();
        assert!(unpacked.iter().eq(b"{".iter().chain(&noise)));
        assert!(packed.plain.is_none(), "more than was asked to be kept");
    }

    #[test]
    fn the_tag_is_of_the_whole_body_however_it_came() {
        let one = pack(b"head", &[b"abc".to_vec(), b"def".to_vec()], 0).tag;
        assert_eq!(one, pack(b"head", &[b"abcdef".to_vec()], 9).tag);
        assert_ne!(one, pack(b"heae", &[b"abcdef".to_vec()], 9).tag);
        assert_ne!(one, pack(b"head", &[b"abcdeg".to_vec()], 9).tag);
    }
}
