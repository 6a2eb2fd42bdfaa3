//! Bounds the signatures that workers verify, because anybody can send tokens that look valid.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The maximum number of signatures that workers verify in a window. P-384 is the slowest algorithm, at about half a
/// millisecond, so these signatures take about 5 % of one CPU at most. All others are verified on a thread that yields
/// to hits.
const PER_WINDOW: usize = 100;
const WINDOW: Duration = Duration::from_secs(1);
/// The maximum number of signatures that a worker verifies for one token. It serves no other request in the meantime.
const PER_TOKEN: usize = 16;

/// How long the verification of a token may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VerificationCost {
    /// Short enough for a worker: at most `PER_TOKEN` signatures.
    Usual,
    /// Up to a second: for example, the token has no `kid`, and the issuer has many keys.
    High,
}

impl VerificationCost {
    pub(super) fn of(signatures: usize) -> Self {
        if signatures <= PER_TOKEN { Self::Usual } else { Self::High }
    }
}

/// The number of signatures that workers may still verify.
#[derive(Default)]
pub(in crate::callers) struct SignatureBudget(Mutex<Spent>);

#[derive(Default)]
struct Spent {
    window_ends: Option<Instant>,
    signatures: usize,
}

impl SignatureBudget {
    /// Takes this many signatures from the budget. Returns `false` if a worker must not verify that many now.
    pub(in crate::callers) fn take(&self, signatures: usize, now: Instant) -> bool {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.window_ends.is_none_or(|end| end <= now) {
            *spent = Spent { window_ends: Some(now + WINDOW), signatures: 0 };
        }
        let may_verify = signatures <= PER_TOKEN && spent.signatures + signatures <= PER_WINDOW;
        if may_verify {
            spent.signatures += signatures;
        }
        may_verify
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_signatures_a_second_are_left_to_workers() {
        let (budget, now) = (SignatureBudget::default(), Instant::now());
        assert!(!budget.take(PER_TOKEN + 1, now));
        assert!((0..6).all(|_| budget.take(PER_TOKEN, now)));
        assert!(!budget.take(5, now));
        assert!(budget.take(4, now));
        assert!(!budget.take(1, now + WINDOW / 2));
        assert!(budget.take(1, now + WINDOW));
    }
}
