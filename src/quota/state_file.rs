//! The file that keeps the day's count across restarts.
//!
//! The file is written ahead of the count: it contains a number that the count has not reached yet. After a crash, the
//! count is therefore a little too high, but not too low, unless a write failed.
//!
//! Example: at 40 calls a second, the file is 200 calls (5 s) ahead. It contains 200 before the first call. When the
//! count reaches 101, a write of 301 begins, and calls continue during the write. A process that is killed at a count
//! of 150 starts again at 200 or 301.
//!
//! The scheduler writes the file on another thread. A call waits for a write if it is the first of a process or a day, or if
//! the disk is slower than the calls.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::fair_day::{CallerSpending, FairDay};
use crate::{
    atomic_file::{self, AtomicFile},
    regular_file,
};

/// A write is ahead by the calls of this many seconds, so that calls need not wait for a slow disk.
const SECONDS_AHEAD: u64 = 5;
/// A write is ahead by at least this many calls, unless [`MAX_FRACTION_OF_DAY`] allows fewer.
const MIN_AHEAD: u64 = 10;
/// A write is ahead by at most the day's calls divided by this number, but at least by [`MAX_BURST`]. A crash loses the
/// calls between the count and the number in the file.
const MAX_FRACTION_OF_DAY: u64 = 50;
/// The maximum number of calls that are permitted together after a late timer, without a check of the file between
/// them. One more is added for each 500 calls a second of the limit (see `rate.rs`).
const MAX_BURST: u64 = 3;
/// The maximum number of callers in the file. If there are more, those with the most calls are saved.
const MAX_CALLERS: usize = 1_000;
/// The longest name of a caller, in bytes.
const MAX_NAME: usize = 64;
/// The maximum size of the file, in bytes: 128 for each of [`MAX_CALLERS`], and the rest for the day's count.
const MAX_FILE_BYTES: u64 = 128 * 1_024;
const DAY_MS: u64 = 86_400_000;

pub(super) struct StateFile {
    path: PathBuf,
    /// The number of calls by which a write is ahead of the count.
    ahead: u64,
    /// The maximum number of calls between two checks of the file.
    burst: u64,
    /// The count of the last write that was handed out.
    handed_out: SavedCount,
    /// The count on the disk. No call is made beyond it, unless writes fail.
    on_disk: SavedCount,
    /// Whether this process has counted a call today. Until a call is made or waits, nothing is written ahead, so that
    /// restarts alone do not raise the count.
    pub(super) has_calls: bool,
    /// The spending of each caller that the file contained at the start.
    callers: BTreeMap<Box<str>, SavedCaller>,
}

/// The content of the file: the count of a day, and each caller's count. Without callers, the format is that of older
/// versions, which did not count callers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedDay {
    /// Days since 1970-01-01 UTC.
    zoom_calls_of_day: u64,
    /// An upper bound of the calls that were made.
    calls: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    callers: BTreeMap<Box<str>, SavedCaller>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedCaller {
    calls: u64,
    /// The time of day until which the caller's reserve is drawn, in milliseconds.
    drawn_until_ms: u64,
}

/// The count of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SavedCount {
    /// Days since 1970-01-01 UTC.
    pub(super) zoom_calls_of_day: u64,
    /// An upper bound of the calls that were made.
    pub(super) calls: u64,
}

