//! Days on a virtual clock that steps from second to second without waiting: how many of the day's calls each caller gets.
//!
//! A few lines imitate the queue: in each second, the callers take turns by weight until the permitted calls are made or no
//! caller wants another. The rule that shares the day, `FairDay`, is the real one.
#![expect(clippy::print_stdout, reason = "a test fails by panicking, and may print")]

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use zoom_qos_proxy::{
    failure::CallerLimit,
    quota::fair_day::{CallerShare, DayState, FairDay, Unshared},
};

const HOUR: u32 = 3_600;
const DAY: u32 = 24 * HOUR;
const LAST_MINUTE: u32 = DAY - 60;
const DATE: u64 = 20_000;
/// The business plan's 60,000 calls a day and 40 a second, less a headroom of 10 %.
const BUSINESS: Plan = Plan { per_day: 54_000, per_second: 36 };
const TEAMS: [&str; 5] = ["a", "b", "c", "d", "e"];

#[derive(Clone, Copy)]
struct Plan {
    per_day: u64,
    per_second: u32,
}

/// When a caller wants calls, and how many it would make in a whole day without limits.
#[derive(Clone)]
struct Caller {
    name: &'static str,
    weight: u32,
    from: u32,
    to: u32,
    wants_a_day: f64,
    /// Whether the meetings that it asks for exist.
    exist: bool,
    per_day: Option<NonZeroU32>,
}

/// A caller that wants this many calls a day, evenly and all day.
fn steady(name: &'static str, wants_a_day: f64) -> Caller {
    Caller { name, weight: 1, from: 0, to: DAY, wants_a_day, exist: true, per_day: None }
}

/// A caller that wants all calls, all day.
fn greedy(name: &'static str) -> Caller {
    steady(name, f64::INFINITY)
}

fn five_teams(wants_a_day: f64) -> Vec<Caller> {
    TEAMS.map(|name| steady(name, wants_a_day)).into()
}

struct Day {
    plan: Plan,
    callers: Vec<Caller>,
    rule: FairDay,
    made: BTreeMap<&'static str, u64>,
    refused: BTreeMap<&'static str, u64>,
    left: u64,
    reserve_percent: u32,
}

impl Day {
    fn new(plan: Plan, callers: Vec<Caller>) -> Self {
        Self::with_reserve(plan, callers, 50)
    }

    fn with_reserve(plan: Plan, callers: Vec<Caller>, reserve_percent: u32) -> Self {
        let mut day = Self {
            plan,
            callers: Vec::new(),
            rule: FairDay::new(plan.per_day, reserve_percent),
            made: BTreeMap::new(),
            refused: BTreeMap::new(),
            left: plan.per_day,
            reserve_percent,
        };
        day.set_callers(callers);
        day
    }

    fn set_callers(&mut self, callers: Vec<Caller>) {
        let shares: Vec<_> = callers
            .iter()
            .map(|caller| CallerShare {
                name: caller.name.into(),
                weight: caller.weight,
                calls_per_day: caller.per_day,
            })
            .collect();
        self.rule.set_callers(&shares);
        self.callers = callers;
    }

    fn state(&self, at: u32) -> DayState {
        DayState {
            date: DATE,
            elapsed: Duration::from_secs(at.into()),
            left: self.left,
            replicas: 1,
            ceiling_replicas: 1,
        }
    }

    /// Replaces the rule with a new one that gets only the saved spending.
    fn restart(&mut self) {
        let saved: Vec<_> =
            self.rule.spending().map(|(name, spent)| (Box::<str>::from(name), spent)).collect();
        self.rule = FairDay::new(self.plan.per_day, self.reserve_percent);
        for (name, spent) in saved {
            self.rule.set_spending(DATE, &name, spent, Unshared::default());
        }
        self.set_callers(self.callers.clone());
    }

