//! A day on a virtual clock that steps from second to second without waiting. Meetings are polled from 08:00 to 18:00
//! UTC. The daily quota, the rule of freshness and its stretching are the service's own code.
//!
//! A few lines imitate cache, queue and Zoom: a flight makes its calls one by one at the permitted rate, and each
//! takes 100 ms. The tests show that the day's calls last; `tests/api` shows that the service connects the parts like
//! this.
#![expect(
    clippy::expect_used,
    clippy::float_cmp,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and may print"
)]

use std::{
    ops::Range,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use jiff::Timestamp;
use zoom_qos_proxy::{
    meeting_id::MeetingId,
    quota::{
        adaptive_ttl::{AdaptiveTtl, Forecast, Remaining},
        daily::{DailyQuota, until_midnight},
    },
    snapshot::{Freshness, FreshnessConfig, MeetingKind, MeetingType, RefreshSample, SnapshotKey},
};

const HOUR: u32 = 3_600;
const MINUTE: u32 = 60;
const SECOND: Duration = Duration::from_secs(1);
/// The 60,000 calls a day of the business plan, less a headroom of 10 %.
const A_DAY: u64 = 54_000;
/// The interval at which `src/quota/rate.rs` permits calls with the business plan's limit of 40 a second, less a
/// headroom of 10 %.
const A_CALL_EVERY: Duration = Duration::from_micros(28_857);
const A_CALL_TAKES: Duration = Duration::from_millis(100);
const POLLED_EVERY: u32 = 30;
const TEAMS: u32 = 5;
const WAIT: Duration = Duration::from_secs(15);
const WHILE_REVALIDATE: Duration = Duration::from_secs(30);
const IF_ERROR: Duration = Duration::from_secs(3_600);

/// A meeting that every team polls while it runs.
#[derive(Clone)]
struct Meeting {
    pages: u32,
    goes_on: Range<u32>,
}

/// Creates meetings from pairs of a count and a number of pages.
fn meetings(sizes: &[(usize, u32)], goes_on: &Range<u32>) -> Vec<Meeting> {
    let of_size = |(count, pages): &(usize, u32)| {
        std::iter::repeat_n(Meeting { pages: *pages, goes_on: goes_on.clone() }, *count)
    };
    sizes.iter().flat_map(of_size).collect()
}

const OFFICE_HOURS: Range<u32> = 8 * HOUR..18 * HOUR;

/// Three hundred meetings: most have at most ten participants, the largest a hundred. Fetching each once takes 398 calls.
const USUAL: [(usize, u32); 5] = [(240, 1), (40, 2), (14, 3), (4, 4), (2, 10)];
/// Three hundred meetings with up to six hundred participants. Fetching each once takes 620 calls.
const LARGE: [(usize, u32); 6] = [(200, 1), (60, 2), (25, 4), (10, 8), (4, 15), (1, 60)];

struct Kept {
    landed: Instant,
    freshness: Freshness,
    wanted: Option<Instant>,
}

struct Flight {
    took_off: Instant,
    lands: Instant,
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    flight: Option<Flight>,
}

/// The outcome of a day.
struct Seen {
    calls: u64,
    /// The second of the day at which the last permitted call was made; `None` if calls were left.
    spent_at: Option<u32>,
    answers: u32,
    /// The number of answers with status 503.
    refused: u32,
    first_refused_at: Option<u32>,
    /// For each meeting, the seconds of the day at which its last snapshot was fetched and became stale.
    last: Vec<(u32, u32)>,
    /// The largest stretch factor of any snapshot, for each minute.
    most: Vec<f64>,
    /// A forecast for every full minute of the office hours, with its second of the day.
    forecasts: Vec<(u32, Forecast)>,
}

impl Seen {
    /// The first forecast at or after this time.
    fn forecast(&self, at: u32) -> Forecast {
        self.forecasts.iter().find(|(time, _)| *time >= at).expect("a time within the day").1
    }

    fn most_stretched(&self, times: Range<u32>) -> f64 {
        let minutes = (times.start / MINUTE) as usize..(times.end / MINUTE) as usize;
        self.most[minutes].iter().copied().fold(1.0, f64::max)
    }
}

struct Simulated {
    midnight: (Instant, SystemTime),
    day: DailyQuota,
    stretch: AdaptiveTtl,
    most: u32,
    next_permit: Instant,
    states: Vec<State>,
    seen: Seen,
}

fn freshness() -> FreshnessConfig {
    FreshnessConfig {
        live_fresh: 30 * SECOND,
        empty_live_fresh: 10 * SECOND,
        past_fresh: 86_400 * SECOND,
        past_by_number_fresh: 300 * SECOND,
        settle: 1_800 * SECOND,
    }
}

impl Simulated {
    /// Simulates the day of these meetings. `most` is the maximum stretch factor; `others` is the second at which a backfill
    /// starts, and its number of calls.
    fn run(most: u32, meetings: &[Meeting], others: (u32, u32)) -> Seen {
        let midnight = (Instant::now(), UNIX_EPOCH + 86_400 * 20_000 * SECOND);
        let day = DailyQuota::open(A_DAY, 36, None, midnight.1).unwrap();
        let seen = Seen {
            calls: 0,
            spent_at: None,
            answers: 0,
            refused: 0,
            first_refused_at: None,
            last: vec![(0, 0); meetings.len()],
            most: vec![1.0; 24 * 60],
            forecasts: Vec::new(),
        };
        let states = meetings.iter().map(|_| State::default()).collect();
        let stretch = AdaptiveTtl::new(most, freshness().live_fresh);
        let mut this = Self { midnight, day, stretch, most, next_permit: midnight.0, states, seen };
        let mut dice = fastrand::Rng::with_seed(7);
        let mut polls = vec![Vec::new(); POLLED_EVERY as usize];
        for meeting in 0..meetings.len() {
            for _ in 0..TEAMS {
                polls[dice.usize(..POLLED_EVERY as usize)].push(meeting);
            }
        }
        let mut others_left = others.1;
        for at in OFFICE_HOURS {
            this.land(meetings, at);
            for meeting in &polls[(at % POLLED_EVERY) as usize] {
                if meetings[*meeting].goes_on.contains(&at) {
                    this.poll(meetings, *meeting, at);
                }
            }
            for _ in 0..if at >= others.0 { others_left.min(20) } else { 0 } {
                others_left -= 1;
                this.call(at);
            }
            if at.is_multiple_of(MINUTE) {
                let forecast = this.stretch.forecast(this.left(at), this.instant(at));
                this.seen.forecasts.push((at, forecast));
            }
        }
        this.seen.calls = this.day.used(this.wall(OFFICE_HOURS.end));
        this.seen
    }

    fn instant(&self, at: u32) -> Instant {
        self.midnight.0 + at * SECOND
    }

    fn wall(&self, at: u32) -> SystemTime {
        self.midnight.1 + at * SECOND
    }

    fn left(&self, at: u32) -> Remaining {
        let calls = self.day.limit().saturating_sub(self.day.used(self.wall(at)));
        Remaining { calls, part: 1.0, time: until_midnight(self.wall(at)) }
    }

    /// Makes one call, and returns the time of its permit; `None` if the day's calls are used up.
    fn call(&mut self, at: u32) -> Option<Instant> {
        let (wall, now) = (self.wall(at), self.instant(at));
        if self.day.is_spent(wall) {
            return None;
        }
        self.day.count_call(wall);
        self.stretch.count_call(now);
        if self.day.is_spent(wall) {
            self.seen.spent_at = Some(at);
        }
        self.next_permit = self.next_permit.max(now) + A_CALL_EVERY;
        Some(self.next_permit)
    }

    fn poll(&mut self, meetings: &[Meeting], meeting: usize, at: u32) {
        let now = self.instant(at);
        self.seen.answers += 1;
        let kept = self.states[meeting].kept.as_mut();
        let stale_for =
            kept.as_ref().map(|kept| now.checked_duration_since(kept.landed + kept.freshness.fresh_for));
        match (kept, stale_for) {
            (Some(kept), Some(None)) => {
                let unstretched = kept.freshness.unstretched.unwrap();
                if now.duration_since(kept.landed) >= unstretched {
                    kept.wanted.get_or_insert(now);
                }
            }
            (_, Some(Some(stale_for))) if stale_for <= WHILE_REVALIDATE => {
                self.take_off(meetings, meeting, at);
            }
            (_, stale_for) => {
                let serves = stale_for.flatten().is_some_and(|stale_for| stale_for <= IF_ERROR);
                let lands = self.take_off(meetings, meeting, at);
                if !serves && lands.is_none_or(|lands| lands > now + WAIT) {
                    self.seen.refused += 1;
                    self.seen.first_refused_at.get_or_insert(at);
                }
            }
        }
    }

    /// Joins the meeting's flight or starts one, and returns when it completes; `None` if the day's calls run out first.
    fn take_off(&mut self, meetings: &[Meeting], meeting: usize, at: u32) -> Option<Instant> {
        if let Some(flight) = &self.states[meeting].flight {
            return Some(flight.lands);
        }
        let (mut landed, took_off) = (self.instant(at), self.instant(at));
        for _ in 0..meetings[meeting].pages {
            landed = landed.max(self.call(at)?) + A_CALL_TAKES;
        }
        self.states[meeting].flight = Some(Flight { took_off, lands: landed });
        Some(landed)
    }

    /// Completes the flights that are due.
    fn land(&mut self, meetings: &[Meeting], at: u32) {
        let now = self.instant(at);
        for (meeting, Meeting { pages, .. }) in meetings.iter().enumerate() {
            let state = &mut self.states[meeting];
            let Some(Flight { took_off, lands }) = state.flight.take_if(|flight| flight.lands <= now) else {
                continue;
            };
            let pages = *pages;
            if let Some(older) = state.kept.take() {
                let sample = RefreshSample {
                    pages,
                    lived: lands - older.landed,
                    postponed: took_off - older.wanted.unwrap_or(took_off),
                    unstretched: older.freshness.unstretched.unwrap(),
                };
                self.stretch.record_refresh(sample, now);
            }
            let factor = self.stretch.factor(pages, self.left(at), now);
            assert!((1.0..=f64::from(self.most)).contains(&factor), "{factor}");
            let key = SnapshotKey {
                meeting: MeetingId::parse("85746065432").unwrap(),
                kind: MeetingKind::Meeting,
                meeting_type: MeetingType::Live,
            };
            let fetched_at = Timestamp::try_from(self.wall(at)).unwrap();
            let freshness = freshness().freshness(key, 10, None, fetched_at, factor, 0);
            self.states[meeting].kept = Some(Kept { landed: lands, freshness, wanted: None });
            let fresh_until = lands + freshness.fresh_for;
            let second = |time: Instant| u32::try_from((time - self.midnight.0).as_secs()).unwrap();
            self.seen.last[meeting] = (second(lands), second(fresh_until));
            let most = &mut self.seen.most[(at / MINUTE) as usize];
            *most = most.max(factor);
        }
    }
}

fn clock(at: u32) -> String {
    format!("{:02}:{:02}:{:02}", at / HOUR, at / MINUTE % 60, at % MINUTE)
}

fn print_summary(name: &str, seen: &Seen) {
    println!(
        "{name}: {} calls for {} answers, {} of them 503 (first at {:?}), spent at {:?}",
        seen.calls,
        seen.answers,
        seen.refused,
        seen.first_refused_at.map(clock),
        seen.spent_at.map(clock)
    );
    for at in (8..18).map(|hour| hour * HOUR + 30 * MINUTE) {
        let Forecast { calls_per_second, calls_to_come, spent_in, stretch } = seen.forecast(at);
        println!(
            "  {} stretch {stretch:.2} pace {calls_per_second:.2}/s, {calls_to_come:.0} to come, spent in {spent_in:?}",
            clock(at)
        );
    }
}

/// Asserts that every meeting is refreshed until the end: its last snapshot was fresh until the last minute, except for the time
/// to the next poll and 15 s for a flight.
fn assert_all_refreshed_at_the_end(seen: &Seen) {
    let (last_minute, allowed) = (18 * HOUR - MINUTE, POLLED_EVERY + 15);
    for (landed, fresh_until) in &seen.last {
        assert!(fresh_until + allowed >= last_minute, "refreshed until {}, and then no more", clock(*landed));
    }
}

#[test]
fn the_days_calls_last_until_evening_only_if_freshness_is_stretched() {
    let meetings = meetings(&USUAL, &OFFICE_HOURS);
    let stretched = Simulated::run(10, &meetings, (0, 0));
    print_summary("stretched up to 10 times", &stretched);
    assert_eq!(stretched.answers, 1_800_000);
    assert_eq!((stretched.refused, stretched.spent_at), (0, None));
    assert_all_refreshed_at_the_end(&stretched);

    let unstretched = Simulated::run(1, &meetings, (0, 0));
    print_summary("never stretched", &unstretched);
    let [spent_at, refused_at] = [unstretched.spent_at, unstretched.first_refused_at].map(Option::unwrap);
    assert!((9 * HOUR + 20 * MINUTE..9 * HOUR + 25 * MINUTE).contains(&spent_at), "{}", clock(spent_at));
    assert!(refused_at - spent_at <= HOUR + 2 * MINUTE, "stale for an hour, then refused");
}

#[test]
fn large_meetings_use_an_even_share_of_the_day_without_oscillation() {
    let meetings = meetings(&LARGE, &OFFICE_HOURS);
    let stretched = Simulated::run(60, &meetings, (0, 0));
    print_summary("large, stretched up to 60 times", &stretched);
    assert_eq!((stretched.refused, stretched.spent_at), (0, None));
    assert_all_refreshed_at_the_end(&stretched);
    let even_share = A_DAY * 10 / 16;
    assert!(
        (even_share * 95 / 100..even_share * 105 / 100).contains(&stretched.calls),
        "{}",
        stretched.calls
    );
    let settled: Vec<f64> =
        (9 * 60 + 30..18 * 60).map(|at| stretched.forecast(at * MINUTE).stretch).collect();
    let [least, most] = [f64::min, f64::max].map(|of| settled.iter().copied().reduce(of).unwrap());
    assert!(most / least < 1.2, "from {least} to {most}");

    let unstretched = Simulated::run(1, &meetings, (0, 0));
    print_summary("large, never stretched", &unstretched);
    let spent_at = unstretched.spent_at.unwrap();
    assert!((8 * HOUR + 50 * MINUTE..8 * HOUR + 57 * MINUTE).contains(&spent_at), "{}", clock(spent_at));
}

#[test]
fn a_quiet_day_is_never_stretched_even_with_a_backfill() {
    let meetings = meetings(&[(20, 1), (2, 3)], &OFFICE_HOURS);
    for backfill in [0, 2_000] {
        let seen = Simulated::run(10, &meetings, (12 * HOUR, backfill));
        print_summary("quiet", &seen);
        assert_eq!(seen.most_stretched(OFFICE_HOURS), 1.0, "a backfill of {backfill}");
        assert_eq!(seen.refused, 0);
        assert!(seen.forecasts.iter().all(|(_, forecast)| forecast.spent_in.is_none()));
    }
}

#[test]
fn when_half_of_the_meetings_end_the_stretch_shrinks_back_to_1() {
    let mut all = meetings(&[(15, 1), (3, 4)], &OFFICE_HOURS);
    all.extend(meetings(&[(15, 1), (3, 4)], &(8 * HOUR..13 * HOUR)));
    let seen = Simulated::run(10, &all, (0, 0));
    print_summary("half of them end at 13:00", &seen);
    assert!(seen.most_stretched(12 * HOUR..13 * HOUR) > 1.5);
    assert_eq!(seen.most_stretched(13 * HOUR + 15 * MINUTE..18 * HOUR), 1.0);
    assert_eq!(seen.refused, 0);
}

#[test]
fn a_backfill_in_the_middle_of_the_day_is_made_up_for() {
    let seen = Simulated::run(60, &meetings(&LARGE, &OFFICE_HOURS), (12 * HOUR, 5_000));
    print_summary("with a backfill of 5,000 at 12:00", &seen);
    assert_eq!((seen.refused, seen.spent_at), (0, None));
    assert_all_refreshed_at_the_end(&seen);
    let [before, right_after, evening] =
        [12 * HOUR - MINUTE, 12 * HOUR + 30 * MINUTE, 18 * HOUR - MINUTE].map(|at| seen.forecast(at).stretch);
    assert!(before < 22.0 && right_after > 30.0 && evening < 22.0, "{before} {right_after} {evening}");
}
