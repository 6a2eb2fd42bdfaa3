//! Purges for all replicas. One that cannot be said now is said as soon as there is Redis again.

use std::time::{Duration, Instant};

use redis::Value;

use super::{
    Owed, Shared,
    bounds::{self, Rejected},
    keep::PURGES_REMEMBERED,
    keys::Subject,
    link::{Lane, Trouble},
    script,
};
use crate::metrics::RedisValue;

/// Flights that began before a purge land within this time.
const FLIGHTS_LAST: Duration = Duration::from_secs(900);

impl Shared {
    /// Has records forgotten, by all replicas; of everything, where `subjects` is empty. What is under way brings nothing
    /// back.
    pub async fn purge(&self, subjects: &[Subject]) {
        match self.try_purge(subjects).await {
            Ok(fence) => self.0.purged.set(self.0.purged.get().max(fence)),
            Err(trouble) => {
                tracing::warn!(reason = %trouble, "the other replicas cannot be told of a purge now: they will be");
                self.failed(&trouble);
                let mut owed = self.0.owed.borrow_mut();
                if owed.len() < PURGES_REMEMBERED {
                    owed.push(Owed::Purge(subjects.to_vec()));
                } else {
                    // More than can be remembered: everything, then.
                    owed.retain(|debt| !matches!(debt, Owed::Purge(_)));
                    owed.push(Owed::Purge(Vec::new()));
                }
            }
        }
    }

    async fn try_purge(&self, subjects: &[Subject]) -> Result<u64, Trouble> {
        self.may_ask().map_err(|_| Trouble::Broken)?;
        let keys = &self.0.keys;
        let mut call = self.0.purge.call();
        call.key(&*keys.fence).key(&*keys.budget).key(&*keys.purges);
        for of in subjects {
            call.key(keys.record(of)).key(keys.claim(of)).key(keys.purged(of));
        }
        call.arg(&*keys.events)
            .arg(FLIGHTS_LAST.as_millis().to_string())
            .arg(PURGES_REMEMBERED)
            .arg(&self.0.replica);
        for of in subjects {
            call.arg(of.as_str());
        }
        let (fence, refused, _): (Value, Value, Value) = self.0.link.script(Lane::Control, &call).await?;
        self.refused(&refused)?;
        self.believed(self.number(&fence)?)
    }

    /// Purges after this one, as many as are remembered. `None`: there were more.
    pub(super) async fn missed_purges(&self, done: u64) -> Result<Option<Vec<(String, u64)>>, Trouble> {
        let keys = &self.0.keys;
        let mut call = self.0.purge.call();
        call.key(&*keys.fence).key(&*keys.budget).key(&*keys.purges);
        call.arg("missed").arg(done).arg(PURGES_REMEMBERED).arg(bounds::LONGEST_NAME);
        let (found, refused, missed): (Value, Value, Vec<String>) =
            self.0.link.script(Lane::Control, &call).await?;
        self.refused(&refused)?;
        let is_all = self.number(&found)? < PURGES_REMEMBERED as u64;
        let mut purges = Vec::with_capacity(missed.len() / 2);
        let (pairs, _) = missed.as_chunks::<2>();
        for [of, fence] in pairs {
            let is_name = bounds::name(of).is_ok();
            if let Some(fence) = fence.parse().ok().filter(|_| is_name)
                && let Ok(fence) = self.believed(fence)
            {
                purges.push((of.clone(), fence));
            } else {
                self.0.rejections.note(RedisValue::Fence, 1);
            }
        }
        Ok(is_all.then_some(purges))
    }

    fn refused(&self, values: &Value) -> Result<(), Trouble> {
        self.0.rejections.note(RedisValue::Fence, self.number(values)?.min(bounds::MOST_CALLS));
        Ok(())
    }

    fn number(&self, value: &Value) -> Result<u64, Trouble> {
        let number = script::number(value).and_then(|number| u64::try_from(number).map_err(|_| Rejected));
        let number = self.0.rejections.noted(RedisValue::Reply, number);
        number.map_err(|_| Trouble::Refused("an answer of another script".to_owned()))
    }

    fn believed(&self, fence: u64) -> Result<u64, Trouble> {
        let clock = self.clock().ok_or(Trouble::Broken)?;
        let fence = self.0.rejections.noted(RedisValue::Reply, clock.fence(fence, Instant::now()));
        fence.map_err(|_| Trouble::Refused("the number of a purge is out of bounds".to_owned()))
    }
}
