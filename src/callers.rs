//! Who may ask: the callers of the callers' file, found by the hash of the key that a request presents.
//!
//! A look-up costs one SHA-256 of a short text and takes no lock, however many callers there are: the list is swapped as a
//! whole when the file changes (`arc-swap`).
//!
//! How long it takes may tell a guesser with how many bits the hash of the guess agrees with a caller's. That helps nobody to
//! the next guess: which key has a hash that begins so is no easier to say than which has the whole hash.
//!
//! How a key is presented is the business of `http`; what a caller's weight means, of the queue for permits.

mod add;
mod caller;
mod file;
mod key;
mod ledger;
mod list;

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;

pub use self::{
    add::{AddError, Addition, NewCaller},
    caller::{Booking, Caller, Name, Room, Spent},
    file::CallersFile,
    key::CallerKey,
    list::{WEIGHTS, Wrong},
};
use self::{
    caller::SharedLedger,
    file::Watch,
    list::{Digest, Entry},
};
use crate::metrics::Metrics;

/// The file is looked at this often, and a change counts after two looks; the promise is every 5 s.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So many problems of a broken file are told in the log and in the status.
const MOST_PROBLEMS: usize = 20;

/// Who may ask.
pub struct CallersConfig {
    /// The callers' file; `None`: everybody may, and is called anonymous.
    pub file: Option<CallersFile>,
}

/// The callers as they are now. Cheap to clone, and at home on any thread.
#[derive(Clone)]
pub struct Callers(Arc<Inner>);

struct Inner {
    roster: ArcSwap<Roster>,
    /// What is wrong with the file as it is now, if it is not the one in use.
    problems: ArcSwap<Vec<String>>,
}

enum Roster {
    /// No callers are configured.
    Everybody(Arc<Caller>),
    Listed {
        in_order: Vec<Arc<Caller>>,
        by_key: HashMap<Digest, Arc<Caller>, RandomState>,
    },
}

impl Callers {
    /// The callers, and who keeps them true to their file, if they have one.
    #[must_use]
    pub fn open(config: CallersConfig, metrics: &Arc<Metrics>) -> (Self, Option<Keeper>) {
        let with = |roster| {
            Self(Arc::new(Inner { roster: ArcSwap::from_pointee(roster), problems: ArcSwap::default() }))
        };
        metrics.callers_file_ok.set(1);
        let Some(CallersFile { path, look, entries }) = config.file else {
            let anonymous = Caller::anonymous();
            metrics.caller_is_known(anonymous.name.as_str());
            return (with(Roster::Everybody(Arc::new(anonymous))), None);
        };
        let mut register = Register::default();
        let callers = with(register.roster(entries, metrics));
        let keeper = Keeper {
            path,
            watch: Watch::new(look),
            register,
            callers: callers.clone(),
            metrics: Arc::clone(metrics),
        };
        (callers, Some(keeper))
    }

    /// Whether a key is needed.
    #[must_use]
    pub fn need_keys(&self) -> bool {
        matches!(**self.0.roster.load(), Roster::Listed { .. })
    }

    /// Whose key this is. Without configured callers it is not looked at.
    #[must_use]
    pub fn find(&self, key: Option<&[u8]>) -> Option<Arc<Caller>> {
        match &**self.0.roster.load() {
            Roster::Everybody(anonymous) => Some(Arc::clone(anonymous)),
            Roster::Listed { by_key, .. } => by_key.get(&key::digest_of(key?)).cloned(),
        }
    }

    /// All of them, in the order of the file.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Caller>> {
        match &**self.0.roster.load() {
            Roster::Everybody(anonymous) => vec![Arc::clone(anonymous)],
            Roster::Listed { in_order, .. } => in_order.clone(),
        }
    }

    /// What is wrong with the file as it is now; then the callers are those of the file as it was before.
    #[must_use]
    pub fn problems(&self) -> Arc<Vec<String>> {
        self.0.problems.load_full()
    }
}

/// Every name that was ever in the file, so that its number and its ledger outlive changes of its entry.
#[derive(Default)]
struct Register {
    ledgers: HashMap<Name, (u32, SharedLedger)>,
}

impl Register {
    fn roster(&mut self, entries: Vec<Entry>, metrics: &Metrics) -> Roster {
        let listed: Vec<_> = entries
            .into_iter()
            .map(|entry| {
                let Entry { name, key_sha256, weight, calls_per_minute } = entry;
                // 0 is anonymous.
                let next = u32::try_from(self.ledgers.len() + 1).unwrap_or(u32::MAX);
                let (id, ledger) = self
                    .ledgers
                    .entry(name.clone())
                    .or_insert_with(|| (next, SharedLedger::default()))
                    .clone();
                metrics.caller_is_known(name.as_str());
                (key_sha256, Arc::new(Caller { id, name, weight, calls_per_minute, ledger }))
            })
            .collect();
        Roster::Listed {
            in_order: listed.iter().map(|(_, caller)| Arc::clone(caller)).collect(),
            by_key: listed.into_iter().collect(),
        }
    }
}