    fn run(&mut self, seconds: std::ops::Range<u32>) {
        let mut wanted = vec![0.0; self.callers.len()];
        for at in seconds {
            let wants = |caller: &Caller| {
                let is_there = (caller.from..caller.to).contains(&at);
                let by = |at: u32| (caller.wants_a_day * f64::from(at) / f64::from(DAY)).floor();
                match caller.wants_a_day {
                    _ if !is_there => 0.0,
                    f64::INFINITY => f64::INFINITY,
                    _ => by(at + 1) - by(at),
                }
            };
            // A call that finds no permit in its second waits for a later one.
            for (wanted, caller) in wanted.iter_mut().zip(&self.callers) {
                *wanted += wants(caller);
            }
            let mut permits = self.plan.per_second;
            while permits > 0 && wanted.iter().any(|wanted| *wanted >= 1.0) {
                for (place, wanted) in wanted.iter_mut().enumerate() {
                    let weight = self.callers.get(place).map_or(1, |caller| caller.weight);
                    for _ in 0..weight {
                        if permits > 0 && *wanted >= 1.0 {
                            *wanted = if self.ask(place, at) { *wanted - 1.0 } else { 0.0 };
                            permits -= 1;
                        }
                    }
                }
            }
        }
    }

    /// Starts a fetch of one call if the rule permits it, and returns whether it does.
    fn ask(&mut self, place: usize, at: u32) -> bool {
        let Some(Caller { name, exist, .. }) = self.callers.get(place).cloned() else { return false };
        let state = self.state(at);
        let may_start = self.left > 0 && self.rule.start(name, &state).is_ok();
        if may_start {
            self.rule.call_made();
            self.left -= 1;
            self.rule.record_answer(name, exist);
        }
        *if may_start { &mut self.made } else { &mut self.refused }.entry(name).or_default() += 1;
        may_start
    }

    fn made(&self, name: &str) -> u64 {
        self.made.get(name).copied().unwrap_or_default()
    }

    fn print(&self, what: &str) {
        println!("{what}: left {}, made {:?}, refused {:?}", self.left, self.made, self.refused);
    }

    /// Asserts that this caller made at least `least` calls, less one for rounding.
    fn assert_got(&self, name: &str, least: f64) {
        assert!(
            f64::from(u32::try_from(self.made(name)).unwrap_or(u32::MAX)) >= least - 1.0,
            "{name}: {} of {least}",
            self.made(name)
        );
    }

    fn assert_spent(&self) {
        assert!(self.left * 50 <= self.plan.per_day, "{} of {} are left", self.left, self.plan.per_day);
    }
}

fn business(callers: Vec<Caller>) -> Day {
    Day::new(BUSINESS, callers)
}

/// The reserve, for the time from `from` to midnight, of one of this number of callers with equal weights.
fn reserve(plan: Plan, callers: u32, from: u32) -> f64 {
    let per_day = f64::from(u32::try_from(plan.per_day).unwrap_or(u32::MAX));
    per_day / 2.0 / f64::from(callers) * f64::from(DAY - from) / f64::from(DAY)
}

#[test]
fn a_greedy_caller_leaves_five_teams_their_reserve_all_day() {
    for plan in [BUSINESS, Plan { per_day: 27_000, per_second: 9 }, Plan { per_day: 900, per_second: 1 }] {
        let mut callers = five_teams(reserve(plan, 6, 0));
        callers.push(greedy("scanner"));
        let mut day = Day::new(plan, callers);
        day.run(0..LAST_MINUTE);
        day.print("steady teams");
        for team in TEAMS {
            // The last call of a small reserve lapses in part while it waits for a permit.
            day.assert_got(team, reserve(plan, 6, 60) * 0.99 - 1.0);
            let refused = day.refused.get(team).copied().unwrap_or_default();
            assert!(
                refused <= 1,
                "{team} asks for no more than its reserve, and was refused {refused} times"
            );
        }
        day.assert_spent();
    }
}

#[test]
fn a_late_team_has_the_reserve_of_the_hours_left() {
    let mut callers = five_teams(f64::INFINITY);
    for team in &mut callers {
        (team.from, team.to) = (8 * HOUR, 18 * HOUR);
    }
    callers.push(greedy("scanner"));
    let mut day = business(callers);
    day.run(0..25 * 60);
    assert!(day.made("scanner") <= 31_500 + 400, "the rest and its own reserve: {}", day.made("scanner"));
    assert!(day.made("scanner") >= 31_500, "{}", day.made("scanner"));
    day.run(25 * 60..LAST_MINUTE);
    day.print("teams from 08:00 to 18:00");
    for team in TEAMS {
        day.assert_got(team, reserve(BUSINESS, 6, 8 * HOUR));
    }
    day.assert_spent();
}

