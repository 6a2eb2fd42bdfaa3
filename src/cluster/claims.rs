//! Makes, renews and ends claims, which decide which replica fetches a meeting, and stores the records of the results.
//! `claims.lua` describes how fencing numbers order them.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use redis::Value;

use super::{
    Cluster, OutboxItem, Unavailable,
    bounds::LARGEST_RECORD,
    connection::{OpError, Traffic},
    keys::{Claim, RecordKey},
    script::ScriptCall,
};
use crate::metrics::RedisValue;

/// A claim that is not renewed expires after this time. This matters if its owner still sends heartbeats, but never
/// ends the claim.
const CLAIM_EXPIRES_AFTER: Duration = Duration::from_secs(60);

/// The result of an attempt to claim a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimResult {
    /// This replica has the claim, and fetches.
    Granted(Claim),
    /// Another replica has the claim, with this fencing number, and fetches. An event normally announces how the fetch
    /// ends.
    Held(u64),
    /// There is a newer record, with this fencing number.
    Recorded(u64),
}

/// The result of putting a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutResult {
    /// The record is stored, for all replicas.
    Stored,
    /// The record was not stored, because there is a record with a larger number.
    Superseded,
    /// The record was not stored, because the meeting was purged after the claim.
    Purged,
    /// The record was not stored, because the server refused it, it is too large, or it has already expired. A retry
    /// would probably have the same result.
    Refused,
}

pub(super) struct ClaimsReply {
    pub(super) result: String,
    pub(super) number: u64,
    pub(super) record: Option<Vec<u8>>,
}

impl Cluster {
    /// Claims the fetch of this record. Retries if Redis is slow for a moment. `known` is the number of the record that
    /// this replica has read and cannot use; 0 for none.
    ///
    /// # Errors
    /// Redis is unavailable.
    pub async fn claim(&self, key: &RecordKey, known: u64) -> Result<ClaimResult, Unavailable> {
        let (attempt, unanswered) = (format!("{:016x}", fastrand::u64(..)), Cell::default());
        let result = self.retrying(async || self.try_claim(key, known, (&attempt, &unanswered)).await).await;
        // If a reply was lost, the claim may have been granted. The other replicas would then wait for a fetch that no
        // replica makes, so this replica releases the claim. It does so by the name of the attempt, because the number
        // of the claim is unknown, and a later claim of this replica must stay.
        if unanswered.get() && !matches!(result, Ok(ClaimResult::Granted(_))) {
            self.0.outbox.borrow_mut().push(OutboxItem::Disown { key: key.clone(), attempt });
        }
        result
    }

    /// Tries to claim once. Sets `unanswered` if there is no usable reply.
    async fn try_claim(
        &self,
        key: &RecordKey,
        known: u64,
        (attempt, unanswered): (&str, &Cell<bool>),
    ) -> Result<ClaimResult, Unavailable> {
        self.ensure_usable()?;
        let deadline = self.clock().ok_or(Unavailable)?.at(Instant::now() + self.0.config.timeout);
        let call = self.claims_call(key, "claim").arg(&self.0.replica).arg(known);
        let call = call.arg(millis(CLAIM_EXPIRES_AFTER)).arg(deadline).arg(attempt);
        let reply = self.run(Traffic::Control, &call).await;
        let ClaimsReply { result, number: fence, .. } = reply.inspect_err(|_| unanswered.set(true))?;
        match result.as_str() {
            "granted" => Ok(ClaimResult::Granted(Claim { key: key.clone(), fence })),
            "recorded" => Ok(ClaimResult::Recorded(fence)),
            "held" => Ok(ClaimResult::Held(fence)),
            _ => Err(Unavailable),
        }
    }

    /// Releases the claim that this attempt made, if it made one.
    pub(super) async fn disown(&self, key: RecordKey, attempt: String) {
        let call = self.claims_call(&key, "disown").arg(&attempt).arg(&self.0.replica);
        let call = call.arg(&*self.0.keys.events).arg(key.as_str());
        if self.run(Traffic::Control, &call).await.is_err() {
            self.0.outbox.borrow_mut().push(OutboxItem::Disown { key, attempt });
        }
    }

