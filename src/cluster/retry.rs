//! Retries after a moment without Redis.
//!
//! One operation that takes too long opens the breaker, and every flight that begins before the next heartbeat would fetch for
//! itself, in every replica: on a busy machine a whole batch of meetings was fetched three times. So an operation that decides who
//! fetches waits for the heartbeat's verdict instead, about a second at most, and asks again if Redis is of use.

use std::pin::pin;

use super::{Away, Shared, health::Standing};

/// An operation that fails so often while the heartbeat succeeds is refused for reasons of its own, or too slow for this server.
/// With the default `redis.timeout` eight time-outs are two seconds: less than a page that is fetched twice may take.
const ATTEMPTS: u32 = 8;

impl Shared {
    /// Asks, and asks again for as long as Redis does not count as away.
    ///
    /// # Errors
    /// When Redis is away, or the operation failed eight times.
    pub async fn retrying<T>(&self, ask: impl AsyncFn() -> Result<T, Away>) -> Result<T, Away> {
        for _ in 1..ATTEMPTS {
            match ask().await {
                Err(Away) if self.recovers().await => {}
                answer => return answer,
            }
        }
        ask().await
    }

    /// Waits until Redis is of use, or counts as away. Whether it is of use.
    async fn recovers(&self) -> bool {
        let mut standing = self.standing();
        loop {
            // Listens first: a heartbeat that succeeds between the look and the wait is not missed.
            let mut recovered = pin!(self.0.recovered.notified());
            recovered.as_mut().enable();
            if self.may_ask().is_ok() && self.0.link.is_connected() {
                return true;
            }
            if self.0.gone.get() || *standing.borrow_and_update() != Standing::Up {
                return false;
            }
            tokio::select! {
                () = recovered => {}
                _ = standing.changed() => {}
            }
        }
    }
}
