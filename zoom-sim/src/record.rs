//! The record of every valid request except those to the control endpoint, for the assertions of tests.

use std::time::Instant;

use crate::endpoint::QosEndpoint;
use crate::text;

/// Which endpoint was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// `POST /oauth/token`.
    Token,
    /// `GET` of a `QoS` endpoint, including misspelled paths below `/metrics/meetings/` and `/metrics/webinars/`.
    Qos,
    /// Anything else.
    Other,
}

/// One request and its answer.
#[derive(Debug, Clone)]
pub struct Call {
    /// When the request was read.
    pub at: Instant,
    /// Which endpoint was called.
    pub kind: CallKind,
    /// The HTTP method.
    pub method: String,
    /// Path and query, raw.
    pub target: String,
    /// Names in lower case, raw values.
    pub headers: Vec<(String, String)>,
    /// The request's body.
    pub body: String,
    /// The status sent; `None` before the answer, or if none was sent, for example after a hang.
    pub status: Option<u16>,
    /// The `code` in the body sent, if it had one.
    pub code: Option<i64>,
    /// The meeting's or webinar's id, fully decoded; `None` if the path has none.
    pub meeting: Option<String>,
    /// The requested page, from 0; `None` for an unknown page token and for other endpoints.
    pub page: Option<usize>,
    /// Which `QoS` endpoint was called; for a misspelled path, the list of meetings or webinars.
    pub endpoint: Option<QosEndpoint>,
    /// The participant's id at an endpoint for one participant, decoded.
    pub participant: Option<String>,
    /// The number of the request's connection, from 1.
    pub connection: u64,
    /// The `x-zm-trackingid` of the answer.
    pub tracking_id: String,
}

impl Call {
    /// The first value of a header, whose name may be in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The first value of a query parameter, decoded.
    #[must_use]
    pub fn query(&self, key: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        text::form_value(query, key)
    }

    /// The raw path, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }
}

/// All calls since the start or the last [`Record::clear`].
#[derive(Debug, Default)]
pub(crate) struct Record {
    calls: Vec<Call>,
    /// The number of the first call in `calls`; clearing does not restart the numbers.
    first: usize,
    qos: usize,
}

impl Record {
    /// Records a request, and returns its number for [`Self::answered`].
    pub(crate) fn arrived(&mut self, call: Call) -> usize {
        self.qos += usize::from(call.kind == CallKind::Qos);
        self.calls.push(call);
        self.first + self.calls.len() - 1
    }

    /// Records the answer to a request, unless the request has been cleared.
    pub(crate) fn answered(&mut self, number: usize, status: u16, code: Option<i64>) {
        let call = number.checked_sub(self.first).and_then(|at| self.calls.get_mut(at));
        if let Some(call) = call {
            call.status = Some(status);
            call.code = code;
        }
    }

    pub(crate) fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// How many `QoS` calls are recorded.
    pub(crate) fn qos(&self) -> usize {
        self.qos
    }

    pub(crate) fn clear(&mut self) {
        self.first += self.calls.len();
        self.calls.clear();
        self.qos = 0;
    }
}
