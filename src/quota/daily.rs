//! The day's calls, counted from 00:00 UTC, because Zoom's daily quota is a counter that turns then and not a rate.
//!
//! Across restarts the count lives in a small file. It is written ahead: the file names a number that the count has not
//! reached yet, so that a killed process has counted a little too much, and never a call too few. Writing is asked for
//! early and done elsewhere; a call waits for it only before the first of a process or a day, and where the disk is slower
//! than the calls.
//!
//! Other apps of the account spend from the same pool. As long as they keep to the headroom, that is their affair. When
//! Zoom says that the account has fewer calls left than this count would still permit, they have taken some of ours: the
//! count is raised by those. What Zoom says is never a reason to lower it: it may be older than calls under way.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::{
    atomic_file::{self, AtomicFile},
    regular_file,
};

const SECONDS_IN_A_DAY: u64 = 86_400;
/// The file runs so many seconds of calls ahead of the count: a slow disk must not hold up the pace.
const SECONDS_AHEAD: u64 = 5;
/// At least this much, but no more than a fiftieth of the day: crashes must not spend it.
const LEAST_AHEAD: u64 = 10;
const MOST_OF_DAY: u64 = 50;
/// The most calls that are permitted together, when a timer was late, with no look at the file between them. One more for
/// each 500 calls a second: `rate.rs`.
const AT_ONCE_AT_MOST: u64 = 3;
/// So long after 00:00 UTC Zoom's word is not heard: by its clock it may be about the day before.
const ZOOMS_DAY_HAS_SURELY_TURNED: u64 = 300;
/// Ours is some 50 bytes.
const LARGEST_FILE: u64 = 4096;

/// The count of one UTC day.
pub struct Day {
    limit: u64,
    date: u64,
    used: u64,
    /// Those of `used` that others made.
    taken: u64,
    /// The day before this one: should the clock be put back.
    before: Option<Count>,
    /// The day that it was when the clock was put back: should that have been wrong.
    after: Option<Count>,
    file: Option<StateFile>,
}

/// What was counted in another day.
#[derive(Clone, Copy)]
struct Count {
    date: u64,
    used: u64,
    taken: u64,
}

struct StateFile {
    path: PathBuf,
    /// How many calls a write is ahead of the count.
    ahead: u64,
    /// The most calls between two looks at it.
    at_once: u64,
    /// What was last handed out to be written.
    saved: State,
    /// What is on the disk: the day, and the count that is safe up to there.
    written: State,
    /// Whether a call was counted since the start or the turn of the day: restarts alone must not add up.
    counted: bool,
}

/// What the file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    /// Days since 1970-01-01, UTC.
    zoom_calls_of_day: u64,
    /// At least as many as were made.
    calls: u64,
}

/// A write that is due.
#[derive(Debug)]
pub struct Due {
    /// The write.
    pub save: Save,
    /// No call before it is done.
    pub first: bool,
}

/// One write.
#[derive(Debug, Clone)]
pub struct Save {
    path: PathBuf,
    state: State,
}

/// The state file cannot serve.
#[derive(Debug, thiserror::Error)]
#[error("limits.state_file {path}: cannot be written: {source}")]
pub struct StateFileError {
    path: PathBuf,
    source: io::Error,
}

impl Day {
    /// Starts counting, from what the file says of today. A file that is torn or not ours is set aside.
    ///
    /// # Errors
    /// When the file cannot be written: better at start than at the first restart.
    pub fn open(
        limit: u64,
        per_second: u32,
        path: Option<&Path>,
        now: SystemTime,
    ) -> Result<Self, StateFileError> {
        let mut day =
            Self { limit, date: day_of(now), used: 0, taken: 0, before: None, after: None, file: None };
        if let Some(path) = path {
            let failed = |source| StateFileError { path: path.to_owned(), source };
            // Writing goes by a rename, which would replace a link instead of what it leads to.
            let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            if let Some(state) = load(path, day.date).map_err(failed)? {
                // A day ahead of the clock is kept: the clock was set back, and Zoom's day was not.
                if state.zoom_calls_of_day >= day.date {
                    day.date = state.zoom_calls_of_day;
                    day.used = state.calls;
                }
            }
            let saved = State { zoom_calls_of_day: day.date, calls: day.used };
            let ahead = LEAST_AHEAD
                .max(SECONDS_AHEAD * u64::from(per_second))
                .min(limit / MOST_OF_DAY)
                .max(AT_ONCE_AT_MOST);
            let at_once = AT_ONCE_AT_MOST + u64::from(per_second / 500);
            let mut file =
                StateFile { path: path.to_owned(), ahead, at_once, saved, written: saved, counted: false };
            file.save(saved).write().map_err(failed)?;
            day.file = Some(file);
        }
        Ok(day)
    }

