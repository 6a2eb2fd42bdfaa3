//! The count of the day's calls. It starts at 00:00 UTC, because Zoom's daily quota is a counter that restarts then, not a rate.
//!
//! Other apps of the account use the same quota. While they stay within the headroom, their calls are not counted here.
//! If Zoom reports fewer remaining calls than this count still permits, other apps have used the difference, and it is
//! added to the count. A report never lowers the count, because calls that are still in flight may be missing from the
//! report.

use std::{
    io,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{
    fair_day::CallerSpending,
    state_file::{PendingSave, SaveJob, SavedCount, StateFile},
};

const SECONDS_IN_A_DAY: u64 = 86_400;
/// Zoom's clock may be slow. For this many seconds after 00:00 UTC, its reports may therefore be about the previous
/// day.
const ZOOM_DAY_CERTAIN_AFTER: u64 = 300;

/// The count of one UTC day.
pub struct DailyQuota {
    limit: u64,
    days: Days,
    file: Option<StateFile>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DayCount {
    /// Days since 1970-01-01 UTC.
    pub(crate) date: u64,
    pub(crate) used: u64,
    /// The calls among `used` that other apps of the account made beyond the headroom.
    pub(crate) taken: u64,
}

impl DayCount {
    fn saved(&self) -> SavedCount {
        SavedCount { zoom_calls_of_day: self.date, calls: self.used }
    }
}

/// Today's count, and the counts of other days in case the wall clock is or was wrong.
#[derive(Clone, Copy)]
struct Days {
    today: DayCount,
    /// The previous day, in case the clock is set back to it.
    before: Option<DayCount>,
    /// The later day from which the clock was set back, in case that day was correct.
    after: Option<DayCount>,
}

impl Days {
    /// Returns the counts after the clock has moved to this time.
    ///
    /// Example: 45 calls are made on day 5 and 28 on day 6, and then the clock is set back to day 5. Either day may be
    /// correct, so day 5 gets all 73 calls. When day 6 begins again, it still has its 28 calls.
    fn at(self, now: SystemTime) -> Self {
        let Self { today, before, after } = self;
        let date = date_of(now);
        if date > today.date {
            let known = after.filter(|after| after.date == date);
            let today_then = known.unwrap_or(DayCount { date, used: 0, taken: 0 });
            Self { today: today_then, before: Some(today), after: after.filter(|after| after.date > date) }
        } else if let Some(before) = before.filter(|before| before.date == date) {
            let (used, taken) = (before.used + today.used, before.taken + today.taken);
            Self { today: DayCount { date, used, taken }, before: None, after: Some(today) }
        } else if date + 1 < today.date {
            // The clock was more than one day ahead. If it was one day ahead, nothing changes, and the next midnight
            // corrects the date.
            Self { today: DayCount { date, ..today }, before: None, after: Some(today) }
        } else {
            self
        }
    }
}

impl DailyQuota {
    /// Starts at today's count in the state file.
    ///
    /// # Errors
    /// The file cannot be read or written. It is written at the start, because otherwise operators would notice such an
    /// error only when a restart loses the count.
    pub fn open(limit: u64, per_second: u32, path: Option<&Path>, now: SystemTime) -> io::Result<Self> {
        let mut today = DayCount { date: date_of(now), used: 0, taken: 0 };
        let file = path.map(|path| StateFile::open(path, limit, per_second, today.date)).transpose()?;
        let file = file.map(|(file, saved)| {
            (today.date, today.used) = (saved.zoom_calls_of_day, saved.calls);
            file
        });
        Ok(Self { limit, days: Days { today, before: None, after: None }, file })
    }

    /// Returns the date that is counted, in days since 1970-01-01 UTC.
    pub(super) fn date(&self) -> u64 {
        self.days.today.date
    }

    /// Returns each caller's spending that the state file contained at the start. Returns nothing when called again.
    pub(super) fn take_saved_callers(&mut self) -> Vec<(Box<str>, CallerSpending)> {
        self.file.as_mut().map(StateFile::take_callers).unwrap_or_default()
    }

    /// Replaces the count with that of all replicas. `limit` is the count at which this replica must stop.
    pub(super) fn replace_with(&mut self, count: DayCount, limit: u64) {
        self.days = Days { today: count, before: None, after: None };
        self.limit = limit;
    }

    /// Switches to the count of the day that contains `now`. [`Days::at`] describes what happens if the clock was set
    /// back.
    pub(crate) fn roll_over(&mut self, now: SystemTime) {
        let days = self.days.at(now);
        if days.today.date > self.days.today.date
            && let Some(file) = &mut self.file
        {
            file.has_calls = false;
        }
        self.days = days;
    }

    /// Counts a call, and returns the date on which it is counted, in days since 1970-01-01 UTC.
    pub fn count_call(&mut self, now: SystemTime) -> u64 {
        self.roll_over(now);
        self.days.today.used += 1;
        if let Some(file) = &mut self.file {
            file.has_calls = true;
        }
        self.days.today.date
    }

    /// Takes back a call that was counted on this date but not made. The counts of other days do not change.
    pub(super) fn uncount_call(&mut self, date: u64, now: SystemTime) {
        self.roll_over(now);
        let today = &mut self.days.today;
        if date == today.date {
            today.used = today.used.saturating_sub(1);
        }
    }

    /// Handles Zoom's report of how many calls the account has left. The report is from the response to a call made at
    /// `called`.
    ///
    /// Example: 90 calls are permitted here, and 20 are counted. A report of 80 or 70 changes nothing, because the
    /// other apps are within the headroom. If Zoom reports 50, only 50 of the remaining 70 calls are left, so the count
    /// rises to 90 − 50 = 40.
    pub(super) fn record_remaining(&mut self, calls: u64, called: SystemTime, now: SystemTime) {
        self.roll_over(now);
        let today = &mut self.days.today;
        let into_the_day = SECONDS_IN_A_DAY.saturating_sub(until_midnight(called).as_secs());
        if date_of(called) != today.date || into_the_day < ZOOM_DAY_CERTAIN_AFTER {
            return;
        }
        let taken = self.limit.saturating_sub(calls).saturating_sub(today.used);
        today.taken += taken;
        today.used += taken;
    }

    /// Returns the calls counted today, including those of other apps.
    pub fn used(&self, now: SystemTime) -> u64 {
        self.days.at(now).today.used
    }

    /// Returns the calls among [`Self::used`] that other apps of the account made beyond the headroom.
    pub(crate) fn taken_by_others(&self, now: SystemTime) -> u64 {
        self.days.at(now).today.taken
    }

    /// Returns whether no call is left today.
    pub fn is_spent(&self, now: SystemTime) -> bool {
        self.used(now) >= self.limit
    }

    /// Returns the count at which no more calls may be made today. This is the configured limit. While Redis is
    /// unavailable, it is the count at which this replica must stop.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns the write to the state file that is due, if any.
    pub(crate) fn next_save(&mut self, now: SystemTime, calls_wait: bool) -> Option<PendingSave> {
        self.roll_over(now);
        let count = self.days.today.saved();
        self.file.as_mut()?.next_save(count, calls_wait)
    }

    /// Returns the write of the exact count for the end of the process, when no more calls follow; `None` without a
    /// state file.
    pub(crate) fn final_save(&mut self, now: SystemTime) -> Option<SaveJob> {
        self.roll_over(now);
        let count = self.days.today.saved();
        Some(self.file.as_mut()?.hand_out(count))
    }

    /// Records whether a write succeeded.
    pub(crate) fn on_save(&mut self, job: &SaveJob, succeeded: bool) {
        if let Some(file) = &mut self.file {
            file.on_save(job, succeeded);
        }
    }
}

/// Returns the time until the next 00:00 UTC.
pub fn until_midnight(now: SystemTime) -> Duration {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs((since.as_secs() / SECONDS_IN_A_DAY + 1) * SECONDS_IN_A_DAY).saturating_sub(since)
}

fn date_of(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / SECONDS_IN_A_DAY
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: u64, seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(day * SECONDS_IN_A_DAY + seconds)
    }

    fn count(day: &mut DailyQuota, calls: u64, now: SystemTime) {
        for _ in 0..calls {
            day.count_call(now);
        }
    }

    #[test]
    fn the_day_turns_at_midnight_utc_and_not_before() {
        let mut day = DailyQuota::open(2, 40, None, at(5, 0)).unwrap();
        count(&mut day, 2, at(5, 10));
        assert!(day.is_spent(at(5, 86_399)));
        assert_eq!(day.used(at(6, 0)), 0);
        assert!(!day.is_spent(at(6, 0)));
        assert_eq!(until_midnight(at(5, 86_399)), Duration::from_secs(1));
        assert_eq!(until_midnight(at(6, 0)), Duration::from_secs(SECONDS_IN_A_DAY));
    }

    #[test]
    fn a_clock_set_back_does_not_give_the_day_again() {
        let mut day = DailyQuota::open(2, 40, None, at(6, 0)).unwrap();
        count(&mut day, 2, at(6, 1));
        assert!(day.is_spent(at(5, 86_000)));
    }

    #[test]
    fn a_clock_briefly_days_ahead_neither_loses_nor_blocks_the_day() {
        for ahead in [1, 10] {
            let mut day = DailyQuota::open(10, 40, None, at(6, 0)).unwrap();
            count(&mut day, 4, at(6, 1));
            count(&mut day, 2, at(6 + ahead, 2));
            assert_eq!(day.used(at(6 + ahead, 2)), 2);
            count(&mut day, 1, at(6, 3));
            assert_eq!(day.used(at(6, 3)), 7, "{ahead}: all calls were made on the current day");
            assert!(!day.is_spent(at(7, 0)));
            // Day 7 has the calls that were made while the clock showed it.
            assert_eq!(day.used(at(7, 0)), if ahead == 1 { 2 } else { 0 }, "{ahead}");
        }
        // The clock is right, then wrong for a while, then right again.
        let mut day = DailyQuota::open(100, 40, None, at(5, 0)).unwrap();
        count(&mut day, 45, at(5, 1));
        count(&mut day, 28, at(6, 1));
        count(&mut day, 1, at(5, 2));
        assert_eq!(day.used(at(5, 2)), 74);
        count(&mut day, 1, at(6, 3));
        assert_eq!(day.used(at(6, 3)), 29, "the count of the day is not lost");
        assert_eq!(day.used(at(7, 0)), 0);
        // The process started while the clock was ahead.
        let mut day = DailyQuota::open(2, 40, None, at(16, 0)).unwrap();
        count(&mut day, 2, at(16, 1));
        assert!(day.is_spent(at(6, 0)), "the calls were made today");
        day.roll_over(at(6, 0));
        assert!(!day.is_spent(at(7, 0)));
    }

    #[test]
    fn a_call_not_made_is_refunded_only_to_its_own_day() {
        let mut day = DailyQuota::open(10, 40, None, at(5, 0)).unwrap();
        let yesterday = day.count_call(at(5, 86_399));
        let today = day.count_call(at(6, 0));
        day.uncount_call(yesterday, at(6, 1));
        assert_eq!(day.used(at(6, 1)), 1);
        day.uncount_call(today, at(6, 1));
        assert_eq!(day.used(at(6, 1)), 0);
    }

    #[test]
    fn calls_taken_by_others_are_counted_and_never_granted_again() {
        let noon = at(5, 43_200);
        // The account has 100 calls a day. A tenth of them is left to other apps, as headroom.
        let mut day = DailyQuota::open(90, 40, None, noon).unwrap();
        count(&mut day, 20, noon);
        let mut hear = |left, used| {
            day.record_remaining(left, noon, noon);
            assert_eq!(day.used(noon), used, "{left} left");
            day.taken_by_others(noon)
        };
        assert_eq!(hear(80, 20), 0, "no other app has made calls");
        assert_eq!(hear(70, 20), 0, "the other apps are within the headroom");
        assert_eq!(hear(50, 40), 20, "the other apps took twenty calls more than the headroom");
        assert_eq!(hear(60, 40), 20, "an older report that arrived later");
        assert_eq!(hear(1_000_000, 40), 20, "the account has another plan than is configured");
        assert_eq!(hear(0, 90), 70);
        assert!(day.is_spent(noon));
        assert_eq!((day.used(at(6, 0)), day.taken_by_others(at(6, 0))), (0, 0));
    }

    #[test]
    fn zooms_count_of_the_previous_day_is_ignored() {
        let mut day = DailyQuota::open(90, 40, None, at(5, 0)).unwrap();
        day.record_remaining(3, at(5, 86_399), at(6, 1));
        assert_eq!(day.used(at(6, 1)), 0, "the call was made before midnight");
        day.record_remaining(3, at(6, 2), at(6, 2));
        assert_eq!(day.used(at(6, 2)), 0, "Zoom's clock may be behind ours");
        day.record_remaining(3, at(6, 300), at(6, 301));
        assert_eq!(day.used(at(6, 301)), 87);
    }
}
