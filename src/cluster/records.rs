//! Records on the server, without a claim: reads them, and stores those that no flight fetches.

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

/// After this many consecutive timeouts of operations on records, the connection is replaced.
const MAX_BULK_TIMEOUTS: u32 = 3;

/// The answer to a lookup.
#[derive(Debug, Default)]
pub struct StoredRecord {
    /// The record's fencing number; 0: there is none.
    pub fence: u64,
    /// Its bytes, which [`super::record_codec::decode`] reads.
    pub record: Option<Vec<u8>>,
}

impl Cluster {
    /// The record of this key, unless it was purged.
    ///
    /// # Errors
    /// Redis is unavailable.
    pub async fn look_up(&self, key: &RecordKey) -> Result<StoredRecord, Unavailable> {
        let call = self.claims_call(key, "look").arg(LARGEST_RECORD);
        let ClaimsReply { number, record, .. } = self.run(Traffic::Bulk, &call).await?;
        Ok(StoredRecord { fence: number, record })
    }

    /// Stores a record that no claim is about, for `keep`, unless it is too large.
    ///
    /// # Errors
    /// Redis is unavailable or full.
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

    /// Reads such a record, and keeps it for `keep` from now on. Also returns the number of the last purge of `part_of`, the
    /// meeting it belongs to.
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

    /// Removes the record with this number, which no replica can use.
    ///
    /// # Errors
    /// Redis is unavailable.
    pub async fn forget(&self, key: &RecordKey, fence: u64) -> Result<(), Unavailable> {
        let call = self.claims_call(key, "forget").arg(fence);
        self.run(Traffic::Control, &call).await.map(drop)
    }

    /// A record was read that is torn or forged, and not one of another version or encryption key.
    pub(crate) fn record_rejected(&self) {
        self.0.rejections.count(RedisValue::Record, 1);
    }

    /// A slow record is no reason to do without the shared quota, so the circuit breaker stays closed; the heartbeat finds out
    /// whether more is wrong.
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
            self.0.doubt.notify_one();
        })
    }
}
