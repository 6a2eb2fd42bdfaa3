//! Encodes a body while it is written, for representations that are made on demand.

use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};

use super::encoding::Coding;

/// How much time compression may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// For views, which are cached only for seconds: faster levels than for snapshots, which are compressed once and
    /// served often.
    Low,
    /// For pages: people may have slow networks, and repetitive HTML becomes half as large as with `Low`.
    High,
}

impl Effort {
    fn gzip_level(self) -> u32 {
        match self {
            Self::Low => 1,
            Self::High => 6,
        }
    }

    fn zstd_level(self) -> i32 {
        match self {
            Self::Low => 1,
            Self::High => 3,
        }
    }
}

pub(crate) struct WrittenBody {
    pub(crate) bytes: Vec<u8>,
    /// The length of the uncompressed body, in bytes.
    pub(crate) length: u64,
}

pub(crate) struct BodyWriter {
    encoder: Encoder,
    length: u64,
}

enum Encoder {
    Identity(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl BodyWriter {
    pub(crate) fn new(coding: Coding, effort: Effort) -> io::Result<Self> {
        let encoder = match coding {
            Coding::Identity => Encoder::Identity(Vec::new()),
            Coding::Gzip => Encoder::Gzip(GzEncoder::new(Vec::new(), Compression::new(effort.gzip_level()))),
            Coding::Zstd => {
                Encoder::Zstd(zstd::stream::write::Encoder::new(Vec::new(), effort.zstd_level())?)
            }
        };
        Ok(Self { encoder, length: 0 })
    }

    pub(crate) fn finish(self) -> io::Result<WrittenBody> {
        let mut bytes = match self.encoder {
            Encoder::Identity(bytes) => bytes,
            Encoder::Gzip(encoder) => encoder.finish()?,
            Encoder::Zstd(encoder) => encoder.finish()?,
        };
        bytes.shrink_to_fit();
        Ok(WrittenBody { bytes, length: self.length })
    }
}

impl Write for BodyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.encoder {
            Encoder::Identity(all) => all.write(bytes),
            Encoder::Gzip(encoder) => encoder.write(bytes),
            Encoder::Zstd(encoder) => encoder.write(bytes),
        }?;
        self.length += u64::try_from(written).unwrap_or_default();
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