#[test]
fn a_caller_that_is_alone_may_use_nearly_the_whole_day() {
    let mut callers = five_teams(0.0);
    callers.push(greedy("alone"));
    let mut day = business(callers);
    day.run(0..12 * HOUR);
    assert!((42_000..43_500).contains(&day.made("alone")), "at noon: {}", day.made("alone"));
    day.run(12 * HOUR..LAST_MINUTE);
    day.print("alone");
    day.assert_spent();
}

#[test]
fn reserves_follow_the_weights() {
    let mut callers = vec![greedy("one"), greedy("three"), greedy("thief")];
    for (caller, weight) in callers.iter_mut().zip([1, 3, 1]) {
        caller.weight = weight;
    }
    for late in callers.iter_mut().take(2) {
        late.from = HOUR;
    }
    let mut day = business(callers);
    day.run(0..LAST_MINUTE);
    day.print("weights 1, 3 and 1, the last one an hour early");
    let left = f64::from(DAY - HOUR) / f64::from(DAY);
    day.assert_got("one", 5_400.0 * left);
    day.assert_got("three", 16_200.0 * left);
    day.assert_spent();
}

#[test]
fn a_caller_added_at_noon_has_the_reserve_of_half_a_day() {
    let mut callers = five_teams(27_000.0 / 6.0);
    callers.push(greedy("scanner"));
    let mut day = business(callers.clone());
    day.run(0..12 * HOUR);
    callers.push(greedy("new"));
    day.set_callers(callers);
    day.run(12 * HOUR..LAST_MINUTE);
    day.print("one more from noon");
    // The scanner has used its own reserve, so the calls that are left at noon are the reserves of the five teams. Seven callers
    // now share them, so each gets at least five sevenths of its reserve for the afternoon.
    day.assert_got("new", reserve(BUSINESS, 7, 12 * HOUR) * 5.0 / 7.0);
    for team in TEAMS {
        day.assert_got(team, reserve(BUSINESS, 6, 0) / 2.0 + reserve(BUSINESS, 7, 12 * HOUR) * 5.0 / 7.0);
    }
    day.assert_spent();
}

#[test]
fn a_restart_at_noon_changes_nothing() {
    let mut callers = five_teams(6_000.0);
    callers.push(greedy("scanner"));
    let mut days = [false, true].map(|restarts| {
        let mut day = business(callers.clone());
        day.run(0..12 * HOUR);
        if restarts {
            day.restart();
        }
        day.run(12 * HOUR..LAST_MINUTE);
        day
    });
    let [without, with] = &mut days;
    assert_eq!(without.made, with.made);
}

#[test]
fn a_caller_that_finds_nothing_gets_a_tenth_of_its_share() {
    let mut callers = five_teams(f64::INFINITY);
    callers.push(Caller { exist: false, ..greedy("scanner") });
    let mut day = business(callers);
    day.run(0..LAST_MINUTE);
    day.print("a scanner of ids");
    let at_most = 54_000 / 6 / 10 + 50;
    assert!((890..=at_most).contains(&day.made("scanner")), "{}", day.made("scanner"));
    for team in TEAMS {
        day.assert_got(team, reserve(BUSINESS, 6, 0));
    }
    day.assert_spent();
}

#[test]
fn a_held_caller_that_finds_a_meeting_gets_its_share_again() {
    let mut day = business(vec![Caller { exist: false, ..greedy("scanner") }, steady("a", 0.0)]);
    day.run(0..HOUR);
    assert!(day.made("scanner") < 200, "{}", day.made("scanner"));
    day.set_callers(vec![greedy("scanner"), steady("a", 0.0)]);
    day.run(HOUR..2 * HOUR);
    assert!(day.made("scanner") > 30_000, "{}", day.made("scanner"));
}