    /// Who counts for all replicas says how it stands, and how far this one may go.
    pub fn is(&mut self, date: u64, used: u64, taken: u64, limit: u64) {
        (self.before, self.after) = (None, None);
        (self.date, self.used, self.taken, self.limit) = (date, used, taken, limit);
    }

    /// Counts a call. Gives the day that it is counted in.
    pub fn count_one(&mut self, now: SystemTime) -> u64 {
        self.turn(now);
        self.used += 1;
        if let Some(file) = &mut self.file {
            file.counted = true;
        }
        self.date
    }

    /// Takes back a call that was counted in this day and not made. Another day's count is none of its business.
    pub fn uncount_one(&mut self, date: u64, now: SystemTime) {
        self.turn(now);
        if date == self.date {
            self.used = self.used.saturating_sub(1);
        }
    }

    /// Zoom says, in answer to a call of that time, that so many of the day's calls are left to the whole account.
    pub fn account_has_left(&mut self, calls: u64, called: SystemTime, now: SystemTime) {
        self.turn(now);
        let into_the_day = SECONDS_IN_A_DAY.saturating_sub(until_midnight(called).as_secs());
        if day_of(called) != self.date || into_the_day < ZOOMS_DAY_HAS_SURELY_TURNED {
            return;
        }
        let taken = self.limit.saturating_sub(calls).saturating_sub(self.used);
        self.taken += taken;
        self.used += taken;
    }

    /// Of the calls counted in the day that `now` is in those that others made.
    #[must_use]
    pub fn taken_by_others(&self, now: SystemTime) -> u64 {
        if day_of(now) > self.date { 0 } else { self.taken }
    }

    /// Whether nothing is left of the day.
    pub fn is_spent(&mut self, now: SystemTime) -> bool {
        self.turn(now);
        self.used >= self.limit
    }

    /// Calls counted in the day that `now` is in.
    #[must_use]
    pub fn used(&self, now: SystemTime) -> u64 {
        if day_of(now) > self.date { 0 } else { self.used }
    }

    /// Calls permitted in a day.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// The write that is due, if one is. `calls_wait`: then a count that has reached the one on the disk makes it due,
    /// too, and [`Due::first`]: it has to be done before the next call. So it is while a slow disk is still at the write
    /// before: then this one waits for that.
    pub fn due(&mut self, now: SystemTime, calls_wait: bool) -> Option<Due> {
        self.turn(now);
        let (date, used) = (self.date, self.used);
        let file = self.file.as_mut()?;
        let left = |state: State| {
            if state.zoom_calls_of_day == date { state.calls.saturating_sub(used) } else { 0 }
        };
        // So many can be permitted before this is asked again.
        let first = left(file.written) < file.at_once && calls_wait;
        let soon = left(file.saved) < file.ahead.div_ceil(2) && file.counted;
        if !first && !soon {
            return None;
        }
        let state = State { zoom_calls_of_day: date, calls: used.saturating_add(file.ahead) };
        Some(Due { save: file.save(state), first })
    }

    /// This write is on the disk.
    pub fn save_done(&mut self, save: &Save) {
        if let Some(file) = &mut self.file {
            file.written = save.state;
        }
    }

    /// The last write did not succeed: the file says less than was thought.
    pub fn save_failed(&mut self) {
        if let Some(file) = &mut self.file {
            file.saved.calls = 0;
        }
    }

    /// The write of the exact count, when no more calls will be made.
    pub fn final_save(&mut self, now: SystemTime) -> Option<Save> {
        self.turn(now);
        let state = State { zoom_calls_of_day: self.date, calls: self.used };
        Some(self.file.as_mut()?.save(state))
    }

    fn turn(&mut self, now: SystemTime) {
        let today = day_of(now);
        let now = Count { date: self.date, used: self.used, taken: self.taken };
        if today > self.date {
            self.before = Some(now);
            // A day that we were in already, by a clock that was ahead then, or behind since.
            let known = self.after.take_if(|after| after.date <= today).filter(|after| after.date == today);
            self.count_on(known.unwrap_or(Count { date: today, used: 0, taken: 0 }));
            if let Some(file) = &mut self.file {
                file.counted = false;
            }
        } else if let Some(before) = self.before.take_if(|before| before.date == today) {
            // The clock was ahead, or is behind now. What was counted counts in both days.
            self.after = Some(now);
            let (used, taken) = (before.used + now.used, before.taken + now.taken);
            self.count_on(Count { date: today, used, taken });
        } else if today + 1 < self.date {
            // The same, and we had not been in this day. By a day only, it is left to midnight.
            self.after = Some(now);
            self.before = None;
            self.date = today;
        }
    }

