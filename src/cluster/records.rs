//! Operations on records that need no claim: reading and forgetting records, and storing those that callers page
//! through.

use std::time::Duration;

use super::{
    Cluster, PutResult, Unavailable,
    bounds::LARGEST_RECORD,
    claims::{ClaimsReply, millis},
    clock::Micros,
    connection::{OpError, Traffic},
    keys::RecordKey,
};
use crate::metrics::RedisValue;

/// After this many consecutive timeouts of operations on records, the connections are replaced.
const MAX_BULK_TIMEOUTS: u32 = 3;

/// The result of a lookup.
#[derive(Debug, Default)]
pub struct StoredRecord {
    /// The record's fencing number; 0 if there is no record.
    pub fence: u64,
    /// The record's bytes, for [`super::record_codec::decode`].
    pub record: Option<Vec<u8>>,
}

impl Cluster {
    /// Returns the record of this key, if there is one that is neither purged nor too large.
    ///
    /// # Errors
    /// Redis is unavailable.
    pub async fn look_up(&self, key: &RecordKey) -> Result<StoredRecord, Unavailable> {
        let call = self.claims_call(key, "look").arg(LARGEST_RECORD);
        let ClaimsReply { number, record, .. } = self.run(Traffic::Bulk, &call).await?;
        Ok(StoredRecord { fence: number, record })
    }

    /// Stores a record for `keep`, without a claim. Does not store it if it is too large.
    ///
    /// # Errors
    /// Redis is unavailable, or refuses the record, for example because it is full.
    pub async fn put_unclaimed(
        &self,
        key: &RecordKey,
        record: &[u8],
        keep: Duration,
    ) -> Result<PutResult, Unavailable> {
        self.ensure_usable()?;
        if record.len() > LARGEST_RECORD {
            return Ok(PutResult::Refused);
        }
        let mut set = redis::cmd("SET");
        set.arg(self.0.keys.record(key)).arg(record).arg("PX").arg(millis(keep));
        let stored = self.0.client.run(Traffic::Bulk, async |mut to| set.exec_async(&mut to).await).await;
        self.check_bulk(stored).map(|()| PutResult::Stored).map_err(|_| Unavailable)
    }

    /// Returns a record that was stored without a claim. Extends its life to `keep` from now, unless the server
    /// remembers a purge of `part_of`, the meeting that the record belongs to. The second value is the number of that
    /// meeting's last purge; 0 if the server knows of none.
    ///
    /// # Errors
    /// Redis is unavailable.
    pub async fn get_unclaimed(
        &self,
        key: &RecordKey,
        part_of: &RecordKey,
        keep: Duration,
    ) -> Result<(Option<Vec<u8>>, Micros), Unavailable> {
        let call = self.call_with_purges_of(part_of, key, "get_unclaimed");
        let call = call.arg(LARGEST_RECORD).arg(millis(keep));
        let ClaimsReply { number: purged, record, .. } = self.run(Traffic::Bulk, &call).await?;
        Ok((record, purged))
    }

    /// Removes the record with this number, because no replica can use it.
    ///
    /// # Errors
    /// Redis is unavailable.
    pub async fn forget(&self, key: &RecordKey, fence: u64) -> Result<(), Unavailable> {
        let call = self.claims_call(key, "forget").arg(fence);
        self.run(Traffic::Control, &call).await.map(drop)
    }

    /// Counts a record that was corrupt or forged. Records of another version or encryption key do not count.
    pub(crate) fn record_rejected(&self) {
        self.0.rejections.count(RedisValue::Record, 1);
    }

    /// Handles the result of an operation on a record. After a failure, wakes the heartbeat, which checks whether Redis
    /// is available. Does not open the circuit breaker, because the shared quota should not depend on the transfer of a
    /// large record.
    pub(super) fn check_bulk<T>(&self, reply: Result<T, OpError>) -> Result<T, OpError> {
        let timeouts = match &reply {
            Err(OpError::TimedOut) => self.0.bulk_timeouts.get() + 1,
            _ => 0,
        };
        self.0.bulk_timeouts.set(timeouts);
        if timeouts >= MAX_BULK_TIMEOUTS {
            self.0.client.disconnect();
        }
        reply.inspect_err(|error| {
            tracing::debug!(trouble = %error, "a record could not be read or stored");
            self.0.heartbeat_now.notify_one();
        })
    }
}
