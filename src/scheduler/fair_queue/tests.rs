//! Claims about the order of service, by example and by property.

use std::{collections::HashMap, time::Duration};

use proptest::prelude::*;

use super::*;

fn after(seconds: u64) -> Instant {
    use std::sync::LazyLock;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    *START + Duration::from_secs(seconds)
}

fn share(caller: u32, weight: u32) -> Share {
    Share { caller, weight: NonZeroU32::new(weight).unwrap() }
}

/// Joins in the foreground, at 0 s, until 9 s.
fn join<T>(queue: &mut Queue<T>, flight: FlightNumber, by: Share, item: T) {
    queue.push((Priority::Foreground, flight), &[by], after(0), Some(after(9)), item);
}

fn served<T>(queue: &mut Queue<T>) -> Vec<T> {
    std::iter::from_fn(|| queue.pop()).collect()
}

const ONE: Share = Share::ANONYMOUS;

#[test]
fn of_one_caller_the_oldest_flight_is_served_first_whenever_it_joins() {
    let mut queue = Queue::default();
    join(&mut queue, 2, ONE, "second");
    join(&mut queue, 3, ONE, "third");
    queue.push((Priority::Foreground, 1), &[ONE], after(0), None, "first, at a later page");
    assert_eq!((queue.len(), queue.first()), (3, Some(1)));
    assert_eq!(served(&mut queue), ["first, at a later page", "second", "third"]);
}

#[test]
fn a_caller_with_one_flight_does_not_wait_behind_one_with_five_hundred() {
    let mut queue = Queue::default();
    for flight in 0..500 {
        join(&mut queue, flight, share(1, 1), "many");
    }
    assert_eq!(queue.pop(), Some("many"));
    join(&mut queue, 500, share(2, 1), "one");
    assert!(queue.ahead_of(Priority::Foreground, share(3, 1)) <= 2);
    let next_two = [queue.pop(), queue.pop()];
    assert!(next_two.contains(&Some("one")), "{next_two:?}");
}

#[test]
fn who_was_idle_has_saved_nothing_up_and_who_is_alone_gets_everything() {
    let mut queue = Queue::default();
    for flight in 0..1_000 {
        join(&mut queue, flight, share(1, 1), 1);
    }
    assert_eq!((0..500).filter_map(|_| queue.pop()).count(), 500, "alone");
    for flight in 1_000..1_500 {
        join(&mut queue, flight, share(2, 1), 2);
    }
    let next: Vec<_> = (0..100).filter_map(|_| queue.pop()).collect();
    let second = next.iter().filter(|caller| **caller == 2).count();
    assert!((49..=51).contains(&second), "half of it, and no more: {second}");
}

#[test]
fn who_cannot_be_served_in_time_leaves_and_the_others_stay() {
    let mut queue = Queue::default();
    queue.push((Priority::Foreground, 1), &[ONE], after(0), Some(after(5)), "short");
    queue.push((Priority::Foreground, 2), &[ONE], after(0), Some(after(15)), "long");
    queue.push((Priority::Foreground, 3), &[ONE], after(0), None, "begun");
    assert_eq!(queue.first_to_give_up(), Some(after(5)));
    assert_eq!(queue.take_expired(after(4)), [""; 0]);
    assert_eq!(queue.take_expired(after(5)), ["short"]);
    assert_eq!(queue.take_hopeless(|_| after(15), after(15)), ["long", "begun"]);
    assert!(queue.is_empty() && queue.first_to_give_up().is_none());
}

