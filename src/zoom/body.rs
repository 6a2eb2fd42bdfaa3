//! Bodies of answers while they are read: how long each may pause, how large it may become, and how much memory all of
//! them take together.
//!
//! A page of ten people after ten hours is 17 MiB, and Zoom may write for longer than one timeout: what counts is that it
//! goes on writing. Memory is counted as bytes arrive. Half of the bound is a pool that all bodies share; the other half
//! belongs to one body at a time, which therefore always comes to its end and frees what it took. A body that finds no
//! room is not read on until there is some. The pages that flights keep count, too: at `limits.max_fetch_bytes` for all
//! of it together, only that one body is read on.

use std::{cell::Cell, pin::pin, rc::Rc, sync::Arc, time::Duration};

use awc::error::PayloadError;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use tokio::sync::Notify;

use crate::metrics::Metrics;

/// Why a body did not arrive whole.
pub(super) enum BodyError {
    /// Larger than it may be, or announced to be.
    TooLarge,
    /// Nothing came for too long.
    TimedOut,
    /// It broke off.
    Broken(PayloadError),
}

/// The memory of all bodies that are being read. Clones share it; belongs to one thread.
#[derive(Clone)]
pub struct BodyMemory(Rc<Inner>);

struct Inner {
    /// For all bodies but the one that has the other half.
    pool: usize,
    /// Bytes of the pool that are taken.
    taken: Cell<usize>,
    /// Whether a body has the other half, and how many bytes of it.
    is_reserve_taken: Cell<bool>,
    reserve: Cell<usize>,
    /// Bytes of the pages that flights keep.
    kept: Cell<usize>,
    /// For all of that.
    most: usize,
    /// Bodies being read.
    being_read: Cell<usize>,
    freed: Notify,
    metrics: Option<Arc<Metrics>>,
}

impl BodyMemory {
    /// Room for twice the largest body, and for `most` bytes together with the pages that flights keep.
    #[must_use]
    pub fn new(max_body: usize, most: usize, metrics: &Arc<Metrics>) -> Self {
        Self::counted_in(max_body, most, Some(Arc::clone(metrics)))
    }

    /// The same for bodies that belong to no flight.
    pub(super) fn uncounted(max_body: usize) -> Self {
        Self::counted_in(max_body, usize::MAX, None)
    }

    fn counted_in(max_body: usize, most: usize, metrics: Option<Arc<Metrics>>) -> Self {
        Self(Rc::new(Inner {
            pool: max_body,
            taken: Cell::new(0),
            is_reserve_taken: Cell::new(false),
            reserve: Cell::new(0),
            kept: Cell::new(0),
            most,
            being_read: Cell::new(0),
            freed: Notify::new(),
            metrics,
        }))
    }

    /// Bytes of all bodies that are being read and all pages that are kept.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.0.taken.get() + self.0.reserve.get() + self.0.kept.get()
    }

    /// How many bodies are being read.
    #[must_use]
    pub fn being_read(&self) -> usize {
        self.0.being_read.get()
    }

    /// A flight keeps so many bytes of pages instead of so many.
    pub fn kept_changes(&self, from: usize, to: usize) {
        self.0.kept.set((self.0.kept.get() + to).saturating_sub(from));
        self.changed();
        if to < from {
            self.wake();
        }
    }

    /// Ends when something is freed after this was called.
    pub fn freed(&self) -> impl Future<Output = ()> {
        self.0.freed.notified()
    }

    /// Has everybody look again who waits for room.
    pub fn wake(&self) {
        self.0.freed.notify_waiters();
    }

    fn changed(&self) {
        if let Some(metrics) = &self.0.metrics {
            metrics.fetch_bytes.set(i64::try_from(self.in_use()).unwrap_or(i64::MAX));
        }
    }

    /// Returns when a call can be made whose answer there is room for: at once, unless the pool is full.
    pub async fn room(&self) {
        while self.0.taken.get() >= self.0.pool {
            self.0.freed.notified().await;
        }
    }

    pub(super) fn begin(&self) -> BodyBytes {
        self.0.being_read.set(self.0.being_read.get() + 1);
        BodyBytes { memory: self.clone(), taken: 0, reserve: 0, has_reserve: false }
    }
}

/// The memory of one body, freed when it is dropped.
pub(super) struct BodyBytes {
    memory: BodyMemory,
    /// Of the pool.
    taken: usize,
    /// Of the other half.
    reserve: usize,
    has_reserve: bool,
}

