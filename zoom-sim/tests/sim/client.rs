//! A minimal HTTP client: it sends any bytes, and reports how the connection ended.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use zoom_sim::{Fault, FaultKind, Sim, SimConfig};

/// How reading stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// A complete answer by its `Content-Length`; the connection stays open.
    Complete,
    /// The server closed the connection.
    Closed,
    /// The server reset the connection.
    Reset,
    /// Nothing more arrived within the read timeout.
    Silence,
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
}

impl Response {
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line")
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// HTTP status, `code` and `message` of an error.
    pub(crate) fn error(&self) -> (u16, i64, String) {
        let body = self.json();
        (
            self.status(),
            body["code"].as_i64().expect("code"),
            body["message"].as_str().expect("message").into(),
        )
    }

    pub(crate) fn next_page_token(&self) -> String {
        self.json()["next_page_token"].as_str().expect("next_page_token").to_owned()
    }
}

/// One persistent connection, with an access token.
pub(crate) struct Client {
    stream: TcpStream,
    pub(crate) access_token: String,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("connects");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout set");
        stream.set_nodelay(true).expect("nodelay set");
        Self { stream, access_token: String::new() }
    }

    /// A client with an access token for the default credentials.
    pub(crate) fn authorized(sim: &Sim) -> Self {
        let mut client = Self::connect(sim.addr());
        client.access_token = client.mint().json()["access_token"].as_str().expect("a token").to_owned();
        client
    }

    /// Shortens the read timeout, so that a hang is noticed soon.
    pub(crate) fn impatient(self) -> Self {
        self.stream.set_read_timeout(Some(Duration::from_millis(500))).expect("timeout set");
        self
    }

    pub(crate) fn mint(&mut self) -> Response {
        self.mint_with("sim-client:sim-secret", "grant_type=account_credentials&account_id=sim-account")
    }

    pub(crate) fn mint_with(&mut self, credentials: &str, form: &str) -> Response {
        self.send(&format!(
            "POST /oauth/token HTTP/1.1\r\nhost: sim\r\nauthorization: Basic {}\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            STANDARD.encode(credentials),
            form.len()
        ))
    }

    /// `GET` of a raw target with the access token.
    pub(crate) fn get(&mut self, target: &str) -> Response {
        self.get_with(target, "")
    }

    pub(crate) fn get_with(&mut self, target: &str, headers: &str) -> Response {
        let token = self.access_token.clone();
        self.send(&format!(
            "GET {target} HTTP/1.1\r\nhost: sim\r\nauthorization: Bearer {token}\r\n{headers}\r\n"
        ))
    }

    /// Requests the `QoS` of a meeting by its encoded id.
    pub(crate) fn qos(&mut self, id: &str, query: &str) -> Response {
        self.get(&format!("/v2/metrics/meetings/{id}/participants/qos?{query}"))
    }

    pub(crate) fn send(&mut self, request: &str) -> Response {
        self.stream.write_all(request.as_bytes()).expect("the request is sent");
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(whole) = whole_length(&bytes)
                && bytes.len() >= whole
            {
                assert_eq!(bytes.len(), whole, "more than one answer");
                break End::Complete;
            }
            let mut chunk = [0; 8_192];
            match self.stream.read(&mut chunk) {
                Ok(0) => break End::Closed,
                Ok(read) => bytes.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break End::Reset,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    break End::Silence;
                }
                Err(error) => panic!("{error}"),
            }
        };
        let at = head_length(&bytes).unwrap_or(bytes.len());
        let body = bytes.split_off(at);
        Response { head: String::from_utf8(bytes).expect("an ASCII head"), body, end }
    }
}

fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn whole_length(bytes: &[u8]) -> Option<usize> {
    let head = head_length(bytes)?;
    let text = std::str::from_utf8(&bytes[..head]).expect("an ASCII head");
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    Some(head + length.parse::<usize>().expect("a length"))
}

pub(crate) fn sim() -> Sim {
    Sim::start(SimConfig::default()).expect("starts")
}

/// A simulator with one fault, and a client with an access token.
pub(crate) fn faulty(kind: FaultKind) -> (Sim, Client) {
    let sim = sim();
    sim.inject(Fault::new(kind));
    let client = Client::authorized(&sim);
    (sim, client)
}

/// Percent-encodes a string for a query.
pub(crate) fn encoded(text: &str) -> String {
    text.replace('%', "%25").replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
}

/// The id of the documented meeting.
pub(crate) const EXAMPLE: &str = "85746065432";
