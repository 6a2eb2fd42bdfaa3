//! Who fetches what, and what was fetched: claims and records on the server, of which the later number wins.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use redis::Value;

use super::{
    Away, Owed, Shared,
    bounds::{LARGEST_RECORD, MOST_CALLS, Rejected},
    clock::Micros,
    keys::Subject,
    link::{Lane, Trouble},
    script::{self, ScriptCall},
};
use crate::metrics::RedisValue;

/// A claim is forgotten after this, should its owner live and never end it. Whoever fetches for longer renews it.
const CLAIM_FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
/// Operations on records that time out one after another: the connection is of no use.
const BULK_TIMEOUTS: u32 = 3;

/// What `board.lua` gives: what came of it, a number, and the bytes of a record.
struct Answer {
    what: String,
    number: u64,
    record: Option<Vec<u8>>,
}

/// What was found under a name.
#[derive(Debug, Default)]
pub struct Found {
    /// Its number; 0: there is nothing.
    pub fence: u64,
    /// A record, to be read by [`super::record::read`].
    pub record: Option<Vec<u8>>,
}

/// The right to fetch, until it is put, released, or taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// What.
    pub of: Subject,
    /// Larger than that of every claim before.
    pub fence: u64,
}

/// What came of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is ours to fetch.
    Yours(Claimed),
    /// Another replica fetches it: an event will tell how that ended.
    Held(u64),
    /// Meanwhile there is a record with this number.
    Landed(u64),
}

/// What came of putting a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// Everybody can have it.
    Kept,
    /// There is one with a later number, which counts.
    Older,
    /// What it is of was purged meanwhile: nobody is to have it.
    Purged,
}

impl Shared {
    /// What is there, unless it was purged.
    ///
    /// # Errors
    /// When Redis is away.
    pub async fn look_up(&self, of: &Subject) -> Result<Found, Away> {
        let mut call = self.on_board(of, "look");
        call.arg(LARGEST_RECORD);
        let Answer { number, record, .. } = self.run(Lane::Bulk, &call).await?;
        Ok(Found { fence: number, record })
    }

    /// Gives everybody a record that no flight is about, for so long.
    ///
    /// # Errors
    /// When Redis is away, full, or the record is too large.
    pub async fn lay_down(&self, of: &Subject, record: &[u8], keep: Duration) -> Result<(), Away> {
        self.may_ask()?;
        if record.len() > LARGEST_RECORD {
            return Err(Away);
        }
        let mut pipe = redis::pipe();
        pipe.cmd("SET").arg(self.0.keys.record(of)).arg(record).arg("PX").arg(millis(keep)).ignore();
        self.checked(self.0.link.pipeline::<()>(Lane::Bulk, &pipe).await)
    }

    /// Such a record, which from now on is there for so long, and the time of the last purge that what it is of was part of.
    ///
    /// # Errors
    /// When Redis is away.
    pub async fn pick_up(
        &self,
        of: &Subject,
        part_of: &Subject,
        keep: Duration,
    ) -> Result<(Option<Vec<u8>>, Micros), Away> {
        let mut call = self.on_board_beside(of, part_of, "pick");
        call.arg(LARGEST_RECORD).arg(millis(keep));
        let Answer { number: purged, record, .. } = self.run(Lane::Bulk, &call).await?;
        Ok((record, purged))
    }

    /// Asks for the right to fetch, more than once where Redis is only slow for a moment. `known`: the number of the record that
    /// was found and is of no use.
    ///
    /// # Errors
    /// When Redis is away.
    pub async fn claim(&self, of: &Subject, known: u64) -> Result<Claim, Away> {
        let unheard = Cell::new(None);
        let claimed = self.retrying(async || self.try_claim(of, known, &unheard).await).await;
        // An attempt whose answer was lost may be ours all the same. Given back only now, and not if a later attempt succeeded:
        // that one replaces those before it, and giving these back would give it back, too.
        if let Some(deadline) = unheard.get()
            && !matches!(claimed, Ok(Claim::Yours(_)))
        {
            self.owes_claim(of, deadline);
        }
        claimed
    }

    /// `unheard` is set to the time until which the server may grant it, if no answer comes.
    async fn try_claim(
        &self,
        of: &Subject,
        known: u64,
        unheard: &Cell<Option<Micros>>,
    ) -> Result<Claim, Away> {
        self.may_ask()?;
        let deadline = self.clock().ok_or(Away)?.at(Instant::now() + self.0.link.timeout());
        let mut call = self.on_board(of, "claim");
        call.arg(&self.0.replica).arg(known).arg(millis(CLAIM_FORGOTTEN_AFTER)).arg(deadline);
        let answer = self.run(Lane::Control, &call).await;
        let Answer { what, number: fence, .. } = answer.inspect_err(|_| unheard.set(Some(deadline)))?;
        match what.as_str() {
            "yours" => Ok(Claim::Yours(Claimed { of: of.clone(), fence })),
            "landed" => Ok(Claim::Landed(fence)),
            "held" => Ok(Claim::Held(fence)),
            _ => Err(Away),
        }
    }

    /// As long as this process lives the others would wait for what it does not fetch.
    fn owes_claim(&self, of: &Subject, fence: u64) {
        self.0.owed.borrow_mut().push(Owed::Claim(Claimed { of: of.clone(), fence }));
    }