impl BodyBytes {
    /// Takes so many bytes more, and waits until it can.
    async fn grow(&mut self, bytes: usize) {
        let memory = self.memory.clone();
        let inner = &memory.0;
        while !self.has_reserve {
            let freed = memory.freed();
            let fits_pool = inner.taken.get().saturating_add(bytes) <= inner.pool;
            if fits_pool && memory.in_use().saturating_add(bytes) <= inner.most {
                inner.taken.set(inner.taken.get() + bytes);
                self.taken += bytes;
                memory.changed();
                return;
            }
            if inner.is_reserve_taken.replace(true) {
                freed.await;
            } else {
                self.has_reserve = true;
            }
        }
        inner.reserve.set(inner.reserve.get() + bytes);
        self.reserve += bytes;
        memory.changed();
    }
}

impl Drop for BodyBytes {
    fn drop(&mut self) {
        let inner = &self.memory.0;
        inner.being_read.set(inner.being_read.get() - 1);
        inner.taken.set(inner.taken.get() - self.taken);
        inner.reserve.set(inner.reserve.get() - self.reserve);
        if self.has_reserve {
            inner.is_reserve_taken.set(false);
        }
        self.memory.changed();
        self.memory.wake();
    }
}

/// How much of a body is read, in bytes.
#[derive(Clone, Copy)]
pub(super) enum Extent {
    /// All of it; one that is larger than this is an error.
    Whole(usize),
    /// The beginning. The connection of a body that has more is closed, as nobody reads the rest.
    Beginning(usize),
}

/// What was read of a body.
pub(super) struct Body {
    pub(super) bytes: Bytes,
    /// Whether its end was read.
    pub(super) is_whole: bool,
}

/// Reads a body, with `gap` at most between two parts of it, and `announced` bytes expected.
pub(super) async fn read<S>(
    body: S,
    announced: Option<usize>,
    gap: Duration,
    extent: Extent,
    counted: &mut BodyBytes,
) -> Result<Body, BodyError>
where
    S: Stream<Item = Result<Bytes, PayloadError>>,
{
    let (Extent::Whole(most) | Extent::Beginning(most)) = extent;
    if matches!(extent, Extent::Whole(_)) && announced.is_some_and(|length| length > most) {
        return Err(BodyError::TooLarge);
    }
    let mut body = pin!(body);
    // Memory that is not written to is not taken.
    let mut read = BytesMut::with_capacity(announced.unwrap_or_default().min(most));
    loop {
        let part = tokio::time::timeout(gap, body.next()).await.map_err(|_| BodyError::TimedOut)?;
        let Some(part) = part else { return Ok(Body { bytes: read.freeze(), is_whole: true }) };
        let mut part = part.map_err(BodyError::Broken)?;
        let room = most.saturating_sub(read.len());
        if part.len() > room {
            match extent {
                Extent::Whole(_) => return Err(BodyError::TooLarge),
                Extent::Beginning(_) => part.truncate(room),
            }
            counted.grow(part.len()).await;
            read.extend_from_slice(&part);
            return Ok(Body { bytes: read.freeze(), is_whole: false });
        }
        counted.grow(part.len()).await;
        read.extend_from_slice(&part);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, future::join_all};

    use super::*;

    #[test]
    fn bodies_together_stay_within_twice_the_largest_and_all_come_to_their_end() {
        const LARGEST: usize = 1_000;
        let memory = BodyMemory::uncounted(LARGEST);
        let (most, now) = (Cell::new(0_usize), Cell::new(0_usize));
        let read_one = async |size: usize| {
            let mut counted = memory.begin();
            for _ in 0..size / 10 {
                counted.grow(10).await;
                now.set(now.get() + 10);
                most.set(most.get().max(now.get()));
                tokio::task::yield_now().await;
            }
            now.set(now.get() - size / 10 * 10);
        };
        actix_rt::System::new().block_on(async {
            join_all((0..50).map(|number| read_one(100 + number * 18))).await;
            assert!(memory.room().now_or_never().is_some(), "all is free again");
        });
        assert!(most.get() <= 2 * LARGEST && most.get() > LARGEST, "{}", most.get());
        assert_eq!((memory.0.taken.get(), memory.0.is_reserve_taken.get()), (0, false));
    }

    #[test]
    fn no_call_begins_while_the_pool_is_full() {
        let memory = BodyMemory::uncounted(100);
        let mut counted = memory.begin();
        counted.grow(100).now_or_never().unwrap();
        assert!(memory.room().now_or_never().is_none());
        // One body more is read by the other half, and the next waits.
        let (mut second, mut third) = (memory.begin(), memory.begin());
        second.grow(1).now_or_never().unwrap();
        assert!(third.grow(1).now_or_never().is_none());
        drop(second);
        third.grow(1).now_or_never().unwrap();
        drop(counted);
        assert!(memory.room().now_or_never().is_some());
    }
}
