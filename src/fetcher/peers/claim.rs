//! The exclusive right to fetch a meeting for all replicas. It is a lease of 60 s, which is renewed until the fetch
//! ends.

use std::{cell::RefCell, time::Duration};

use tokio::task::JoinHandle;

use crate::cluster::{Claim, Cluster, PutResult, Unavailable};

/// How often a claim is renewed. The lease lasts three times as long.
const RENEW_EVERY: Duration = Duration::from_secs(20);

/// A claim that this replica holds. Dropping it releases the claim without a failure. The waiting replicas then try to
/// fetch for themselves.
pub(in crate::fetcher) struct HeldClaim {
    cluster: Cluster,
    claim: RefCell<Option<Claim>>,
    renewing: JoinHandle<()>,
}

impl HeldClaim {
    pub(super) fn new(cluster: &Cluster, claim: Claim) -> Self {
        let renewing = actix_rt::spawn({
            let (cluster, claim) = (cluster.clone(), claim.clone());
            async move {
                loop {
                    tokio::time::sleep(RENEW_EVERY).await;
                    // A lost claim is detected when the record is stored.
                    cluster.renew(&claim).await.ok();
                }
            }
        });
        Self { cluster: cluster.clone(), claim: RefCell::new(Some(claim)), renewing }
    }

    /// Stores the record, which ends the claim unless the record is refused. After an error, the call may be repeated,
    /// because the fencing number stays the same.
    pub(super) async fn put(&self, record: &[u8], keep: Duration) -> Result<PutResult, Unavailable> {
        let Some(claim) = self.claim.borrow().clone() else { return Err(Unavailable) };
        let put = self.cluster.put(&claim, record, keep).await?;
        if put != PutResult::Refused {
            self.claim.take();
        }
        Ok(put)
    }

    /// Releases the claim without a record. `failure` is the encoded failure for the waiting replicas; empty if they
    /// should try to fetch for themselves.
    pub(super) async fn release(self, failure: &str) {
        if let Some(claim) = self.claim.take() {
            // If this fails, the claim is released when Redis is available again.
            self.cluster.release(&claim, failure).await.ok();
        }
    }
}

impl Drop for HeldClaim {
    fn drop(&mut self) {
        self.renewing.abort();
        if let Some(claim) = self.claim.take() {
            let cluster = self.cluster.clone();
            drop(actix_rt::spawn(async move { cluster.release(&claim, "").await.ok() }));
        }
    }
}