    /// Gives back whatever claim this replica has, if its number is at most that.
    pub(super) async fn disown(&self, claimed: &Claimed) {
        let Claimed { of, fence } = claimed;
        let mut call = self.on_board(of, "disown");
        call.arg(*fence).arg(&self.0.replica).arg(&*self.0.keys.events).arg(of.as_str());
        if self.run(Lane::Control, &call).await.is_err() {
            self.owes_claim(of, *fence);
        }
    }

    /// For a fetch that takes long: whether it is still ours. To be called every 20 s.
    ///
    /// # Errors
    /// When Redis is away; the fetch may go on.
    pub async fn renew(&self, claimed: &Claimed) -> Result<bool, Away> {
        let mut call = self.on_board(&claimed.of, "renew");
        call.arg(claimed.fence).arg(millis(CLAIM_FORGOTTEN_AFTER));
        Ok(self.run(Lane::Control, &call).await?.what == "yours")
    }

    /// Gives a record to everybody for so long, and the claim back.
    ///
    /// # Errors
    /// When Redis is away, full, or the record is too large.
    pub async fn put(&self, claimed: &Claimed, record: &[u8], keep: Duration) -> Result<Put, Away> {
        if record.len() > LARGEST_RECORD || keep.is_zero() {
            return Err(Away);
        }
        let mut call = self.on_board(&claimed.of, "put");
        call.arg(claimed.fence).arg(millis(keep)).arg(record);
        call.arg(&*self.0.keys.events).arg(claimed.of.as_str());
        Ok(match self.run(Lane::Bulk, &call).await?.what.as_str() {
            "kept" => Put::Kept,
            "purged" => Put::Purged,
            _ => Put::Older,
        })
    }

    /// Nothing came of it: those who wait elsewhere are told why, in words as [`super::words`] writes them.
    ///
    /// # Errors
    /// When Redis is away: then they are told that there is nothing as soon as it is back.
    pub async fn release(&self, claimed: &Claimed, words: &str) -> Result<(), Away> {
        let mut call = self.on_board(&claimed.of, "release");
        call.arg(claimed.fence).arg(&*self.0.keys.events).arg(claimed.of.as_str()).arg(words);
        let released = self.run(Lane::Control, &call).await;
        released.map(drop).inspect_err(|_| self.owes_claim(&claimed.of, claimed.fence))
    }

    /// Removes the record with just this number: it turned out to be of no use to anybody.
    ///
    /// # Errors
    /// When Redis is away.
    pub async fn forget(&self, of: &Subject, fence: u64) -> Result<(), Away> {
        let mut call = self.on_board(of, "forget");
        call.arg(fence);
        self.run(Lane::Control, &call).await.map(drop)
    }

    fn on_board(&self, of: &Subject, op: &str) -> ScriptCall<'_> {
        self.on_board_beside(of, of, op)
    }

    /// `part_of`: what is purged together with it.
    fn on_board_beside(&self, of: &Subject, part_of: &Subject, op: &str) -> ScriptCall<'_> {
        let keys = &self.0.keys;
        let mut call = self.0.board.call();
        call.key(&*keys.fence).key(keys.claim(of)).key(keys.record(of));
        call.key(&*keys.members).key(&*keys.budget).key(keys.purged(part_of));
        call.arg(op);
        call
    }

    async fn run(&self, lane: Lane, call: &ScriptCall<'_>) -> Result<Answer, Away> {
        self.may_ask()?;
        let answer: Result<(String, Value, Value, Value), Trouble> = self.0.link.script(lane, call).await;
        let (what, number, refused, record) = match lane {
            Lane::Control => answer.inspect_err(|trouble| self.failed(trouble)).map_err(|_| Away)?,
            Lane::Bulk => self.checked(answer)?,
        };
        let believed = |value: &Value| {
            let number = script::number(value).and_then(|number| u64::try_from(number).map_err(|_| Rejected));
            self.0.rejections.noted(RedisValue::Reply, number).map_err(|_| Away)
        };
        let (number, refused) = (believed(&number)?, believed(&refused)?);
        self.0.rejections.note(RedisValue::Fence, refused.min(MOST_CALLS));
        self.0.rejections.note(RedisValue::Record, u64::from(what == "too_large"));
        let clock = self.clock().ok_or(Away)?;
        let number = clock.fence(number, Instant::now());
        let number = self.0.rejections.noted(RedisValue::Reply, number).map_err(|_| Away)?;
        let record = match record {
            Value::BulkString(record) => Some(record),
            _ => None,
        };
        Ok(Answer { what, number, record })
    }

    /// A record that was found cannot be, and is not one of another version or key.
    pub fn record_rejected(&self) {
        self.0.rejections.note(RedisValue::Record, 1);
    }

    /// A slow record is no reason to do without the budget. The heartbeat finds out whether there is more to it.
    fn checked<T>(&self, answer: Result<T, Trouble>) -> Result<T, Away> {
        let timeouts = match &answer {
            Err(Trouble::TimedOut) => self.0.bulk_timeouts.get() + 1,
            _ => 0,
        };
        self.0.bulk_timeouts.set(timeouts);
        if timeouts >= BULK_TIMEOUTS {
            self.0.link.hang_up();
        }
        answer.map_err(|trouble| {
            tracing::debug!(%trouble, "a record could not be had or put");
            self.0.doubt.notify_one();
            Away
        })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}