#[test]
fn a_ceiling_ends_a_callers_day() {
    let mut callers = five_teams(1_000.0);
    callers.push(Caller { per_day: NonZeroU32::new(700), ..greedy("scanner") });
    let mut day = business(callers);
    day.run(0..LAST_MINUTE);
    assert_eq!(day.made("scanner"), 700);
    let denied = day.rule.check("scanner", &day.state(23 * HOUR)).err();
    let denied = denied.unwrap_or_else(|| panic!("it may still call"));
    assert_eq!((denied.limit, denied.retry_in), (CallerLimit::PerDay, Duration::from_secs(HOUR.into())));
}

#[test]
fn calls_of_other_apps_shrink_all_reserves_alike() {
    let mut callers = five_teams(f64::INFINITY);
    callers.push(greedy("scanner"));
    for caller in &mut callers {
        caller.from = 6 * HOUR;
    }
    let mut day = business(callers);
    // Zoom reports that other apps have used nearly all of the day.
    day.left = 6_000;
    day.run(0..LAST_MINUTE);
    day.print("6,000 are left");
    for name in TEAMS.into_iter().chain(["scanner"]) {
        assert!((990..=1_010).contains(&day.made(name)), "{name}: {}", day.made(name));
    }
    day.assert_spent();
}

#[test]
fn the_refusal_says_when_a_call_lapses() {
    let mut callers = five_teams(0.0);
    callers.push(greedy("scanner"));
    let mut day = business(callers);
    day.run(0..30 * 60);
    let denied = day.rule.check("scanner", &day.state(30 * 60 - 1)).err();
    let denied = denied.unwrap_or_else(|| panic!("it may still call"));
    assert_eq!(denied.limit, CallerLimit::Share);
    assert!(
        (1..=8).contains(&denied.retry_in.as_secs()),
        "five reserves lapse by a call every 3.8 s: {denied:?}"
    );
}

