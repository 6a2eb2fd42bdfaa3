//! Retries an operation that failed because Redis was slow for a moment.
//!
//! One slow operation opens the circuit breaker. Without retries, every flight that starts before the next heartbeat
//! would fetch from Zoom without a claim. On a busy machine, a batch of meetings was once fetched three times. So an
//! operation that decides which replica fetches waits for the next heartbeat, for at most about a second, and is
//! repeated if the heartbeat succeeds.

use std::pin::pin;

use super::{Cluster, Unavailable, circuit_breaker::RedisStatus};

/// The maximum number of attempts. If an operation fails this many times while heartbeats succeed, the server refuses
/// the operation or is too slow for it, so further attempts would not help. With the default `redis.timeout` of 250 ms,
/// eight timeouts take 2 s.
const MAX_ATTEMPTS: u32 = 8;

impl Cluster {
    /// Repeats the operation until it succeeds, unless Redis counts as unavailable or the attempts are used up.
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

    /// Waits until Redis can be used, and returns true. Returns false once Redis counts as unavailable or this process
    /// has left.
    async fn wait_for_recovery(&self) -> bool {
        let mut status = self.status();
        loop {
            // Registers before the check, so that a heartbeat that succeeds between the check and the wait is not
            // missed.
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