    fn count_on(&mut self, Count { date, used, taken }: Count) {
        (self.date, self.used, self.taken) = (date, used, taken);
    }
}

impl StateFile {
    fn save(&mut self, state: State) -> Save {
        self.saved = state;
        Save { path: self.path.clone(), state }
    }
}

impl Save {
    /// Replaces the file's content, on the disk.
    ///
    /// # Errors
    /// If the folder or the disk refuses.
    pub fn write(&self) -> io::Result<()> {
        let mut content = serde_json::to_vec(&self.state)?;
        content.push(b'\n');
        let mut file = AtomicFile::create(&self.path)?;
        file.write(&content)?;
        file.commit()
    }
}

/// Time until the next 00:00 UTC.
#[must_use]
pub fn until_midnight(now: SystemTime) -> Duration {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs((since.as_secs() / SECONDS_IN_A_DAY + 1) * SECONDS_IN_A_DAY).saturating_sub(since)
}

fn day_of(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / SECONDS_IN_A_DAY
}

/// What would keep the count from being written to this file, without a change to anything.
///
/// # Errors
/// When the file, or the one beside it, cannot be written.
pub fn could_write(path: &Path) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    atomic_file::could_create(&path)
}

/// `None`: there is no file yet, or there was one that is not ours.
fn load(path: &Path, today: u64) -> io::Result<Option<State>> {
    let about = match fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Not ours at a larger size, and never read into memory. Something else than a regular file is an error.
    let text = if about.is_file() && about.len() > LARGEST_FILE {
        Vec::new()
    } else {
        regular_file::read(path, LARGEST_FILE)?
    };
    if let Some(state) = believable(&text, today) {
        return Ok(Some(state));
    }
    let aside = atomic_file::sibling_path(path, "unreadable");
    fs::rename(path, &aside)?;
    tracing::error!(
        file = %path.display(),
        set_aside = %aside.display(),
        "limits.state_file is torn or not ours: set aside, the day's calls are counted anew"
    );
    Ok(None)
}

