//! The state of the simulated account, behind one lock that is never held across an await.
//!
//! Requests are received and decided under the lock; pages are written and sent without it.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::config::SimConfig;
use crate::endpoint::QosEndpoint;
use crate::fault::{FaultKind, Faults, Target};
use crate::limits::Limits;
use crate::meeting::{Hosted, Meeting};
use crate::oauth::{self, AccessTokens};
use crate::qos::page_token::PageTokens;
use crate::qos::{self, Asked, Found};
use crate::random::Dice;
use crate::record::{Call, CallKind, Record};
use crate::reply::{self, JSON, Reply};
use crate::server::Request;

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: SimConfig,
    /// The meetings by each of their ids.
    pub(crate) meetings: HashMap<String, Arc<Hosted>>,
    pub(crate) faults: Faults,
    pub(crate) record: Record,
    pub(crate) limits: Limits,
    pub(crate) access_tokens: AccessTokens,
    pub(crate) page_tokens: PageTokens,
    pub(crate) dice: Dice,
    /// Whether access tokens have the scopes of the webinar endpoints.
    pub(crate) has_webinar_scope: bool,
    /// Whether `QoS` answers other than 429s have headers with the day's remaining calls.
    pub(crate) tells_day_left: bool,
    /// Headers that are sent verbatim with every `QoS` answer except a 429.
    pub(crate) answer_headers: Vec<(&'static str, String)>,
}

/// The state, shared by the server's thread and the handle.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Notified for each recorded request.
    pub(crate) arrived: Condvar,
}

/// The decided answer.
pub(crate) enum Answer {
    Ready(Reply),
    Found(Found),
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self::Ready(reply)
    }
}

/// A request that is decided but not answered yet.
pub(crate) struct Outcome {
    /// The request's number in the record.
    pub(crate) number: usize,
    /// The pause before the answer.
    pub(crate) delay: Duration,
    pub(crate) tracking_id: String,
    /// Whether JSON is compressed.
    pub(crate) gzip: bool,
    answer: Answer,
    fault: Option<FaultKind>,
    headers: Vec<(&'static str, String)>,
}

impl Outcome {
    /// Writes the answer, and spoils it if there is a fault.
    pub(crate) fn reply(self) -> Reply {
        let mut reply = match self.answer {
            Answer::Ready(reply) => reply,
            Answer::Found(found) => found.reply(),
        };
        if let Some(fault) = &self.fault {
            fault.spoil(&mut reply);
        }
        if reply.status != 429 {
            reply.headers.extend(self.headers);
        }
        if self.gzip && reply.content_type == JSON && !reply.body.is_empty() {
            gzip(&mut reply);
        }
        reply
    }
}

fn gzip(reply: &mut Reply) {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let compressed = encoder.write_all(&reply.body).and_then(|()| encoder.finish());
    // Writing to memory does not fail. If it did, the answer would be sent uncompressed.
    if let Ok(compressed) = compressed {
        reply.body = compressed;
        reply.headers.push(("content-encoding", "gzip".to_owned()));
    }
}

impl Shared {
    pub(crate) fn new(config: SimConfig) -> Self {
        let state = State {
            config,
            meetings: HashMap::new(),
            faults: Faults::default(),
            record: Record::default(),
            limits: Limits::default(),
            access_tokens: AccessTokens::default(),
            page_tokens: PageTokens::default(),
            dice: Dice::unseeded(),
            has_webinar_scope: true,
            tells_day_left: false,
            answer_headers: Vec::new(),
        };
        Self { state: Mutex::new(state), arrived: Condvar::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a meeting. Generates its text before taking the lock.
    pub(crate) fn add_meeting(&self, meeting: Meeting) {
        let hosted = Arc::new(Hosted::new(meeting));
        let mut state = self.lock();
        state.remove_meeting(&hosted.meeting.id);
        if let Some(uuid) = &hosted.meeting.uuid {
            state.meetings.insert(uuid.clone(), Arc::clone(&hosted));
        }
        state.meetings.insert(hosted.meeting.id.clone(), hosted);
    }

    /// Records a request and decides its answer.
    pub(crate) fn receive(&self, request: Request, connection: u64) -> Outcome {
        let mut state = self.lock();
        // The time is read under the lock, so that the record and the window contain calls in the order of their
        // times.
        let outcome = state.receive(request, connection, Instant::now());
        drop(state);
        self.arrived.notify_all();
        outcome
    }
}

impl State {
    pub(crate) fn remove_meeting(&mut self, id: &str) {
        self.meetings.retain(|key, hosted| {
            key != id && hosted.meeting.id != id && hosted.meeting.uuid.as_deref() != Some(id)
        });
    }

    fn receive(&mut self, request: Request, connection: u64, now: Instant) -> Outcome {
        let asked = (request.method == "GET").then(|| Asked::of(&request)).flatten();
        let is_token = request.method == "POST" && request.path() == "/oauth/token";
        let page = asked.as_ref().and_then(|asked| asked.page(self));
        let gzip = self.config.gzip && request.accepts_gzip();
        let tracking_id = self.tracking_id();
        let (kind, answer, fault) = if let Some(asked) = &asked {
            let (answer, fault) = qos::answer(self, &request, asked, now);
            (CallKind::Qos, answer, fault)
        } else if is_token {
            let (reply, fault) = self.token(&request, now);
            (CallKind::Token, reply.into(), fault)
        } else {
            (CallKind::Other, reply::not_recognized().into(), None)
        };
        let mut delay = fault.as_ref().map_or(Duration::ZERO, FaultKind::delay);
        if kind == CallKind::Qos {
            delay += self.config.latency;
        }
        let number = self.record.arrived(Call {
            at: now,
            kind,
            method: request.method,
            target: request.target,
            headers: request.headers,
            body: request.body,
            status: None,
            code: None,
            meeting: asked.as_ref().and_then(Asked::meeting).map(str::to_owned),
            page,
            endpoint: asked.as_ref().map(Asked::endpoint),
            participant: asked.as_ref().and_then(Asked::participant).map(str::to_owned),
            connection,
            tracking_id: tracking_id.clone(),
        });
        let mut headers = Vec::new();
        if kind == CallKind::Qos {
            if self.tells_day_left {
                headers = self.limits.day_headers(&self.config);
            }
            headers.extend(self.answer_headers.iter().cloned());
        }
        Outcome { number, delay, tracking_id, gzip, answer, fault, headers }
    }

    fn token(&mut self, request: &Request, now: Instant) -> (Reply, Option<FaultKind>) {
        let fault = self.faults.take(&Target::Token);
        let replacement =
            fault.as_ref().and_then(|kind| kind.replacement("", QosEndpoint::MeetingList, &self.config));
        let with_expiry = fault != Some(FaultKind::TokenWithoutExpiry);
        let reply = replacement.unwrap_or_else(|| {
            oauth::answer(&mut self.access_tokens, &self.config, &mut self.dice, request, now, with_expiry)
        });
        (reply, fault)
    }

    fn tracking_id(&mut self) -> String {
        format!("v=2.0;clid=us06;rid=WEB_{:016x}{:016x}", self.dice.next(), self.dice.next())
    }
}
