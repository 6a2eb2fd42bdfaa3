//! Caches views of snapshots for some seconds. Views are made on demand.

use bytes::Bytes;

use super::byte_cache::ByteCache;
use crate::snapshot::{Coding, Tag, WrittenBody};

/// The bound on all views in memory, including those that slow clients still read, as a multiple of the bound on the
/// cached ones.
const IN_USE_FACTOR: u64 = 4;
/// The minimum of that bound, in bytes, however small the cache is: one page of 300 participants may take this much.
const LEAST_IN_USE: u64 = 32 * 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ViewKey {
    pub(crate) tag: Tag,
    /// The view's name, which contains all its parameters.
    pub(crate) name: Box<str>,
    pub(crate) coding: Coding,
}

#[derive(Clone)]
pub(crate) struct ViewBody {
    pub(crate) bytes: Bytes,
    /// The length of the uncompressed view, in bytes.
    pub(crate) length: u64,
}

#[derive(Clone)]
pub(crate) struct Views {
    pub(super) cached: ByteCache<ViewKey, ViewBody>,
    max_bytes: u64,
}

impl Views {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self { cached: ByteCache::new(max_bytes), max_bytes }
    }

    pub(crate) fn get(&self, key: &ViewKey) -> Option<ViewBody> {
        self.cached.get(key)
    }

    /// Caches the view unless it is large, and returns it. Returns `None` if all views in use would take too much
    /// memory.
    pub(crate) fn insert(&self, key: ViewKey, made: WrittenBody) -> Option<ViewBody> {
        let WrittenBody { bytes, length } = made;
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let in_use = self.cached.in_use();
        let bound = self.max_bytes.saturating_mul(IN_USE_FACTOR).max(LEAST_IN_USE);
        // A view that is larger than the bound is made for one caller at a time.
        if in_use > 0 && in_use.saturating_add(size) > bound {
            return None;
        }
        let body = ViewBody { bytes: self.cached.count(bytes), length };
        if size <= self.max_bytes / 2 {
            let bytes = key.name.len() + body.bytes.len();
            self.cached.insert(key, body.clone(), bytes);
        }
        Some(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_that_nobody_holds_make_room_for_others() {
        let views = Views::new(8 * 1024 * 1024);
        for number in 0..200 {
            let key = ViewKey { tag: Tag(number), name: "a".into(), coding: Coding::Gzip };
            let made = WrittenBody { bytes: vec![0; 1024 * 1024], length: 0 };
            assert!(views.insert(key, made).is_some(), "{number}");
        }
    }

    #[test]
    fn views_that_readers_hold_are_bounded_but_one_always_fits() {
        const MIB: usize = 1024 * 1024;
        let views = Views::new(1024);
        let insert = |size: usize| {
            let key = ViewKey { tag: Tag(1), name: "a".into(), coding: Coding::Gzip };
            views.insert(key, WrittenBody { bytes: vec![0; size], length: 0 })
        };
        let held = insert(20 * MIB);
        assert!(held.is_some() && insert(20 * MIB).is_none());
        assert!(insert(10 * MIB).is_some(), "32 MiB together");
        drop(held);
        assert!(insert(40 * MIB).is_some(), "alone");
    }
}