/// Greedy callers, as name, weight, and the second from which each wants calls.
fn greedy_from(names: &[(&'static str, u32, u32)]) -> Vec<Caller> {
    let caller = |(name, weight, from)| Caller { weight, from, ..greedy(name) };
    names.iter().copied().map(caller).collect()
}

/// Runs a day of greedy callers. Asserts that at most 2 % of the calls are left, and that each caller gets its reserve for the
/// time after its start, less two calls for rounding.
fn assert_fair(plan: Plan, reserve_percent: u32, callers: &[(&'static str, u32, u32)]) -> Day {
    let mut day = Day::with_reserve(plan, greedy_from(callers), reserve_percent);
    day.run(0..LAST_MINUTE);
    day.print(&format!("{} calls, {reserve_percent} % reserved", plan.per_day));
    day.assert_spent();
    let float = |number: u64| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    let weights: u32 = callers.iter().map(|(_, weight, _)| weight).sum();
    for (name, weight, from) in callers {
        let share = float(plan.per_day) * f64::from(*weight) / f64::from(weights);
        day.assert_got(
            name,
            share * f64::from(reserve_percent) / 100.0 * f64::from(DAY - from) / f64::from(DAY) - 1.0,
        );
    }
    day
}

#[test]
fn one_caller_may_use_the_whole_day_at_once() {
    for reserve_percent in [0, 50, 100] {
        let mut day = Day::with_reserve(BUSINESS, vec![greedy("alone")], reserve_percent);
        day.run(0..HOUR);
        assert_eq!(day.made("alone"), 54_000, "{reserve_percent} % reserved");
    }
}

#[test]
fn extreme_weights_and_reserves_keep_every_whole_call_of_a_reserve() {
    let small = Plan { per_day: 10_000, per_second: 9 };
    for reserve_percent in [1, 50, 99, 100] {
        assert_fair(small, reserve_percent, &[("heavy", 1_000, 0), ("light", 1, 12 * HOUR)]);
        assert_fair(small, reserve_percent, &[("light", 1, 0), ("heavy", 1_000, 12 * HOUR)]);
        assert_fair(small, reserve_percent, &[("a", 1, 0), ("b", 1, 0), ("c", 1, 8 * HOUR)]);
    }
    let day = assert_fair(small, 0, &[("first", 1, 0), ("late", 1_000, HOUR)]);
    assert_eq!((day.made("first"), day.made("late")), (10_000, 0), "without a reserve");
}

#[test]
fn more_callers_than_calls_still_use_the_day() {
    let names: Vec<&'static str> = (0..200).map(|number| &*format!("caller-{number}").leak()).collect();
    let callers: Vec<_> = names.into_iter().map(|name| (name, 1, 0)).collect();
    for reserve_percent in [0, 50, 100] {
        let day = assert_fair(Plan { per_day: 100, per_second: 1 }, reserve_percent, &callers);
        assert_eq!(day.left, 0, "{reserve_percent} % reserved");
    }
}

#[test]
fn two_callers_in_the_last_minute_share_what_is_left() {
    let mut day = business(greedy_from(&[("one", 1, LAST_MINUTE), ("two", 1, LAST_MINUTE)]));
    day.left = 100;
    day.run(LAST_MINUTE..DAY);
    day.print("two at 23:59");
    assert_eq!((day.made("one"), day.made("two")), (50, 50));
}

#[test]
fn a_renamed_caller_takes_no_more_than_its_part_of_the_reserves() {
    let before = [("old", 1, 0), ("a", 1, 18 * HOUR), ("b", 1, 18 * HOUR)];
    let mut day = business(greedy_from(&before));
    day.run(0..12 * HOUR);
    day.set_callers(greedy_from(&[("new", 1, 0), ("a", 1, 18 * HOUR), ("b", 1, 18 * HOUR)]));
    day.run(12 * HOUR..LAST_MINUTE);
    day.print("renamed at noon");
    // At noon, 9,000 calls are left: the reserves of `a` and `b`. With the new name, three callers share them.
    day.assert_got("new", 3_000.0);
    for name in ["a", "b"] {
        day.assert_got(name, 1_500.0);
    }
    day.assert_spent();
}

#[test]
fn a_removed_caller_leaves_its_reserve_to_the_others() {
    let mut day = business(greedy_from(&[("stays", 1, 0), ("goes", 1, DAY)]));
    day.run(0..HOUR);
    assert!(day.made("stays") < 41_500, "{}", day.made("stays"));
    day.set_callers(greedy_from(&[("stays", 1, 0)]));
    day.run(HOUR..2 * HOUR);
    assert_eq!(day.left, 0);
}

#[test]
fn a_clock_set_back_takes_no_reserve_from_anybody() {
    for (back, by) in [(12 * HOUR, HOUR), (12 * HOUR, 11 * HOUR), (1_800, 1_700)] {
        let mut day = business(greedy_from(&[("early", 1, 0), ("late", 1, 13 * HOUR)]));
        day.run(0..back);
        day.run(back - by..LAST_MINUTE);
        day.print("the clock goes back");
        day.assert_got("late", 54_000.0 / 4.0 * 11.0 / 24.0);
        day.assert_spent();
    }
}

#[test]
fn a_held_caller_is_not_held_beyond_midnight() {
    let callers = greedy_from(&[("scanner", 1, 0), ("a", 1, DAY)]);
    let callers = callers.into_iter().map(|caller| Caller { exist: false, ..caller }).collect();
    let mut day = Day::new(Plan { per_day: 120, per_second: 1 }, callers);
    // After 50 s, the scanner is held back: it may fetch only once every four hours.
    day.run(0..DAY - 10);
    let denied = day.rule.check("scanner", &day.state(DAY - 10)).err();
    let denied = denied.unwrap_or_else(|| panic!("it may still call"));
    assert_eq!(denied.limit, CallerLimit::NotFound);
    assert!(denied.retry_in <= Duration::from_secs(10), "the count starts again at midnight: {denied:?}");
}

#[test]
fn a_removed_caller_does_not_end_the_wait_of_the_others() {
    let mut day = business(greedy_from(&[("gone", 1, DAY)]));
    day.set_callers(greedy_from(&[("a", 1, 0), ("b", 1, 0)]));
    // `a` and `b` draw half of their reserves. Then other apps of the account use all calls but one.
    day.left = 20_000;
    day.run(0..280);
    day.left = 1;
    let denied = day.rule.check("a", &day.state(280)).err();
    let denied = denied.unwrap_or_else(|| panic!("it may still call"));
    assert!(denied.retry_in >= Duration::from_secs(60), "no reserve lapses now: {denied:?}");
}
