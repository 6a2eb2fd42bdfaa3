//! Counts a listener's open connections, and bounds the memory of their write buffers.
//!
//! actix copies each part of a body into the connection's write buffer, and keeps a buffer of up to 128 KiB until
//! the connection ends. Small parts would bound this memory, but a body of 800 KB would cost 1.4 times the CPU.
//! Parts are therefore small only while many connections are open.
//!
//! At most [`FEW`] connections have large buffers at the same time, because a connection gets a large part only
//! while no more than that are open.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Up to this many connections may have large write buffers.
const FEW: usize = 100;
/// The largest part of a body, in bytes, while more than [`FEW`] connections are open. docs/adr/0044 has the figures.
const SMALL_PART: usize = 24 * 1024;

/// The number of open connections. Clones share one count.
#[derive(Clone, Default)]
pub(super) struct OpenConnections(Arc<AtomicUsize>);

impl OpenConnections {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn remove(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns the maximum size, in bytes, of the parts of a body that begins now.
    pub(super) fn largest_part(&self) -> usize {
        if self.0.load(Ordering::Relaxed) > FEW { SMALL_PART } else { usize::MAX }
    }
}
