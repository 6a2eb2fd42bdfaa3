//! Tests the rules step by step, without a clock.

use futures_util::FutureExt as _;

use super::*;

fn memory(most: usize) -> FetchMemory {
    FetchMemory::new(most, &Arc::new(Metrics::default()))
}

fn in_use(memory: &FetchMemory) -> usize {
    memory.0.ledger.borrow().in_use
}

/// Reads and keeps a page of this many bytes.
fn keep(flight: &FlightMemory, bytes: usize) {
    flight.keep(bytes, flight.body());
}

fn woken(receiver: &mut oneshot::Receiver<bool>) -> Option<bool> {
    receiver.try_recv().ok()
}

#[test]
fn near_the_bound_the_oldest_goes_on_and_the_others_wait() {
    let memory = memory(100);
    let [old, young, new] = [1, 2, 3].map(|number| memory.begin(number));
    keep(&old, 40);
    keep(&young, 40);
    let mut asked = [&young, &new, &old].map(|flight| flight.request_page().unwrap());
    assert_eq!(asked.each_mut().map(woken), [None, None, Some(true)]);
    assert_eq!(memory.waiting_to_begin(), 1);
    drop(old);
    assert_eq!(woken(&mut asked[0]), Some(true));
    assert_eq!(woken(&mut asked[1]), None, "the other's next page is expected to be as large as its last");
    keep(&young, 45);
    assert_eq!(woken(&mut asked[1]), Some(true));
    drop((young, new));
    assert_eq!((in_use(&memory), memory.0.ledger.borrow().expected), (0, 0));
}

#[test]
fn when_all_wait_only_the_newest_flight_with_pages_fails() {
    let memory = memory(100);
    let [old, middle, young, new] = [1, 2, 3, 4].map(|number| memory.begin(number));
    for flight in [&old, &middle, &young] {
        keep(flight, 40);
    }
    let mut waits = [&old, &young, &middle].map(|flight| flight.request_page().unwrap());
    assert_eq!(waits.each_mut().map(woken), [None, None, None], "the new flight does not wait yet");
    let mut begins = new.request_page().unwrap();
    assert_eq!(waits.each_mut().map(woken), [None, Some(false), None]);
    drop(young);
    assert_eq!(woken(&mut waits[0]), Some(true));
    assert_eq!((woken(&mut waits[2]), woken(&mut begins)), (None, None));
}

#[test]
fn a_flight_that_reaches_the_bound_by_itself_is_too_large() {
    let memory = memory(100);
    let (old, young) = (memory.begin(1), memory.begin(2));
    keep(&old, 10);
    keep(&young, 100);
    assert!(young.request_page().is_none());
}

#[test]
fn bodies_together_pass_the_bound_by_one_body_at_most() {
    const BODY: usize = 60;
    let memory = memory(100);
    let flights = [1, 2, 3].map(|number| memory.begin(number));
    let [mut first, mut second, mut third] = flights.each_ref().map(FlightMemory::body);
    for body in [&mut first, &mut second, &mut third] {
        assert!(body.grow(33).now_or_never().unwrap().is_ok());
    }
    assert!(second.grow(BODY - 33).now_or_never().unwrap().is_ok(), "one body may exceed the bound");
    assert!(in_use(&memory) <= 100 + BODY);
    {
        let (mut waits, mut waits_too) = (Box::pin(third.grow(27)), Box::pin(first.grow(27)));
        assert!(waits.as_mut().now_or_never().is_none() && waits_too.as_mut().now_or_never().is_none());
        // The page takes as much as its body did. No body may exceed the bound now, all flights wait, and the youngest
        // that holds anything fails.
        flights[1].keep(BODY, second);
        assert!(waits.as_mut().now_or_never().is_none());
        let mut page = flights[1].request_page().unwrap();
        assert!(waits.now_or_never().unwrap().is_err());
        assert!(waits_too.as_mut().now_or_never().is_none() && woken(&mut page).is_none());
        drop(third);
        assert!(waits_too.now_or_never().unwrap().is_ok());
    }
    drop((first, flights));
    assert_eq!(in_use(&memory), 0);
}

#[test]
fn a_body_that_is_dropped_while_it_waits_leaves_nothing_behind() {
    let memory = memory(100);
    let flights = [1, 2, 3].map(|number| memory.begin(number));
    let [mut first, mut second, mut third] = flights.each_ref().map(FlightMemory::body);
    assert!(first.grow(90).now_or_never().unwrap().is_ok());
    assert!(second.grow(20).now_or_never().unwrap().is_ok(), "beyond the bound");
    assert!(third.grow(20).now_or_never().is_none());
    drop((second, third));
    assert_eq!((in_use(&memory), memory.0.ledger.borrow().bodies.len()), (90, 0));
    assert!(flights[1].body().grow(20).now_or_never().unwrap().is_ok());
}

#[test]
fn packing_frees_memory_and_leaves_the_next_body_counted() {
    let memory = memory(100);
    let flight = memory.begin(1);
    keep(&flight, 60);
    assert!(!flight.is_ample());
    let mut body = flight.body();
    assert!(body.grow(30).now_or_never().is_some_and(|grown| grown.is_ok()));
    flight.repack(15);
    assert_eq!(in_use(&memory), 45);
    flight.keep(20, body);
    assert_eq!(in_use(&memory), 20);
    assert!(flight.is_ample());
    drop(flight);
    assert_eq!(in_use(&memory), 0);
}