/// A state that a process of ours can have written: at most a day ahead of a clock that was set back, and no more calls
/// than can be configured for a day.
fn believable(text: &[u8], today: u64) -> Option<State> {
    // A derived struct reads lists, too.
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(text).ok()?;
    let state: State = serde_json::from_value(object.into()).ok()?;
    (state.zoom_calls_of_day <= today + 1 && state.calls <= 2 * u64::from(u32::MAX)).then_some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: u64, seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(day * SECONDS_IN_A_DAY + seconds)
    }

    const AHEAD_OF_40: u64 = SECONDS_AHEAD * 40;

    fn count(day: &mut Day, calls: u64, now: SystemTime) {
        for _ in 0..calls {
            if let Some(Due { save, .. }) = day.due(now, true) {
                save.write().unwrap();
                day.save_done(&save);
            }
            day.count_one(now);
        }
    }

    #[test]
    fn the_day_turns_at_midnight_utc_and_not_before() {
        let mut day = Day::open(2, 40, None, at(5, 0)).unwrap();
        count(&mut day, 2, at(5, 10));
        assert!(day.is_spent(at(5, 86_399)));
        assert_eq!(day.used(at(6, 0)), 0);
        assert!(!day.is_spent(at(6, 0)));
        assert_eq!(until_midnight(at(5, 86_399)), Duration::from_secs(1));
        assert_eq!(until_midnight(at(6, 0)), Duration::from_secs(SECONDS_IN_A_DAY));
    }

    #[test]
    fn a_clock_set_back_does_not_give_the_day_again() {
        let mut day = Day::open(2, 40, None, at(6, 0)).unwrap();
        count(&mut day, 2, at(6, 1));
        assert!(day.is_spent(at(5, 86_000)));
    }

    #[test]
    fn a_clock_that_was_days_ahead_for_a_while_neither_forgets_the_day_nor_holds_it() {
        for ahead in [1, 10] {
            let mut day = Day::open(10, 40, None, at(6, 0)).unwrap();
            count(&mut day, 4, at(6, 1));
            count(&mut day, 2, at(6 + ahead, 2));
            assert_eq!(day.used(at(6 + ahead, 2)), 2);
            count(&mut day, 1, at(6, 3));
            assert_eq!(day.used(at(6, 3)), 7, "{ahead}: all were made in the day that it is");
            assert!(!day.is_spent(at(7, 0)));
            // It cannot be known which of the two clocks was right.
            assert_eq!(day.used(at(7, 0)), if ahead == 1 { 2 } else { 0 }, "{ahead}");
        }
        // A right clock that was wrong for a while.
        let mut day = Day::open(100, 40, None, at(5, 0)).unwrap();
        count(&mut day, 45, at(5, 1));
        count(&mut day, 28, at(6, 1));
        count(&mut day, 1, at(5, 2));
        assert_eq!(day.used(at(5, 2)), 74);
        count(&mut day, 1, at(6, 3));
        assert_eq!(day.used(at(6, 3)), 29, "what the day had is not forgotten");
        assert_eq!(day.used(at(7, 0)), 0);
        // Started while the clock was ahead.
        let mut day = Day::open(2, 40, None, at(16, 0)).unwrap();
        count(&mut day, 2, at(16, 1));
        assert!(day.is_spent(at(6, 0)), "they were made today");
        assert!(!day.is_spent(at(7, 0)));
    }

    #[test]
    fn a_call_that_was_not_made_is_taken_back_from_its_own_day_only() {
        let mut day = Day::open(10, 40, None, at(5, 0)).unwrap();
        let yesterday = day.count_one(at(5, 86_399));
        let today = day.count_one(at(6, 0));
        day.uncount_one(yesterday, at(6, 1));
        assert_eq!(day.used(at(6, 1)), 1);
        day.uncount_one(today, at(6, 1));
        assert_eq!(day.used(at(6, 1)), 0);
    }

    #[test]
    fn what_others_take_of_the_permitted_calls_is_counted_and_never_given_again() {
        let noon = at(5, 43_200);
        // Of the account's 100 a tenth is left to others.
        let mut day = Day::open(90, 40, None, noon).unwrap();
        count(&mut day, 20, noon);
        let mut hear = |left, used| {
            day.account_has_left(left, noon, noon);
            assert_eq!(day.used(noon), used, "{left} left");
            day.taken_by_others(noon)
        };
        assert_eq!(hear(80, 20), 0, "nobody else has called");
        assert_eq!(hear(70, 20), 0, "they keep to the headroom");
        assert_eq!(hear(50, 40), 20, "they took twenty more than that");
        assert_eq!(hear(60, 40), 20, "an answer that was overtaken");
        assert_eq!(hear(1_000_000, 40), 20, "another plan than is configured");
        assert_eq!(hear(0, 90), 70);
        assert!(day.is_spent(noon));
        assert_eq!((day.used(at(6, 0)), day.taken_by_others(at(6, 0))), (0, 0));
    }

    #[test]
    fn what_zoom_says_of_the_day_before_is_not_heard() {
        let mut day = Day::open(90, 40, None, at(5, 0)).unwrap();
        day.account_has_left(3, at(5, 86_399), at(6, 1));
        assert_eq!(day.used(at(6, 1)), 0, "the call was made before midnight");
        day.account_has_left(3, at(6, 2), at(6, 2));
        assert_eq!(day.used(at(6, 2)), 0, "Zoom's clock may be behind ours");
        day.account_has_left(3, at(6, 300), at(6, 301));
        assert_eq!(day.used(at(6, 301)), 87);
    }

    #[test]
    fn a_killed_process_has_counted_a_little_too_much_and_never_too_little() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("day.json");
        for calls in [0, 1, 99, 100, 101, 199, 200, 201, 1_000] {
            fs::remove_file(&path).ok();
            let mut day = Day::open(60_000, 40, Some(&path), at(7, 0)).unwrap();
            count(&mut day, calls, at(7, 1));
            drop(day);
            let used = Day::open(60_000, 40, Some(&path), at(7, 2)).unwrap().used(at(7, 2));
            assert!((calls..=calls + AHEAD_OF_40).contains(&used), "{calls} calls made, {used} counted");
        }
    }

    #[test]
    fn a_write_is_asked_for_long_before_a_call_would_have_to_wait_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut day = Day::open(600_000, 900, Some(&folder.path().join("day.json")), at(7, 0)).unwrap();
        let first = day.due(at(7, 0), true).unwrap();
        assert!(first.first, "the first of the process");
        day.save_done(&first.save);
        for _ in 0..2_000 {
            assert!(day.due(at(7, 1), true).is_none());
            day.count_one(at(7, 1));
        }
        for _ in 0..251 {
            day.count_one(at(7, 1));
        }
        assert!(!day.due(at(7, 1), true).unwrap().first, "half of 5 s of calls are left");
        day.save_failed();
        assert!(!day.due(at(7, 1), true).unwrap().first, "a failed write is due again");
        assert!(day.due(at(8, 0), true).unwrap().first, "the first of the day");
    }

    #[test]
    fn a_call_waits_for_a_disk_that_is_slower_than_the_count() {
        let folder = tempfile::tempdir().unwrap();
        let mut day = Day::open(60_000, 40, Some(&folder.path().join("day.json")), at(7, 0)).unwrap();
        let Due { save, .. } = day.due(at(7, 0), true).unwrap();
        day.save_done(&save);
        let mut under_way = None;
        for _ in 0..=AHEAD_OF_40 - AT_ONCE_AT_MOST {
            if let Some(Due { save, first }) = day.due(at(7, 1), true) {
                assert!(!first && under_way.is_none(), "asked for once, and early");
                under_way = Some(save);
            }
            day.count_one(at(7, 1));
        }
        assert!(day.due(at(7, 2), true).unwrap().first, "three together would be more than the disk says");
        day.save_done(&under_way.unwrap());
        assert!(day.due(at(7, 2), true).is_none());
    }

    #[test]
    fn restarts_alone_do_not_add_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("day.json");
        for _ in 0..10 {
            let mut day = Day::open(60_000, 40, Some(&path), at(7, 0)).unwrap();
            assert!(day.due(at(7, 0), false).is_none());
            assert_eq!(day.used(at(7, 0)), 0);
        }
    }

    #[test]
    fn an_orderly_stop_keeps_the_exact_count_and_a_new_day_forgets_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("day.json");
        let mut day = Day::open(60_000, 40, Some(&path), at(7, 0)).unwrap();
        count(&mut day, 321, at(7, 1));
        day.final_save(at(7, 2)).unwrap().write().unwrap();
        assert_eq!(Day::open(60_000, 40, Some(&path), at(7, 3)).unwrap().used(at(7, 3)), 321);
        assert_eq!(Day::open(60_000, 40, Some(&path), at(8, 0)).unwrap().used(at(8, 0)), 0);
    }

    #[test]
    fn a_torn_or_foreign_file_is_set_aside_and_not_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("day.json");
        for foreign in [
            "",
            "{\"zoom_calls_of_d",
            "hello",
            "{\"other\":1}",
            "[7,2]",
            "{\"zoom_calls_of_day\":9,\"calls\":2}",
        ] {
            fs::write(&path, foreign).unwrap();
            let day = Day::open(60_000, 40, Some(&path), at(7, 0)).unwrap();
            assert_eq!(day.used(at(7, 0)), 0);
            assert_eq!(fs::read_to_string(folder.path().join("day.json.unreadable")).unwrap(), foreign);
        }
    }

    #[test]
    fn crashes_cannot_spend_a_small_day() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("day.json");
        for crashes in 1..=20 {
            let mut day = Day::open(900, 1, Some(&path), at(7, 0)).unwrap();
            count(&mut day, 1, at(7, 0));
            assert!(day.used(at(7, 0)) <= crashes * 11, "{} after {crashes} crashes", day.used(at(7, 0)));
        }
    }

    #[test]
    fn what_is_no_regular_file_is_an_error_and_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [socket.as_path(), folder.path()] {
            let error = Day::open(1, 1, Some(path), at(7, 0)).err().unwrap().to_string();
            assert!(error.contains("not a regular file"), "{error}");
            assert!(path.exists());
        }
    }

    #[test]
    fn a_link_is_followed_and_a_large_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("day.json"), folder.path().join("link"));
        fs::write(&file, vec![b' '; 1 << 20]).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let mut day = Day::open(60_000, 40, Some(&link), at(7, 0)).unwrap();
        count(&mut day, 1, at(7, 0));
        day.final_save(at(7, 1)).unwrap().write().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(Day::open(60_000, 40, Some(&file), at(7, 2)).unwrap().used(at(7, 2)), 1);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_at_start() {
        let folder = tempfile::tempdir().unwrap();
        let error = Day::open(1, 40, Some(&folder.path().join("missing/day.json")), at(7, 0)).err().unwrap();
        assert!(error.to_string().contains("limits.state_file"), "{error}");
    }
}
