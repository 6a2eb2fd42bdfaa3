//! The right to fetch a meeting for all replicas.

use std::{cell::RefCell, time::Duration};

use tokio::task::JoinHandle;

use crate::cluster::{Away, Claimed, Put, Shared};

/// A claim lives three times as long.
const RENEW_EVERY: Duration = Duration::from_secs(20);

/// The right to fetch. Whoever drops it unused gives it back, and the others go on without being told why.
pub(in crate::fetcher) struct Right {
    pub(super) shared: Shared,
    claimed: RefCell<Option<Claimed>>,
    renewing: JoinHandle<()>,
}

impl Right {
    pub(super) fn new(shared: &Shared, claimed: Claimed) -> Self {
        let renewing = actix_rt::spawn({
            let (shared, claimed) = (shared.clone(), claimed.clone());
            async move {
                loop {
                    tokio::time::sleep(RENEW_EVERY).await;
                    // One that is lost already is found out when the record is put.
                    shared.renew(&claimed).await.ok();
                }
            }
        });
        Self { shared: shared.clone(), claimed: RefCell::new(Some(claimed)), renewing }
    }

    /// May be repeated: the same record under the same number.
    pub(super) async fn put(&self, record: &[u8], keep: Duration) -> Result<Put, Away> {
        let Some(claimed) = self.claimed.borrow().clone() else { return Err(Away) };
        let put = self.shared.put(&claimed, record, keep).await;
        if put.is_ok() {
            self.claimed.take();
        }
        put
    }

    pub(super) async fn release(self, words: &str) {
        if let Some(claimed) = self.claimed.take() {
            // Where that fails they notice by themselves.
            self.shared.release(&claimed, words).await.ok();
        }
    }
}

impl Drop for Right {
    fn drop(&mut self) {
        self.renewing.abort();
        if let Some(claimed) = self.claimed.take() {
            let shared = self.shared.clone();
            drop(actix_rt::spawn(async move { shared.release(&claimed, "").await.ok() }));
        }
    }
}