#[test]
fn those_at_the_end_of_a_long_queue_are_told_first() {
    let mut queue = Queue::default();
    for flight in 0..10 {
        queue.push((Priority::Foreground, flight), &[ONE], after(0), Some(after(5)), flight);
    }
    join(&mut queue, 10, share(1, 1), 10);
    // The second caller's only flight is served first or second, and with it one of the first's leaves.
    let one_a_second = |place: usize| after(2) + Duration::from_secs(place as u64);
    assert_eq!(queue.take_hopeless(one_a_second, after(99)), [2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(queue.len(), 3);
}

#[test]
fn a_refresh_makes_way_until_somebody_waits_for_it() {
    let mut queue = Queue::default();
    queue.push((Priority::Background, 1), &[ONE], after(0), Some(after(9)), "old refresh");
    queue.push((Priority::Background, 2), &[ONE], after(0), Some(after(9)), "refresh");
    join(&mut queue, 3, ONE, "awaited");
    queue.somebody_waits(2, ONE, after(12));
    assert_eq!(served(&mut queue), ["refresh", "awaited", "old refresh"]);
}

#[test]
fn refreshes_get_one_permit_in_twenty_however_many_wait_in_the_foreground() {
    let mut queue = Queue::default();
    for flight in 0..100 {
        join(&mut queue, flight, ONE, "awaited");
    }
    for flight in 100..110 {
        queue.push((Priority::Background, flight), &[ONE], after(0), Some(after(9)), "refresh");
    }
    let first: Vec<_> = (0..60).filter_map(|_| queue.pop()).collect();
    let refreshes: Vec<_> = (0..60).filter(|place| first[*place] == "refresh").collect();
    assert_eq!(refreshes, [19, 39, 59]);
}

#[test]
fn a_later_caller_of_the_same_flight_makes_it_wait_longer() {
    let mut queue = Queue::default();
    queue.push((Priority::Foreground, 1), &[ONE], after(0), Some(after(5)), ());
    queue.somebody_waits(1, ONE, after(8));
    queue.somebody_waits(1, ONE, after(6));
    assert_eq!(queue.first_to_give_up(), Some(after(8)));
    assert!(queue.take_expired(after(7)).is_empty());
    assert_eq!(queue.take_expired(after(8)), [()]);
}

#[test]
fn a_flight_moves_up_when_a_less_loaded_caller_joins_and_not_for_a_more_loaded_one() {
    let mut queue = Queue::default();
    for flight in 0..100 {
        join(&mut queue, flight, share(1, 1), flight);
    }
    queue.somebody_waits(99, share(2, 1), after(9));
    let next_two = [queue.pop(), queue.pop()];
    assert!(next_two.contains(&Some(99)), "{next_two:?}");
    join(&mut queue, 200, share(3, 1), 200);
    queue.somebody_waits(200, share(1, 1), after(9));
    assert_eq!(queue.load(3).waiting, 1, "it stays where it is");
}

#[test]
fn a_flight_does_not_move_down_when_a_caller_of_small_weight_joins_it() {
    let mut queue = Queue::default();
    join(&mut queue, 0, share(3, 1), 0);
    assert_eq!(queue.pop(), Some(0), "the light one was just served");
    for flight in 1..=80 {
        join(&mut queue, flight, share(2, 100), flight);
    }
    join(&mut queue, 81, share(1, 100), 81);
    queue.somebody_waits(81, share(3, 1), after(9));
    assert_eq!((queue.load(1).waiting, queue.load(3).waiting), (1, 0));
    let next_two = [queue.pop(), queue.pop()];
    assert!(next_two.contains(&Some(81)), "{next_two:?}");
}

#[test]
fn a_refresh_is_foretold_its_turn_in_twenty_however_long_the_foreground_is() {
    let mut queue = Queue::default();
    for flight in 0..500 {
        join(&mut queue, flight, ONE, ());
    }
    assert_eq!(queue.ahead_of(Priority::Background, ONE), 19);
    queue.push((Priority::Background, 500), &[ONE], after(0), Some(after(9)), ());
    assert_eq!(queue.ahead_of(Priority::Background, ONE), 39);
}

#[test]
fn a_flight_that_several_want_joins_where_it_is_served_first() {
    let mut queue = Queue::default();
    for flight in 0..10 {
        join(&mut queue, flight, share(1, 1), flight);
    }
    queue.push((Priority::Foreground, 10), &[share(1, 1), share(2, 1)], after(0), None, 10);
    assert_eq!((queue.load(1).waiting, queue.load(2).waiting), (10, 1));
}

#[test]
fn in_a_full_queue_the_heaviest_makes_room_for_the_lighter() {
    let mut queue = Queue::default();
    for flight in 0..10 {
        join(&mut queue, flight, share(1, 1), flight);
    }
    queue.push((Priority::Foreground, 10), &[share(1, 1)], after(0), None, 10);
    assert_eq!(queue.make_room(share(1, 1)), None, "not for itself");
    assert_eq!(queue.make_room(share(2, 1)), Some(9), "the youngest that has not begun");
    queue.push((Priority::Background, 11), &[share(2, 1)], after(0), Some(after(9)), 11);
    assert_eq!(queue.make_room(share(1, 1)), Some(11), "a refresh before anybody who is waited for");
    assert_eq!(queue.len(), 10);
}

#[test]
fn who_has_only_begun_flights_has_no_room_to_make_and_the_next_heaviest_makes_it() {
    let mut queue = Queue::default();
    for flight in 0..5 {
        queue.push((Priority::Foreground, flight), &[share(1, 1)], after(0), None, flight);
    }
    for flight in 5..8 {
        join(&mut queue, flight, share(2, 1), flight);
    }
    assert_eq!(queue.make_room(share(3, 1)), Some(7));
    assert_eq!(queue.make_room(share(3, 1)), Some(6));
    assert_eq!(queue.make_room(share(3, 1)), None, "now both would have one");
}

#[test]
fn who_is_put_off_keeps_its_place_and_gives_up_later() {
    let mut queue = Queue::default();
    for flight in 1..=3 {
        queue.push((Priority::Foreground, flight), &[share(1, 1)], after(0), Some(after(flight)), flight);
    }
    queue.put_off(after(2), after(9));
    assert_eq!(queue.first_to_give_up(), Some(after(3)));
    assert_eq!(queue.take_expired(after(8)), [3]);
    assert_eq!(queue.take_expired(after(9)), [1, 2]);
    assert!(queue.is_empty() && queue.first_to_give_up().is_none());
}

#[test]
fn who_waits_since_when_is_known_for_each_caller() {
    let mut queue = Queue::default();
    queue.push((Priority::Foreground, 1), &[share(1, 1)], after(3), None, ());
    queue.push((Priority::Background, 2), &[share(1, 1)], after(2), None, ());
    assert_eq!(queue.load(1), Load { waiting: 2, oldest: Some(after(2)) });
    assert_eq!(queue.load(2), Load { waiting: 0, oldest: None });
}

#[test]
fn a_hundred_thousand_waiting_cost_no_more_per_permit_than_a_thousand() {
    let time = |waiting: u64| {
        let mut queue = Queue::default();
        for flight in 0..waiting {
            join(&mut queue, flight, share(u32::try_from(flight % 50).unwrap(), 1), ());
        }
        let began = Instant::now();
        for flight in waiting..waiting + 1_000 {
            queue.pop();
            join(&mut queue, flight, share(u32::try_from(flight % 50).unwrap(), 1), ());
        }
        began.elapsed()
    };
    let least = |waiting| (0..5).map(|_| time(waiting)).min().unwrap();
    let (few, many) = (least(1_000), least(100_000));
    // A hundred times as many: a scan would show a hundredfold.
    assert!(many < few * 10, "{few:?}, {many:?}");
}

/// What can happen to a queue.
#[derive(Debug, Clone)]
enum Step {
    Join { caller: u32, background: bool, begun: bool },
    Pop,
    SomebodyWaits { flight: u64, caller: u32 },
    Expire,
    MakeRoom { caller: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..5_u32, any::<bool>(), any::<bool>())
            .prop_map(|(caller, background, begun)| Step::Join { caller, background, begun }),
        3 => Just(Step::Pop),
        2 => (0..60_u64, 0..5_u32).prop_map(|(flight, caller)| Step::SomebodyWaits { flight, caller }),
        1 => Just(Step::Expire),
        1 => (0..5_u32).prop_map(|caller| Step::MakeRoom { caller }),
    ]
}

proptest! {
    #[test]
    fn no_call_is_lost_or_served_twice(steps in proptest::collection::vec(step(), 0..200)) {
        let mut queue = Queue::default();
        let (mut joined, mut left) = (0_u64, Vec::new());
        for (second, step) in steps.into_iter().enumerate() {
            let second = second as u64;
            match step {
                Step::Join { caller, background, begun } => {
                    let priority = if background { Priority::Background } else { Priority::Foreground };
                    let give_up = (!begun).then(|| after(second + 10));
                    queue.push((priority, joined), &[share(caller, caller + 1)], after(second), give_up, joined);
                    joined += 1;
                }
                Step::Pop => {
                    let first = queue.first();
                    let popped = queue.pop();
                    prop_assert_eq!(first, popped, "the first is who is served");
                    left.extend(popped);
                }
                Step::SomebodyWaits { flight, caller } => {
                    queue.somebody_waits(flight, share(caller, caller + 1), after(second + 12));
                }
                Step::Expire => left.extend(queue.take_expired(after(second))),
                Step::MakeRoom { caller } => left.extend(queue.make_room(share(caller, caller + 1))),
            }
            let waiting: usize = (0..5).map(|caller| queue.load(caller).waiting).sum();
            prop_assert_eq!(waiting, queue.len());
            prop_assert_eq!(queue.len() as u64 + left.len() as u64, joined);
        }
        left.extend(served(&mut queue));
        left.sort_unstable();
        prop_assert_eq!(left, (0..joined).collect::<Vec<_>>());
    }

    #[test]
    fn a_thousand_permits_are_shared_by_weight_within_a_twentieth(
        weights in proptest::collection::vec(1..10_u32, 2..6),
    ) {
        let mut queue = Queue::default();
        let mut number = 0;
        for (caller, weight) in (0..).zip(&weights) {
            for _ in 0..1_000 {
                join(&mut queue, number, share(caller, *weight), caller);
                number += 1;
            }
        }
        let mut got: HashMap<u32, u32> = HashMap::new();
        for _ in 0..1_000 {
            *got.entry(queue.pop().unwrap()).or_default() += 1;
        }
        let all: u32 = weights.iter().sum();
        for (caller, weight) in (0..).zip(&weights) {
            let fair = 1_000.0 * f64::from(*weight) / f64::from(all);
            let got = f64::from(got.get(&caller).copied().unwrap_or_default());
            prop_assert!((got - fair).abs() <= (fair * 0.05).max(1.0), "{caller}: {got} instead of {fair}");
        }
    }

    #[test]
    fn of_one_caller_and_kind_no_younger_flight_goes_first_and_everybody_is_served(
        callers in proptest::collection::vec(0..6_u32, 1..300),
    ) {
        let mut queue = Queue::default();
        for (flight, caller) in (0..).zip(&callers) {
            join(&mut queue, flight, share(*caller, 1 + caller % 3), (*caller, flight));
        }
        let mut last: HashMap<u32, u64> = HashMap::new();
        let served = served(&mut queue);
        prop_assert_eq!(served.len(), callers.len());
        for (caller, flight) in served {
            prop_assert!(last.insert(caller, flight).is_none_or(|before| before < flight));
        }
    }

    /// What a newcomer is told to expect is what it gets.
    #[test]
    fn as_many_are_served_before_a_newcomer_as_was_foretold(
        callers in proptest::collection::vec((0..4_u32, any::<bool>()), 0..100),
        served_before in 0..50_usize,
        caller in 0..5_u32,
    ) {
        let mut queue = Queue::default();
        for (flight, (caller, _)) in (0..).zip(&callers) {
            join(&mut queue, flight, share(*caller, caller + 1), flight);
        }
        for _ in 0..served_before {
            queue.pop();
        }
        let newcomer = share(caller, caller + 1);
        let foretold = queue.ahead_of(Priority::Foreground, newcomer);
        join(&mut queue, 1_000, newcomer, 1_000);
        let ahead = served(&mut queue).iter().position(|flight| *flight == 1_000).unwrap();
        // Of lines whose turn is at the same time either may be first.
        prop_assert!(foretold.abs_diff(ahead) <= 4, "{foretold}, {ahead}");
    }

    #[test]
    fn the_order_that_is_foretold_is_that_of_service(
        callers in proptest::collection::vec(0..4_u32, 0..60),
    ) {
        let mut queue = Queue::default();
        for (flight, caller) in (0..).zip(&callers) {
            join(&mut queue, flight, share(*caller, caller + 1), flight);
        }
        // From the end on, one place after the other is out of reach.
        let mut order = Vec::new();
        let mut copy = Queue::default();
        for (flight, caller) in (0..).zip(&callers) {
            join(&mut copy, flight, share(*caller, caller + 1), flight);
        }
        for reached in (0..callers.len()).rev() {
            let served_at = |place| if place < reached { after(1) } else { after(99) };
            order.extend(copy.take_hopeless(served_at, after(99)));
        }
        order.reverse();
        prop_assert_eq!(served(&mut queue), order);
    }
}
