//! Makes the spans of flights, and of their searches at other replicas, their waits for permits and their calls. Keeps
//! the context of each flight's span, so that requests that join the flight can link to it. Does nothing if tracing is
//! off.

use std::{cell::RefCell, collections::HashMap};

use super::flights::Flight;
use crate::{
    failure::{Failure, Reason},
    scheduler::fair_queue::{FlightNumber, Priority},
    snapshot::{MeetingKind, Snapshot},
    trace::{Span, SpanKind, TraceContext, Tracer},
};

pub(super) struct FlightSpans {
    tracer: Tracer,
    in_progress: RefCell<HashMap<FlightNumber, TraceContext, foldhash::fast::RandomState>>,
}

impl FlightSpans {
    pub(super) fn new(tracer: Tracer) -> Self {
        Self { tracer, in_progress: RefCell::default() }
    }

    /// Begins the span of a flight. `request` is the context of the request that started the flight.
    pub(super) fn begin_flight(&self, flight: &Flight, request: TraceContext) -> Span {
        let mut span = self.tracer.begin("flight", SpanKind::Internal, request);
        if self.tracer.is_on() {
            span.set("caller", flight.caller.name.to_string());
            span.set("meeting_type", flight.key.meeting_type.as_str());
            self.in_progress.borrow_mut().insert(flight.number, span.context());
        }
        span
    }

    pub(super) fn end_flight(&self, flight: &Flight, mut span: Span, result: Result<&Snapshot, &Failure>) {
        if !self.tracer.is_on() {
            return;
        }
        self.in_progress.borrow_mut().remove(&flight.number);
        match result {
            Ok(snapshot) => span.set("pages", i64::from(snapshot.pages)),
            // These are answers about the requested meeting, not failures of the flight.
            Err(Failure {
                reason: Reason::MeetingNotFound | Reason::NotAMeeting | Reason::MeetingTooOld,
                ..
            }) => {}
            Err(failure) => span.fail(failure.reason.as_str()),
        }
    }

    pub(super) fn parent(&self, flight: FlightNumber) -> TraceContext {
        self.in_progress.borrow().get(&flight).cloned().unwrap_or_default()
    }

    pub(super) fn look_at_peers(&self, flight: &Flight) -> Span {
        self.tracer.begin("look at other replicas", SpanKind::Internal, self.parent(flight.number))
    }

    pub(super) fn wait_for_permit(&self, flight: &Flight, priority: Priority) -> Span {
        let mut span = self.tracer.begin("wait for permit", SpanKind::Internal, self.parent(flight.number));
        span.set("priority", priority.as_str());
        span
    }

    /// Begins the span of a call. `resent` is the number of retries of this call so far, after transient failures.
    pub(super) fn begin_call(&self, flight: &Flight, resent: u32) -> Span {
        let route = match flight.key.kind {
            MeetingKind::Meeting => "/metrics/meetings/{meetingId}/participants/qos",
            MeetingKind::Webinar => "/metrics/webinars/{webinarId}/participants/qos",
        };
        let mut span =
            self.tracer.begin(format!("GET {route}"), SpanKind::Client, self.parent(flight.number));
        span.set("http.request.method", "GET");
        span.set("url.template", route);
        if resent > 0 {
            span.set("http.request.resend_count", i64::from(resent));
        }
        span
    }
}
