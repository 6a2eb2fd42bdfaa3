//! The spans of flights, their waits for permits and their calls; and which of them is which flight's, for those who join
//! it. Where nothing is traced it does nothing.

use std::{cell::RefCell, collections::HashMap};

use super::flights::Flight;
use crate::{
    failure::{Failure, Reason},
    metrics::CallResult,
    scheduler::fair_queue::{FlightNumber, Priority},
    snapshot::Snapshot,
    trace::{Span, SpanKind, TraceContext, Tracer},
};

pub(super) struct Traces {
    tracer: Tracer,
    under_way: RefCell<HashMap<FlightNumber, TraceContext, foldhash::fast::RandomState>>,
}

impl Traces {
    pub(super) fn new(tracer: Tracer) -> Self {
        Self { tracer, under_way: RefCell::default() }
    }

    /// A flight that this request started.
    pub(super) fn take_off(&self, flight: &Flight, request: TraceContext) -> Span {
        let mut span = self.tracer.begin("flight", SpanKind::Internal, request);
        if self.tracer.is_on() {
            span.set("caller", flight.caller.name.to_string());
            span.set("meeting_type", flight.key.meeting_type.as_str());
            self.under_way.borrow_mut().insert(flight.number, span.context());
        }
        span
    }

    pub(super) fn land(&self, flight: &Flight, mut span: Span, result: Result<&Snapshot, &Failure>) {
        if !self.tracer.is_on() {
            return;
        }
        self.under_way.borrow_mut().remove(&flight.number);
        match result {
            Ok(snapshot) => span.set("pages", i64::from(snapshot.pages)),
            // What a caller asked for is not there: nothing went wrong.
            Err(Failure {
                reason: Reason::MeetingNotFound | Reason::NotAMeeting | Reason::MeetingTooOld,
                ..
            }) => {}
            Err(failure) => span.fail(failure.reason.as_str()),
        }
    }

    /// The span of a flight under way.
    pub(super) fn of(&self, flight: FlightNumber) -> TraceContext {
        self.under_way.borrow().get(&flight).cloned().unwrap_or_default()
    }

    /// A look at what other replicas have or fetch.
    pub(super) fn look_around(&self, flight: &Flight) -> Span {
        self.tracer.begin("look at other replicas", SpanKind::Internal, self.of(flight.number))
    }

    pub(super) fn wait_for_permit(&self, flight: &Flight, priority: Priority) -> Span {
        let mut span = self.tracer.begin("wait for permit", SpanKind::Internal, self.of(flight.number));
        let word = match priority {
            Priority::Foreground => "foreground",
            Priority::Background => "background",
        };
        span.set("priority", word);
        span
    }

    /// A call, and how often it was made before.
    pub(super) fn call(&self, flight: &Flight, retried: u32) -> Span {
        let route = "/metrics/meetings/{meetingId}/participants/qos";
        let mut span = self.tracer.begin(format!("GET {route}"), SpanKind::Client, self.of(flight.number));
        span.set("http.request.method", "GET");
        span.set("url.template", route);
        if retried > 0 {
            span.set("http.request.resend_count", i64::from(retried));
        }
        span
    }

    /// How it ended, as far as HTTP can tell.
    pub(super) fn called(mut span: Span, status: Option<u16>, error: Option<CallResult>) {
        if let Some(status) = status {
            span.set("http.response.status_code", i64::from(status));
        }
        if let Some(error) = error {
            span.fail(error.as_str());
        }
    }
}