#[derive(Debug)]
pub(crate) struct PendingSave {
    pub(crate) job: SaveJob,
    /// Whether calls must wait until the write is done.
    pub(crate) blocks_calls: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct SaveJob {
    path: PathBuf,
    state: SavedCount,
    callers: BTreeMap<Box<str>, SavedCaller>,
}

impl StateFile {
    /// Opens the file, and returns the count to start from. A file that is corrupt or belongs to another program is
    /// moved aside.
    pub(super) fn open(
        path: &Path,
        limit: u64,
        per_second: u32,
        today: u64,
    ) -> io::Result<(Self, SavedCount)> {
        let failed = |error: io::Error| {
            let message = format!("limits.state_file {}: cannot be written: {error}", path.display());
            io::Error::new(error.kind(), message)
        };
        // A write renames a file to this path, which would replace a symbolic link instead of its target.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        // A count of a later day than today is kept, because this machine's clock may have been set back.
        let state = load(&path, today).map_err(failed)?.filter(|state| state.zoom_calls_of_day >= today);
        let (state, callers) = state.map_or_else(
            || (SavedCount { zoom_calls_of_day: today, calls: 0 }, BTreeMap::new()),
            |SavedDay { zoom_calls_of_day, calls, callers }| {
                (SavedCount { zoom_calls_of_day, calls }, callers)
            },
        );
        let ahead = MIN_AHEAD
            .max(SECONDS_AHEAD * u64::from(per_second))
            .min(limit / MAX_FRACTION_OF_DAY)
            .max(MAX_BURST);
        let job = SaveJob { path: path.clone(), state, callers: callers.clone() };
        job.write().map_err(failed)?;
        let burst = MAX_BURST + u64::from(per_second / 500);
        let file = Self { path, ahead, burst, handed_out: state, on_disk: state, has_calls: false, callers };
        Ok((file, state))
    }

    pub(super) fn take_callers(&mut self) -> Vec<(Box<str>, CallerSpending)> {
        let spending = |saved: SavedCaller| {
            let drawn_until = Duration::from_millis(saved.drawn_until_ms);
            CallerSpending { calls: saved.calls, drawn_until }
        };
        std::mem::take(&mut self.callers).into_iter().map(|(name, saved)| (name, spending(saved))).collect()
    }

    /// Returns the write that is due, if any. If calls wait and the count on the disk has no room for them, the write
    /// blocks the calls. It is then due even while the previous write is in progress.
    pub(super) fn next_save(&mut self, count: SavedCount, calls_wait: bool) -> Option<PendingSave> {
        let left = |state: SavedCount| {
            let is_same_day = state.zoom_calls_of_day == count.zoom_calls_of_day;
            if is_same_day { state.calls.saturating_sub(count.calls) } else { 0 }
        };
        let blocks_calls = left(self.on_disk) < self.burst && calls_wait;
        let is_due = left(self.handed_out) < self.ahead.div_ceil(2) && self.has_calls;
        if !blocks_calls && !is_due {
            return None;
        }
        let ahead = SavedCount { calls: count.calls.saturating_add(self.ahead), ..count };
        Some(PendingSave { job: self.hand_out(ahead), blocks_calls })
    }

    /// Returns the write of exactly this count.
    pub(super) fn hand_out(&mut self, count: SavedCount) -> SaveJob {
        self.handed_out = count;
        SaveJob { path: self.path.clone(), state: self.handed_out, callers: BTreeMap::new() }
    }

    pub(super) fn on_save(&mut self, job: &SaveJob, succeeded: bool) {
        if succeeded {
            self.on_disk = job.state;
        } else {
            // The count on the disk is lower than that of the failed write, so another write is due without further calls.
            self.handed_out.calls = 0;
        }
    }
}

impl SaveJob {
    /// Adds each caller's count. Unlike the day's count, these counts are not written ahead of the calls, so a crash
    /// loses the calls since the last write.
    pub(super) fn with_callers(self, day: &FairDay) -> Self {
        let mut spent: Vec<_> =
            day.spending().filter(|(_, spent)| *spent != CallerSpending::default()).collect();
        spent.sort_by_key(|(_, spent)| std::cmp::Reverse(spent.calls));
        spent.truncate(MAX_CALLERS);
        let saved = |spent: CallerSpending| {
            let drawn_until_ms = u64::try_from(spent.drawn_until.as_millis()).unwrap_or(DAY_MS);
            SavedCaller { calls: spent.calls, drawn_until_ms }
        };
        Self { callers: spent.into_iter().map(|(name, spent)| (name.into(), saved(spent))).collect(), ..self }
    }

    /// Replaces the file. Returns when the new file is on the disk.
    pub(crate) fn write(&self) -> io::Result<()> {
        let SavedCount { zoom_calls_of_day, calls } = self.state;
        let mut content =
            serde_json::to_vec(&SavedDay { zoom_calls_of_day, calls, callers: self.callers.clone() })?;
        content.push(b'\n');
        let mut file = AtomicFile::create(&self.path)?;
        file.write(&content)?;
        file.commit()
    }
}

pub(crate) fn check_writable(path: &Path) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    atomic_file::could_create(&path)
}

