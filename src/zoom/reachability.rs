//! Why Zoom cannot be reached: told in the log once per change, and kept for `/status`.

use std::{cell::RefCell, sync::Arc, time::Instant};

use crate::metrics::Cause;

/// Broken answers in a row before the log tells of them: one that breaks off now and then is routine.
const BROKEN_IN_A_ROW: u32 = 2;

/// What failed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) cause: Cause,
    /// For operators. Our own words: no secret, and nothing that Zoom said.
    pub(super) detail: String,
}

/// The last call that found no connection, or an answer that was not whole.
#[derive(Debug, Clone)]
pub struct LastFailure {
    /// When it failed.
    pub at: Instant,
    /// Which of Zoom's hosts was asked.
    pub host: Arc<str>,
    /// Why, in one word.
    pub cause: Cause,
    /// Why, for operators.
    pub detail: String,
}

/// Whether one of Zoom's hosts can be reached. Belongs to one thread.
pub(super) struct Reachability {
    host: Arc<str>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// What the log said last; `None`: the host can be reached.
    logged: Option<Cause>,
    broken_in_a_row: u32,
    last: Option<LastFailure>,
}

impl Reachability {
    /// Nothing is known yet.
    pub(super) fn of(host: &str) -> Self {
        Self { host: host.into(), state: RefCell::default() }
    }

    /// The last failure, though calls may have been answered since.
    pub(super) fn last_failure(&self) -> Option<LastFailure> {
        self.state.borrow().last.clone()
    }

    /// An answer arrived whole, whatever it says.
    pub(super) fn answered(&self) {
        let mut state = self.state.borrow_mut();
        state.broken_in_a_row = 0;
        if state.logged.take().is_some() {
            tracing::info!(host = &*self.host, "Zoom can be reached again");
        }
    }

    /// A call failed in this way.
    pub(super) fn failed(&self, trouble: &Trouble) {
        let Trouble { cause, detail } = trouble;
        let mut state = self.state.borrow_mut();
        state.last = Some(LastFailure {
            at: Instant::now(),
            host: Arc::clone(&self.host),
            cause: *cause,
            detail: detail.clone(),
        });
        match cause {
            Cause::Broken => state.broken_in_a_row += 1,
            _ => state.broken_in_a_row = 0,
        }
        let is_routine = *cause == Cause::Broken && state.broken_in_a_row < BROKEN_IN_A_ROW;
        if !is_routine && state.logged != Some(*cause) {
            state.logged = Some(*cause);
            tracing::warn!(host = &*self.host, cause = cause.as_str(), detail, "Zoom cannot be reached");
        }
    }
}
