//! Verifies the tokens that workers must not verify themselves, on a thread that yields to hits.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

use crate::{
    blocking::BlockingPool,
    callers::{Caller, Callers, LookupPlace, Unidentified, VerificationCost},
};

/// How long a request waits for its turn. In this time, the thread verifies thousands of signatures.
const WAIT: Duration = Duration::from_secs(3);

/// The thread, and a semaphore for each cost. A request uses the thread only while it holds the semaphore of its
/// token's cost.
///
/// Between two tokens of usual cost, the thread therefore verifies at most one token of high cost, however many of
/// them arrive.
pub struct TokenThread {
    thread: BlockingPool,
    usual_turn: Arc<Semaphore>,
    high_turn: Arc<Semaphore>,
}

impl TokenThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system refuses to start a thread.
    pub fn start() -> io::Result<Self> {
        let turn = || Arc::new(Semaphore::new(1));
        Ok(Self { thread: BlockingPool::new(1)?, usual_turn: turn(), high_turn: turn() })
    }

    /// Returns the caller with this token.
    pub(super) async fn find(
        &self,
        token: &[u8],
        callers: &Callers,
        cost: VerificationCost,
    ) -> Result<Arc<Caller>, Unidentified> {
        let busy = || Unidentified::NoKeys { retry_at: Instant::now() + WAIT };
        let turn = match cost {
            VerificationCost::Usual => &self.usual_turn,
            VerificationCost::High => &self.high_turn,
        };
        let turn = tokio::time::timeout(WAIT, Arc::clone(turn).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(busy()) };
        let (token, callers) = (token.to_owned(), callers.clone());
        let work = move || {
            // Held until the end, even if the caller disconnects.
            let _turn = turn;
            callers.find_by_bearer(&token, Instant::now(), LookupPlace::BlockingThread)
        };
        self.thread.run(work).await.unwrap_or_else(|| Err(busy()))
    }
}