/// Reads the file. Returns `None` if there is none yet, or if it was moved aside.
fn load(path: &Path, today: u64) -> io::Result<Option<SavedDay>> {
    let text = match regular_file::read(path, MAX_FILE_BYTES) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // This service never writes such a large file, so the file is moved aside.
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Vec::new(),
        Err(error) => return Err(error),
    };
    if let Some(state) = parse(&text, today) {
        return Ok(Some(state));
    }
    let moved_to = atomic_file::sibling_path(path, "unreadable");
    fs::rename(path, &moved_to)?;
    tracing::error!(
        file = %path.display(),
        set_aside = %moved_to.display(),
        "limits.state_file is corrupt or not ours: moved aside, counting today's calls from zero"
    );
    Ok(None)
}

/// Parses the content of the file. Returns `None` if this service cannot have written it, for example because a count is
/// higher than can be configured. The date may be a day ahead of the clock, because the clock may have been set back.
fn parse(text: &[u8], today: u64) -> Option<SavedDay> {
    // The derived `Deserialize` of a struct would also accept a list.
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(text).ok()?;
    let state: SavedDay = serde_json::from_value(object.into()).ok()?;
    let is_count = |calls| calls <= 2 * u64::from(u32::MAX);
    let is_caller = |name: &str, saved: &SavedCaller| {
        name.len() <= MAX_NAME && is_count(saved.calls) && saved.drawn_until_ms <= DAY_MS
    };
    let are_callers = state.callers.len() <= MAX_CALLERS
        && state.callers.iter().all(|(name, saved)| is_caller(name, saved));
    (state.zoom_calls_of_day <= today + 1 && is_count(state.calls) && are_callers).then_some(state)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::{super::daily::DailyQuota, *};

    const AHEAD_OF_40: u64 = SECONDS_AHEAD * 40;

    fn at(day: u64, seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(day * 86_400 + seconds)
    }

    fn count(day: &mut DailyQuota, calls: u64, now: SystemTime) {
        for _ in 0..calls {
            if let Some(PendingSave { job, .. }) = day.next_save(now, true) {
                job.write().unwrap();
                day.on_save(&job, true);
            }
            day.count_call(now);
        }
    }

    #[test]
    fn a_killed_process_overcounts_slightly_and_never_undercounts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("day.json");
        for calls in [0, 1, 99, 100, 101, 199, 200, 201, 1_000] {
            fs::remove_file(&path).ok();
            let mut day = DailyQuota::open(60_000, 40, Some(&path), at(7, 0)).unwrap();
            count(&mut day, calls, at(7, 1));
            drop(day);
            let used = DailyQuota::open(60_000, 40, Some(&path), at(7, 2)).unwrap().used(at(7, 2));
            assert!((calls..=calls + AHEAD_OF_40).contains(&used), "{calls} calls made, {used} counted");
        }
    }

    #[test]
    fn a_write_is_requested_well_before_a_call_would_wait() {
        let folder = tempfile::tempdir().unwrap();
        let mut day =
            DailyQuota::open(600_000, 900, Some(&folder.path().join("day.json")), at(7, 0)).unwrap();
        let first = day.next_save(at(7, 0), true).unwrap();
        assert!(first.blocks_calls, "the first call of the process");
        day.on_save(&first.job, true);
        for _ in 0..2_000 {
            assert!(day.next_save(at(7, 1), true).is_none());
            day.count_call(at(7, 1));
        }
        for _ in 0..251 {
            day.count_call(at(7, 1));
        }
        let second = day.next_save(at(7, 1), true).unwrap();
        assert!(!second.blocks_calls, "half of 5 s of calls are left");
        day.on_save(&second.job, false);
        assert!(!day.next_save(at(7, 1), true).unwrap().blocks_calls, "a failed write is due again");
        assert!(day.next_save(at(8, 0), true).unwrap().blocks_calls, "the first call of the day");
    }

    #[test]
    fn a_call_waits_for_a_disk_that_is_slower_than_the_count() {
        let folder = tempfile::tempdir().unwrap();
        let mut day = DailyQuota::open(60_000, 40, Some(&folder.path().join("day.json")), at(7, 0)).unwrap();
        let PendingSave { job, .. } = day.next_save(at(7, 0), true).unwrap();
        day.on_save(&job, true);
        let mut under_way = None;
        for _ in 0..=AHEAD_OF_40 - MAX_BURST {
            if let Some(PendingSave { job, blocks_calls }) = day.next_save(at(7, 1), true) {
                assert!(!blocks_calls && under_way.is_none(), "the write is requested once, and early");
                under_way = Some(job);
            }
            day.count_call(at(7, 1));
        }
        assert!(
            day.next_save(at(7, 2), true).unwrap().blocks_calls,
            "a burst of three calls would exceed the count on the disk"
        );
        day.on_save(&under_way.unwrap(), true);
        assert!(day.next_save(at(7, 2), true).is_none());
    }

    #[test]
    fn restarts_alone_do_not_add_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("day.json");
        for _ in 0..10 {
            let mut day = DailyQuota::open(60_000, 40, Some(&path), at(7, 0)).unwrap();
            assert!(day.next_save(at(7, 0), false).is_none());
            assert_eq!(day.used(at(7, 0)), 0);
        }
    }

    #[test]
    fn an_orderly_stop_saves_the_count_and_a_new_day_resets_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("day.json");
        let mut day = DailyQuota::open(60_000, 40, Some(&path), at(7, 0)).unwrap();
        count(&mut day, 321, at(7, 1));
        day.final_save(at(7, 2)).unwrap().write().unwrap();
        assert_eq!(DailyQuota::open(60_000, 40, Some(&path), at(7, 3)).unwrap().used(at(7, 3)), 321);
        assert_eq!(DailyQuota::open(60_000, 40, Some(&path), at(8, 0)).unwrap().used(at(8, 0)), 0);
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
            "{\"zoom_calls_of_day\":7,\"calls\":2,\"callers\":{\"a\":{\"calls\":-1,\"drawn_until_ms\":0}}}",
            "{\"zoom_calls_of_day\":7,\"calls\":2,\"callers\":{\"a\":{\"calls\":1,\"drawn_until_ms\":86400001}}}",
            "{\"zoom_calls_of_day\":9,\"calls\":2}",
        ] {
            fs::write(&path, foreign).unwrap();
            let day = DailyQuota::open(60_000, 40, Some(&path), at(7, 0)).unwrap();
            assert_eq!(day.used(at(7, 0)), 0);
            assert_eq!(fs::read_to_string(folder.path().join("day.json.unreadable")).unwrap(), foreign);
        }
    }

    #[test]
    fn crashes_cannot_spend_a_small_day() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("day.json");
        for crashes in 1..=20 {
            let mut day = DailyQuota::open(900, 1, Some(&path), at(7, 0)).unwrap();
            count(&mut day, 1, at(7, 0));
            assert!(day.used(at(7, 0)) <= crashes * 11, "{} after {crashes} crashes", day.used(at(7, 0)));
        }
    }

    #[test]
    fn a_state_file_that_is_no_regular_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [socket.as_path(), folder.path()] {
            let error = DailyQuota::open(1, 1, Some(path), at(7, 0)).err().unwrap().to_string();
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
        let mut day = DailyQuota::open(60_000, 40, Some(&link), at(7, 0)).unwrap();
        count(&mut day, 1, at(7, 0));
        day.final_save(at(7, 1)).unwrap().write().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(DailyQuota::open(60_000, 40, Some(&file), at(7, 2)).unwrap().used(at(7, 2)), 1);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_at_start() {
        let folder = tempfile::tempdir().unwrap();
        let error =
            DailyQuota::open(1, 40, Some(&folder.path().join("missing/day.json")), at(7, 0)).err().unwrap();
        assert!(error.to_string().contains("limits.state_file"), "{error}");
    }
}
