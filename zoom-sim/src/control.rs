//! The control endpoint below `/_sim/`, for a person with `curl`.
//!
//! [`Sim::start`](crate::Sim::start) does not offer this endpoint. Calls to it are not recorded, and it simulates
//! nothing of Zoom.

mod order;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::endpoint::QosEndpoint;
use crate::meeting::Meeting;
use crate::record::{Call, CallKind};
use crate::reply::Reply;
use crate::server::Request;
use crate::state::Shared;
use order::FaultOrder;

pub(crate) const PREFIX: &str = "/_sim/";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MeetingOrder {
    id: String,
    uuid: Option<String>,
    participants: usize,
    samples: usize,
    #[serde(default)]
    webinar: bool,
}

impl MeetingOrder {
    fn meeting(self) -> Meeting {
        let meeting = Meeting::generated(self.id, self.participants, self.samples);
        let meeting = if self.webinar { meeting.webinar() } else { meeting };
        match self.uuid {
            Some(uuid) => meeting.with_uuid(uuid),
            None => meeting,
        }
    }
}

pub(crate) fn answer(shared: &Shared, request: &Request) -> Reply {
    let reply = match (request.method.as_str(), request.path()) {
        ("GET", "/_sim/calls") => Reply::json(200, calls(shared).to_string()),
        ("DELETE", "/_sim/calls") => {
            shared.lock().record.clear();
            done()
        }
        ("POST", "/_sim/faults") => match FaultOrder::parse(&request.body) {
            Ok(fault) => {
                shared.lock().faults.inject(fault);
                done()
            }
            Err(problem) => refused(&problem),
        },
        ("DELETE", "/_sim/faults") => {
            shared.lock().faults.clear();
            done()
        }
        ("POST", "/_sim/meetings") => match serde_json::from_str::<MeetingOrder>(&request.body) {
            Ok(order) => {
                shared.add_meeting(order.meeting());
                done()
            }
            Err(error) => refused(&error.to_string()),
        },
        _ => Reply::json(404, json!({ "problem": "no such control" }).to_string()),
    };
    Reply { bare: true, ..reply }
}

fn done() -> Reply {
    Reply::json(200, json!({ "done": true }).to_string())
}

fn refused(problem: &str) -> Reply {
    Reply::json(400, json!({ "problem": problem }).to_string())
}

fn calls(shared: &Shared) -> Value {
    let state = shared.lock();
    let calls = state.record.calls();
    let Some(first) = calls.first().map(|call| call.at) else {
        return json!([]);
    };
    calls.iter().map(|call| described(call, call.at.duration_since(first).as_secs_f64() * 1_000.0)).collect()
}

fn described(call: &Call, at_ms: f64) -> Value {
    let kind = match call.kind {
        CallKind::Token => "token",
        CallKind::Qos => "qos",
        CallKind::Other => "other",
    };
    json!({
        "at_ms": at_ms, "kind": kind, "method": call.method, "target": call.target, "status": call.status,
        "code": call.code, "endpoint": call.endpoint.map(endpoint), "meeting": call.meeting,
        "participant": call.participant, "page": call.page, "connection": call.connection,
        "tracking_id": call.tracking_id,
    })
}

const fn endpoint(endpoint: QosEndpoint) -> &'static str {
    match endpoint {
        QosEndpoint::MeetingList => "meeting_list",
        QosEndpoint::MeetingParticipant => "meeting_participant",
        QosEndpoint::WebinarList => "webinar_list",
        QosEndpoint::WebinarParticipant => "webinar_participant",
    }
}