    /// Makes a claim last for another 60 s from now. Returns whether this replica still holds it.
    ///
    /// # Errors
    /// Redis is unavailable. The fetch may continue.
    pub async fn renew(&self, claim: &Claim) -> Result<bool, Unavailable> {
        let call = self.claims_call(&claim.key, "renew").arg(claim.fence).arg(millis(CLAIM_EXPIRES_AFTER));
        Ok(self.run(Traffic::Control, &call).await?.result == "renewed")
    }

    /// Stores a record for `keep`, which ends the claim unless the record is refused.
    ///
    /// # Errors
    /// Redis is unavailable.
    pub async fn put(&self, claim: &Claim, record: &[u8], keep: Duration) -> Result<PutResult, Unavailable> {
        if record.len() > LARGEST_RECORD || keep.is_zero() {
            return Ok(PutResult::Refused);
        }
        let call = self.claims_call(&claim.key, "put").arg(claim.fence).arg(millis(keep)).arg(record);
        let call = call.arg(&*self.0.keys.events).arg(claim.key.as_str());
        match self.try_run(Traffic::Bulk, &call).await {
            Ok(reply) => Ok(match reply.result.as_str() {
                "stored" => PutResult::Stored,
                "purged" => PutResult::Purged,
                _ => PutResult::Superseded,
            }),
            Err(OpError::Refused(_)) => Ok(PutResult::Refused),
            Err(OpError::Broken | OpError::TimedOut) => Err(Unavailable),
        }
    }

    /// Releases a claim without a record. The waiting replicas receive `failure`, which [`super::failure_codec`]
    /// encoded.
    ///
    /// # Errors
    /// Redis is unavailable. When it is available again, the claim is released, and the waiting replicas receive an
    /// event without a failure.
    pub async fn release(&self, claim: &Claim, failure: &str) -> Result<(), Unavailable> {
        let call = self.claims_call(&claim.key, "release").arg(claim.fence);
        let call = call.arg(&*self.0.keys.events).arg(claim.key.as_str()).arg(failure);
        let released = self.run(Traffic::Control, &call).await;
        // If the claim stayed, the other replicas would wait for a fetch that this process does not make.
        released
            .map(drop)
            .inspect_err(|_| self.0.outbox.borrow_mut().push(OutboxItem::Release(claim.clone())))
    }

    pub(super) fn claims_call(&self, key: &RecordKey, op: &str) -> ScriptCall<'_> {
        self.call_with_purges_of(key, key, op)
    }

    pub(super) fn call_with_purges_of(
        &self,
        purged_with: &RecordKey,
        key: &RecordKey,
        op: &str,
    ) -> ScriptCall<'_> {
        let keys = &self.0.keys;
        let call = self.0.scripts.claims.call().key(&*keys.fence).key(keys.claim(key)).key(keys.record(key));
        call.key(&*keys.members).key(&*keys.quota).key(keys.purged(purged_with)).arg(op)
    }

    pub(super) async fn run(
        &self,
        traffic: Traffic,
        call: &ScriptCall<'_>,
    ) -> Result<ClaimsReply, Unavailable> {
        self.try_run(traffic, call).await.map_err(|_| Unavailable)
    }

    async fn try_run(&self, traffic: Traffic, call: &ScriptCall<'_>) -> Result<ClaimsReply, OpError> {
        self.ensure_usable().map_err(|_| OpError::Broken)?;
        let odd_reply = |_| OpError::Refused("the reply of another script".to_owned());
        let reply: Result<(String, Value, Value, Value), OpError> =
            self.0.client.run(traffic, async |to| call.run(to).await).await;
        let (result, number, refused, record) = match traffic {
            Traffic::Control => reply.inspect_err(|error| self.failed(error))?,
            Traffic::Bulk => self.check_bulk(reply)?,
        };
        let rejections = &self.0.rejections;
        let number = rejections.number(&number, &refused).map_err(odd_reply)?;
        rejections.count(RedisValue::Record, u64::from(result == "too_large"));
        let number = self.checked_fence(number)?;
        let record = match record {
            Value::BulkString(record) => Some(record),
            _ => None,
        };
        Ok(ClaimsReply { result, number, record })
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}
