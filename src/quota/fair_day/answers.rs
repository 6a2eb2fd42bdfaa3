//! Recognizes a caller that guesses ids: most of its fetches end with "no such meeting". Pure.

/// How many of a caller's last answers are considered.
const WINDOW: u32 = 50;
/// A caller with at least this many 404s among its last [`WINDOW`] answers is held.
const MOSTLY: u32 = 40;

/// The last results of one caller's fetches that show whether the meeting exists.
///
/// Example: 40 of the last 50 fetches ended with a 404, so the caller is held. When it next finds a meeting, by a fetch
/// or in the cache, it is released, and the window becomes empty.
#[derive(Default)]
pub(super) struct AnswerWindow {
    /// One bit for each answer, 1 for a 404. The lowest bit is the newest answer.
    missing: u64,
    answers: u32,
    is_held: bool,
}

impl AnswerWindow {
    pub(super) fn record(&mut self, exists: bool) {
        if exists && self.is_held {
            *self = Self::default();
            return;
        }
        self.missing = (self.missing << 1 | u64::from(!exists)) & ((1 << WINDOW) - 1);
        self.answers = (self.answers + 1).min(WINDOW);
        self.is_held |= self.answers == WINDOW && self.missing.count_ones() >= MOSTLY;
    }

    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(answers: impl IntoIterator<Item = bool>) -> AnswerWindow {
        let mut window = AnswerWindow::default();
        answers.into_iter().for_each(|exists| window.record(exists));
        window
    }

    #[test]
    fn forty_404s_among_fifty_answers_hold_a_caller() {
        let every_fifth = |answers| (0..answers).map(|number| number % 5 == 0);
        assert!(!after(every_fifth(49)).is_held(), "too few answers");
        assert!(after(every_fifth(50)).is_held());
        assert!(!after((0..50).map(|number| number % 4 == 0)).is_held(), "37 of 50");
        assert!(!after((0..200).map(|number| number % 4 == 0)).is_held(), "only the last 50 count");
    }

    #[test]
    fn one_meeting_that_exists_releases_a_held_caller() {
        let mut window = after([false; 60]);
        assert!(window.is_held());
        window.record(true);
        assert!(!window.is_held());
        (0..49).for_each(|_| window.record(false));
        assert!(!window.is_held(), "the window begins again");
        window.record(false);
        assert!(window.is_held());
    }
}
