//! The two compressors of a body. Together they take nearly two megabytes, so they are pooled: allocating and freeing
//! them for each meeting would fragment the heap until it takes several times the memory in use.

use std::{
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use flate2::{Compress, Compression, FlushCompress, Status};
use zstd::zstd_safe::{
    CCtx, CParameter, InBuffer, OutBuffer, ResetDirective, get_error_name, zstd_sys::ZSTD_EndDirective,
};

/// Higher levels take much longer and save little memory: docs/adr/0009 has the figures.
const GZIP_LEVEL: u32 = 6;
pub(super) const ZSTD_LEVEL: i32 = 7;
/// A window of 512 KiB, far below the 8 MiB that RFC 9659 allows in HTTP, and tables of 64 Ki entries. Twice as much
/// does not compress better.
const ZSTD_WINDOW_LOG: u32 = 19;
const ZSTD_TABLE_LOG: u32 = 16;

/// The maximum number of idle compressors that are kept.
const MAX_IDLE: usize = 8;
static IDLE: Mutex<Vec<Compressors>> = Mutex::new(Vec::new());

/// How many flights may keep compressors between their pages.
const MAX_HELD: usize = 4;
static HELD: AtomicUsize = AtomicUsize::new(0);

/// The minimum free capacity for output, in bytes.
const MIN_ROOM: usize = 4 * 1024;

pub(super) struct Compressors {
    deflate: Compress,
    zstd: CCtx<'static>,
}

/// The right to keep compressors between pages. It has nothing to do with permits for calls.
pub(super) struct HoldPermit(());

impl HoldPermit {
    /// Returns `None` if [`MAX_HELD`] flights keep compressors.
    pub(super) fn take() -> Option<Self> {
        let more = |held| (held < MAX_HELD).then_some(held + 1);
        HELD.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok().then(|| Self(()))
    }
}

impl Drop for HoldPermit {
    fn drop(&mut self) {
        HELD.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Compressors {
    /// Takes idle compressors from the pool, or makes new compressors.
    pub(super) fn take() -> io::Result<Self> {
        if let Some(idle) = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(idle);
        }
        let mut zstd = CCtx::try_create().ok_or(io::ErrorKind::OutOfMemory)?;
        for parameter in [
            CParameter::CompressionLevel(ZSTD_LEVEL),
            CParameter::WindowLog(ZSTD_WINDOW_LOG),
            CParameter::HashLog(ZSTD_TABLE_LOG),
            CParameter::ChainLog(ZSTD_TABLE_LOG),
            // zstd would write a wrong size, because the encoder adds the head as a block of its own.
            CParameter::ContentSizeFlag(false),
            CParameter::ChecksumFlag(false),
        ] {
            zstd.set_parameter(parameter).map_err(failed)?;
        }
        Ok(Self { deflate: Compress::new(Compression::new(GZIP_LEVEL), false), zstd })
    }

    /// Returns the compressors to the pool once their body is finished, unless the pool is full. The compressors of an
    /// unfinished body are dropped instead.
    pub(super) fn give_back(mut self) {
        self.deflate.reset();
        let is_reset = self.zstd.reset(ResetDirective::SessionOnly).is_ok();
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        if is_reset && idle.len() < MAX_IDLE {
            idle.push(self);
        }
    }

    /// Compresses `bytes` as raw deflate (RFC 1951), and then flushes or ends the stream as `flush` says.
    pub(super) fn deflate(
        &mut self,
        mut bytes: &[u8],
        out: &mut Vec<u8>,
        flush: FlushCompress,
    ) -> io::Result<()> {
        loop {
            make_room(out, bytes.len());
            let before = self.deflate.total_in();
            let status = self.deflate.compress_vec(bytes, out, flush)?;
            let consumed = usize::try_from(self.deflate.total_in() - before).unwrap_or(bytes.len());
            bytes = bytes.get(consumed..).unwrap_or_default();
            let is_done = match flush {
                FlushCompress::Finish => status == Status::StreamEnd,
                FlushCompress::None => bytes.is_empty(),
                // If the output is full, more of the flush may be left.
                _ => bytes.is_empty() && out.len() < out.capacity(),
            };
            if is_done {
                return Ok(());
            }
        }
    }

    /// Compresses `bytes` into a zstd frame, and ends the frame if `is_last` is set.
    pub(super) fn zstd(&mut self, bytes: &[u8], out: &mut Vec<u8>, is_last: bool) -> io::Result<()> {
        let directive =
            if is_last { ZSTD_EndDirective::ZSTD_e_end } else { ZSTD_EndDirective::ZSTD_e_continue };
        let mut bytes = InBuffer::around(bytes);
        loop {
            make_room(out, bytes.src.len());
            let filled = out.len();
            let mut room = OutBuffer::around_pos(out, filled);
            let left = self.zstd.compress_stream2(&mut room, &mut bytes, directive).map_err(failed)?;
            let all_consumed = bytes.pos() == bytes.src.len();
            if if is_last { left == 0 } else { all_consumed } {
                return Ok(());
            }
        }
    }
}

/// Reserves space for the output of `bytes` of input. A full vector would double its capacity, which is a hundred
/// megabytes too many for a large meeting, so this function adds an eighth.
fn make_room(out: &mut Vec<u8>, bytes: usize) {
    let least = MIN_ROOM.max(bytes / 8);
    if out.capacity() - out.len() < least {
        out.reserve_exact(least.max(out.len() / 8));
    }
}

fn failed(code: usize) -> io::Error {
    io::Error::other(get_error_name(code))
}
