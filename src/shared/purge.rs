//! Purges for all replicas. One that cannot be said now is said as soon as there is Redis again.

use std::time::Duration;

use super::{
    Owed, Shared,
    keep::PURGES_REMEMBERED,
    keys::Subject,
    link::{Lane, Trouble},
};

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
        let fence: String = self.0.link.script(Lane::Control, &call).await?;
        fence.parse().map_err(|_| Trouble::Refused("an answer of another script".to_owned()))
    }
}
