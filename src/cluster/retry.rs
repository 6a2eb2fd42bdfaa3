//! Retries of an operation that failed because Redis was slow for a moment.
//!
//! One slow operation opens the circuit breaker. Without retries, every flight that starts before the next heartbeat would fetch
//! for itself, in every replica; on a busy machine a whole batch of meetings was fetched three times. So an operation that decides
//! which replica fetches waits for that heartbeat, about a second at most, and asks again if it succeeded.

use std::pin::pin;

use super::{Cluster, Unavailable, circuit_breaker::RedisStatus};

/// An operation that fails this often while the heartbeat succeeds is refused for a reason of its own, or too slow for this server.
/// With the default `redis.timeout` of 250 ms, eight timeouts take two seconds: less than fetching a page twice may take.
const MAX_ATTEMPTS: u32 = 8;

impl Cluster {
    /// Repeats the operation until it succeeds, as long as Redis does not count as unavailable.
    pub(crate) async fn retrying<T>(
        &self,
        operation: impl AsyncFn() -> Result<T, Unavailable>,
    ) -> Result<T, Unavailable> {
        for _ in 1..MAX_ATTEMPTS {
            match operation().await {
                Err(Unavailable) if self.wait_for_recovery().await => {}
                answer => return answer,
            }
        }
        operation().await
    }

    /// Waits until Redis can be used, or counts as unavailable; returns which.
    async fn wait_for_recovery(&self) -> bool {
        let mut status = self.status();
        loop {
            // Subscribes first, so that a heartbeat that succeeds between the check and the wait is not missed.
            let mut recovered = pin!(self.0.recovered.notified());
            recovered.as_mut().enable();
            if self.ensure_usable().is_ok() && self.0.client.is_connected() {
                return true;
            }
            if self.0.has_left.get() || *status.borrow_and_update() != RedisStatus::Up {
                return false;
            }
            tokio::select! {
                () = recovered => {}
                _ = status.changed() => {}
            }
        }
    }
}