/// Looks at the callers' file for as long as the service runs, and has a changed one count.
pub struct Keeper {
    path: PathBuf,
    watch: Watch,
    register: Register,
    callers: Callers,
    metrics: Arc<Metrics>,
}

impl Keeper {
    /// Never returns.
    pub async fn keep(mut self) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let path = self.path.clone();
            // A mounted file can hang.
            if let Ok(look) = actix_rt::task::spawn_blocking(move || file::look(&path)).await
                && let Some(changed) = self.watch.see(look)
            {
                let judged = file::judge(changed);
                self.take_over(judged);
            }
        }
    }

    /// A whole good list replaces the one in use; of any other only is said what is wrong.
    fn take_over(&mut self, judged: Result<Vec<Entry>, Vec<Wrong>>) {
        let (ok, problems) = match judged {
            Ok(entries) => {
                let roster = self.register.roster(entries, &self.metrics);
                self.callers.0.roster.store(Arc::new(roster));
                tracing::info!(callers = self.callers.all().len(), "callers.file has changed and is in use");
                (true, Vec::new())
            }
            Err(wrong) => {
                let problems: Vec<_> = wrong.iter().take(MOST_PROBLEMS).map(ToString::to_string).collect();
                tracing::error!(
                    problems = problems.join("; "),
                    count = wrong.len(),
                    "callers.file has changed and cannot be used: the callers that were read before stay"
                );
                (false, problems)
            }
        };
        self.metrics.callers_file_ok.set(i64::from(ok));
        self.callers.0.problems.store(Arc::new(problems));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn entries(callers: &[(&str, &str, u32)]) -> Vec<Entry> {
        let entry = |(name, key, weight): &(&str, &str, u32)| Entry {
            name: Name::parse(name).unwrap(),
            key_sha256: key::digest_of(key.as_bytes()),
            weight: *weight,
            calls_per_minute: None,
        };
        callers.iter().map(entry).collect()
    }

    fn open(callers: &[(&str, &str, u32)]) -> (Callers, Keeper, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::default());
        let file = CallersFile { path: PathBuf::new(), look: Ok(String::new()), entries: entries(callers) };
        let (callers, keeper) = Callers::open(CallersConfig { file: Some(file) }, &metrics);
        (callers, keeper.unwrap(), metrics)
    }

    fn name_of(callers: &Callers, key: &str) -> Option<String> {
        callers.find(Some(key.as_bytes())).map(|caller| caller.name.to_string())
    }

    #[test]
    fn a_caller_is_known_by_its_key_wherever_it_is_in_the_list() {
        let (callers, ..) = open(&[("a", "key-a", 1), ("b", "key-b", 1), ("c", "key-c", 1)]);
        for name in ["a", "b", "c"] {
            assert_eq!(name_of(&callers, &format!("key-{name}")).as_deref(), Some(name));
        }
        for wrong in ["", "key-", "key-d", "key-aa", "KEY-A", "a"] {
            assert_eq!(name_of(&callers, wrong), None, "{wrong}");
        }
        assert!(callers.find(None).is_none() && callers.need_keys());
    }

    #[test]
    fn without_a_file_everybody_is_anonymous_with_or_without_a_key() {
        let (callers, keeper) = Callers::open(CallersConfig { file: None }, &Arc::new(Metrics::default()));
        assert_eq!(name_of(&callers, "anything").as_deref(), Some("anonymous"));
        assert!(callers.find(None).is_some() && !callers.need_keys() && keeper.is_none());
    }

    #[test]
    fn number_and_ledger_of_a_name_outlive_its_entry() {
        let (callers, mut keeper, _) = open(&[("a", "1", 1), ("b", "2", 1)]);
        let before = callers.find(Some(b"2")).unwrap();
        before.book(Instant::now()).ok().unwrap().call(Instant::now());
        keeper.take_over(Ok(entries(&[("c", "3", 1)])));
        assert_eq!(name_of(&callers, "2"), None);
        keeper.take_over(Ok(entries(&[("b", "4", 5), ("a", "1", 1), ("c", "3", 1)])));
        assert_eq!(name_of(&callers, "2"), None, "its old key");
        let after = callers.find(Some(b"4")).unwrap();
        assert_eq!((after.id, after.weight, after.spent(Instant::now()).today), (before.id, 5, 1));
        let ids: std::collections::HashSet<_> = callers.all().iter().map(|caller| caller.id).collect();
        assert!(ids.len() == 3 && !ids.contains(&0), "{ids:?}");
    }

    #[test]
    fn a_broken_file_leaves_the_callers_as_they_were_and_is_told() {
        let (callers, mut keeper, metrics) = open(&[("a", "1", 1)]);
        keeper.take_over(file::judge(&Ok("[[caller]]\n".to_owned())));
        assert_eq!(name_of(&callers, "1").as_deref(), Some("a"));
        assert_eq!((callers.problems().len(), metrics.callers_file_ok.get()), (2, 0));
        keeper.take_over(Ok(entries(&[("b", "2", 1)])));
        assert_eq!(name_of(&callers, "2").as_deref(), Some("b"));
        assert_eq!((callers.problems().len(), metrics.callers_file_ok.get()), (0, 1));
    }
}
