//! Counts the values from Redis that were rejected, and logs the first value of each series.

use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, Instant},
};

use redis::Value;

use super::{
    bounds::{self, Rejected},
    script,
};
use crate::metrics::{Metrics, RedisValue};

/// If no value of a kind was rejected for this time, the next rejected value begins a new series and is logged.
const QUIET: Duration = Duration::from_secs(60);

pub(super) struct Rejections {
    metrics: Arc<Metrics>,
    last: [Cell<Option<Instant>>; RedisValue::ALL.len()],
}

impl Rejections {
    pub(super) fn new(metrics: &Arc<Metrics>) -> Self {
        Self { metrics: Arc::clone(metrics), last: Default::default() }
    }

    /// Counts rejected values, and logs the first value of a series.
    pub(super) fn count(&self, kind: RedisValue, values: u64) {
        if values == 0 {
            return;
        }
        self.metrics.redis_values_rejected(kind, values);
        let Some(last) = self.last.get(kind as usize) else { return };
        let now = Instant::now();
        if last.replace(Some(now)).is_none_or(|last| now.saturating_duration_since(last) > QUIET) {
            tracing::warn!(kind = kind.as_str(), "a value from Redis is out of bounds or torn: ignored");
        }
    }

    /// Parses the number that a script of claims or purges returned, and counts the values that the script rejected.
    pub(super) fn number(&self, number: &Value, refused: &Value) -> Result<u64, Rejected> {
        let number = self.checked(RedisValue::Reply, script::number(number))?;
        let refused = self.checked(RedisValue::Reply, script::number(refused))?;
        self.count(RedisValue::Fence, refused.min(bounds::MOST_CALLS));
        Ok(number)
    }

    /// Counts the value if it was rejected, and returns it unchanged.
    pub(super) fn checked<T, E>(&self, kind: RedisValue, value: Result<T, E>) -> Result<T, E> {
        if value.is_err() {
            self.count(kind, 1);
        }
        value
    }
}
