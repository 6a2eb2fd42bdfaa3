//! What was refused of what Redis said: counted each time, and said once for as long as it goes on.

use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::metrics::{Metrics, RedisValue};

/// After so long without another one of its kind the next is news.
const QUIET: Duration = Duration::from_secs(60);

/// Belongs to one thread.
pub(super) struct Rejections {
    metrics: Arc<Metrics>,
    last: [Cell<Option<Instant>>; RedisValue::ALL.len()],
}

impl Rejections {
    pub(super) fn new(metrics: &Arc<Metrics>) -> Self {
        Self { metrics: Arc::clone(metrics), last: Default::default() }
    }

    /// So many values of this kind count as not there.
    pub(super) fn note(&self, kind: RedisValue, values: u64) {
        if values == 0 {
            return;
        }
        self.metrics.redis_values_rejected(kind, values);
        let place = RedisValue::ALL.iter().position(|known| *known == kind);
        let Some(last) = place.and_then(|place| self.last.get(place)) else { return };
        let now = Instant::now();
        if last.replace(Some(now)).is_none_or(|last| now.saturating_duration_since(last) > QUIET) {
            tracing::warn!(
                kind = kind.as_str(),
                "what Redis holds is out of bounds or torn, and counts as not there"
            );
        }
    }

    /// The value, unless it is out of bounds.
    pub(super) fn noted<T, E>(&self, kind: RedisValue, value: Result<T, E>) -> Result<T, E> {
        if value.is_err() {
            self.note(kind, 1);
        }
        value
    }
}
