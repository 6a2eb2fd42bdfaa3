//! One issuer: its keys, and when they are fetched again.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use tokio::sync::watch;

use super::{
    entry::{IssuerEntry, KeySource},
    jwks::KeySet,
};

/// How long keys from a URL are used before they are fetched again, unless an unknown key id causes an earlier fetch.
/// Until a fetch succeeds, a key that the issuer has removed is still accepted.
const REFRESH_INTERVAL: Duration = Duration::from_mins(5);
/// The interval before a key file is read again after a successful read. The documentation promises 5 s.
const FILE_INTERVAL: Duration = Duration::from_secs(3);
/// The minimum interval between two fetches because of unknown key ids, which anybody can send.
const UNKNOWN_ID_INTERVAL: Duration = Duration::from_secs(30);
/// The first interval between attempts while the issuer has no keys; each failure doubles it.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The maximum interval between attempts while the issuer has no keys.
const LONGEST_RETRY_WITHOUT_KEYS: Duration = Duration::from_secs(8);
/// The interval before a retry after a failure while earlier keys are in use.
const RETRY_WITH_KEYS: Duration = Duration::from_secs(30);

pub(in crate::callers) struct Issuer {
    pub(in crate::callers) entry: IssuerEntry,
    keys: ArcSwapOption<KeySet>,
    schedule: Mutex<Schedule>,
    /// Notified whenever a fetch ends.
    fetch_ended: watch::Sender<()>,
}

struct Schedule {
    next_fetch: Instant,
    is_fetching: bool,
    retry: Duration,
    /// The earliest time at which an unknown key id may cause a fetch.
    unknown_id_from: Instant,
    keys_from: Option<Instant>,
    last_failure: Option<String>,
}

/// The state of an issuer for `/status`.
pub(crate) struct IssuerStatus {
    pub(crate) name: String,
    pub(crate) keys: usize,
    /// The time at which the keys were last fetched or read successfully.
    pub(crate) keys_from: Option<Instant>,
    /// The reason why the last fetch failed; `None` if no fetch has failed since the last success.
    pub(crate) last_failure: Option<String>,
}

impl Issuer {
    pub(in crate::callers) fn new(entry: IssuerEntry, now: Instant) -> Self {
        let schedule = Schedule {
            next_fetch: now,
            is_fetching: false,
            retry: FIRST_RETRY,
            unknown_id_from: now,
            keys_from: None,
            last_failure: None,
        };
        let (fetch_ended, _) = watch::channel(());
        Self { entry, keys: ArcSwapOption::empty(), schedule: Mutex::new(schedule), fetch_ended }
    }

