//! Purges records for all replicas. If Redis is unavailable, a purge is announced when Redis is available again.

use std::time::{Duration, Instant};

use redis::Value;

use super::{
    Cluster, OutboxItem, bounds,
    connection::{OpError, Traffic},
    heartbeat::PURGES_REMEMBERED,
    keys::RecordKey,
    script::ScriptCall,
};
use crate::metrics::RedisValue;

/// The server remembers the number of a key's last purge for this time. By then, flights that were in progress during
/// the purge have normally ended, and older records for callers that page have expired. Such a record lasts 15 minutes,
/// and its life is not extended after a purge.
const REMEMBERED_FOR: Duration = Duration::from_secs(1_800);

impl Cluster {
    /// Removes these records from the server and from the caches of all other replicas, and keeps fetches in progress
    /// from storing their records. If `keys` is empty, everything is purged.
    pub async fn purge(&self, keys: &[RecordKey]) {
        match self.try_purge(keys).await {
            Ok(fence) => self.purge_applied(fence),
            Err(error) => {
                tracing::warn!(
                    reason = %error,
                    "cannot announce the purge to other replicas now; will retry when Redis is back"
                );
                self.failed(&error);
                let mut outbox = self.0.outbox.borrow_mut();
                if outbox.len() < PURGES_REMEMBERED {
                    outbox.push(OutboxItem::Purge(keys.to_vec()));
                } else {
                    // The outbox is full, so one purge of everything replaces the purges in it.
                    outbox.retain(|item| !matches!(item, OutboxItem::Purge(_)));
                    outbox.push(OutboxItem::Purge(Vec::new()));
                }
            }
        }
    }

    /// Records that the purge with this number was applied here.
    pub(super) fn purge_applied(&self, fence: u64) {
        if self.0.caught_up.get() {
            self.0.purged.set(self.0.purged.get().max(fence));
        }
    }

    async fn try_purge(&self, purged: &[RecordKey]) -> Result<u64, OpError> {
        self.ensure_usable().map_err(|_| OpError::Broken)?;
        let keys = &self.0.keys;
        let mut call = self.purge_call();
        for key in purged {
            call = call.key(keys.record(key)).key(keys.claim(key)).key(keys.purged(key));
        }
        let call = call.arg(&*keys.events).arg(REMEMBERED_FOR.as_millis().to_string());
        let call = call.arg(PURGES_REMEMBERED).arg(&self.0.replica);
        let call = purged.iter().fold(call, |call, key| call.arg(key.as_str()));
        let (fence, _) = self.run_purge(&call).await?;
        self.checked_fence(fence)
    }

    /// Returns the keys and numbers of the purges after this number; `None` if the server may have forgotten some of
    /// them.
    pub(super) async fn missed_purges(&self, after: u64) -> Result<Option<Vec<(String, u64)>>, OpError> {
        let call =
            self.purge_call().arg("missed").arg(after).arg(PURGES_REMEMBERED).arg(bounds::LONGEST_NAME);
        let (found, missed) = self.run_purge(&call).await?;
        let is_all = found < PURGES_REMEMBERED as u64;
        let mut purges = Vec::with_capacity(missed.len() / 2);
        let (pairs, _) = missed.as_chunks::<2>();
        for [key, fence] in pairs {
            let is_name = bounds::name(key).is_ok();
            if let Some(fence) = fence.parse().ok().filter(|_| is_name)
                && let Ok(fence) = self.checked_fence(fence)
            {
                purges.push((key.clone(), fence));
            } else {
                self.0.rejections.count(RedisValue::Fence, 1);
            }
        }
        Ok(is_all.then_some(purges))
    }

    fn purge_call(&self) -> ScriptCall<'_> {
        let keys = &self.0.keys;
        self.0.scripts.purge.call().key(&*keys.fence).key(&*keys.quota).key(&*keys.purges)
    }

    async fn run_purge(&self, call: &ScriptCall<'_>) -> Result<(u64, Vec<String>), OpError> {
        let (number, refused, missed): (Value, Value, Vec<String>) =
            self.0.client.run(Traffic::Control, async |to| call.run(to).await).await?;
        let number = self.0.rejections.number(&number, &refused);
        Ok((number.map_err(|_| OpError::Refused("the reply of another script".to_owned()))?, missed))
    }

    /// Returns the fencing number of a claim, a record or a purge, unless it is out of bounds.
    pub(super) fn checked_fence(&self, fence: u64) -> Result<u64, OpError> {
        let clock = self.clock().ok_or(OpError::Broken)?;
        let fence = self.0.rejections.checked(RedisValue::Reply, clock.fence(fence, Instant::now()));
        fence.map_err(|_| OpError::Refused("a fencing number is out of bounds".to_owned()))
    }
}