    pub(in crate::callers) fn keys(&self) -> Option<Arc<KeySet>> {
        self.keys.load_full()
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        // No method can panic halfway through a change.
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// If a fetch is due and none is in progress, marks one as in progress and returns `true`. The watcher must then fetch
    /// the keys and pass the result to [`Self::end_fetch`].
    pub(in crate::callers) fn begin_fetch(&self, now: Instant) -> bool {
        let mut schedule = self.schedule();
        if schedule.is_fetching || now < schedule.next_fetch {
            return false;
        }
        schedule.is_fetching = true;
        true
    }

    /// Puts the fetched keys into use, or keeps the current keys and tries again later. Logs a failure with a new reason,
    /// the first success, and a success after a failure.
    pub(in crate::callers) fn end_fetch(&self, fetched: Result<KeySet, String>, now: Instant) {
        let has_keys = self.keys.load().is_some();
        let issuer = self.entry.name.as_str();
        let mut schedule = self.schedule();
        schedule.is_fetching = false;
        match fetched {
            Ok(keys) => {
                let keys = match &*self.keys.load() {
                    Some(previous) => keys.replacing(previous),
                    None => keys,
                };
                if schedule.last_failure.take().is_some() || !has_keys {
                    tracing::info!(issuer, keys = keys.count(), "the issuer's keys are in use");
                }
                self.keys.store(Some(Arc::new(keys)));
                schedule.keys_from = Some(now);
                schedule.retry = FIRST_RETRY;
                let from_file = matches!(self.entry.keys, KeySource::File(_));
                schedule.next_fetch = now + if from_file { FILE_INTERVAL } else { REFRESH_INTERVAL };
            }
            Err(reason) => {
                if schedule.last_failure.as_ref() != Some(&reason) {
                    let effect = if has_keys { "the present keys stay in use" } else { "its tokens get 503" };
                    tracing::warn!(issuer, reason, "cannot get the issuer's keys: {effect}");
                }
                schedule.last_failure = Some(reason);
                let retry = if has_keys { RETRY_WITH_KEYS } else { schedule.retry };
                schedule.next_fetch = now + retry;
                schedule.retry = (schedule.retry * 2).min(LONGEST_RETRY_WITHOUT_KEYS);
            }
        }
        drop(schedule);
        self.fetch_ended.send_replace(());
    }

    /// Returns the end of the fetch that may bring the key of a token: a fetch in progress; for an unknown key id, a
    /// new fetch if one is permitted now; otherwise a fetch that is due.
    pub(in crate::callers) fn awaited_fetch(&self, is_unknown_id: bool, now: Instant) -> Option<FetchEnd> {
        let ended = self.fetch_ended.subscribe();
        let mut schedule = self.schedule();
        if !schedule.is_fetching && is_unknown_id {
            if now < schedule.unknown_id_from {
                return None;
            }
            schedule.unknown_id_from = now + UNKNOWN_ID_INTERVAL;
            schedule.next_fetch = now;
        }
        let is_due = schedule.is_fetching || schedule.next_fetch <= now;
        is_due.then_some(FetchEnd(ended))
    }

    /// Returns the time of the next attempt, for `Retry-After`.
    pub(in crate::callers) fn next_fetch(&self) -> Instant {
        self.schedule().next_fetch
    }

    pub(in crate::callers) fn status(&self) -> IssuerStatus {
        let schedule = self.schedule();
        IssuerStatus {
            name: self.entry.name.clone(),
            keys: self.keys.load().as_ref().map_or(0, |keys| keys.count()),
            keys_from: schedule.keys_from,
            last_failure: schedule.last_failure.clone(),
        }
    }
}

/// Waits for the end of a fetch of keys.
pub(crate) struct FetchEnd(watch::Receiver<()>);

impl FetchEnd {
    /// Completes when the fetch ends, or when the issuer is gone from the callers' file.
    pub(crate) async fn wait(mut self) {
        drop(self.0.changed().await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(now: Instant) -> Issuer {
        let keys = KeySource::File("".into());
        Issuer::new(IssuerEntry { name: "i".into(), url: String::new(), audience: String::new(), keys }, now)
    }

    fn keys() -> Result<KeySet, String> {
        let document = br#"{"keys":[{"kty":"RSA","n":"sXch","e":"AQAB"}]}"#;
        KeySet::parse(document)
    }

    #[test]
    fn without_keys_attempts_back_off_to_eight_seconds() {
        let start = Instant::now();
        let (issuer, mut now) = (issuer(start), start);
        for seconds in [1, 2, 4, 8, 8] {
            assert!(issuer.begin_fetch(now) && !issuer.begin_fetch(now), "one at a time");
            issuer.end_fetch(Err("away".into()), now);
            assert_eq!(issuer.next_fetch(), now + Duration::from_secs(seconds));
            now = issuer.next_fetch();
        }
    }

    #[test]
    fn unknown_ids_cause_one_fetch_in_thirty_seconds() {
        let start = Instant::now();
        let issuer = issuer(start);
        assert!(issuer.begin_fetch(start));
        issuer.end_fetch(keys(), start);
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut fetches = 0;
        for second in 0..=65 {
            let _awaited = issuer.awaited_fetch(true, at(second));
            if issuer.schedule().next_fetch == at(second) && issuer.begin_fetch(at(second)) {
                fetches += 1;
                // Each fetch fails here, because after a success the next fetch would be minutes later.
                issuer.end_fetch(Err("away".into()), at(second));
            }
        }
        assert_eq!(fetches, 3, "at 0, 30 and 60 s");
    }

    #[test]
    fn keys_stay_in_use_while_the_issuer_fails() {
        let now = Instant::now();
        let issuer = issuer(now);
        assert!(issuer.keys().is_none() && issuer.begin_fetch(now));
        assert!(issuer.awaited_fetch(false, now).is_some(), "a fetch is under way");
        issuer.end_fetch(keys(), now);
        assert!(issuer.awaited_fetch(false, now).is_none());
        assert!(issuer.begin_fetch(now + FILE_INTERVAL));
        issuer.end_fetch(Err("away".into()), now);
        assert_eq!((issuer.keys().unwrap().count(), issuer.status().keys), (1, 1));
        assert_eq!(issuer.status().last_failure.as_deref(), Some("away"));
    }
}
