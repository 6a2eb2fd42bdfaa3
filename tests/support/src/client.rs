//! An HTTP client that can also send invalid requests, and the answers that it receives.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use serde_json::Value;
use zoom_sim::Sim;

use crate::{simulator::secrets, wait::PATIENCE};

/// A response. The body is as received, not decompressed.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value; panics if it occurs twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let first = values.next();
        assert!(values.next().is_none(), "{name} occurs twice");
        first.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Asserts that this is a well-formed problem, and returns its `code`.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let json = self.json();
        let code = json["code"].as_str().expect("a code").to_owned();
        assert_eq!(json["type"], format!("urn:zoom-qos-proxy:problem:{code}"));
        assert_eq!(json["status"], self.status);
        assert_eq!(json["request_id"].as_str(), self.header("x-request-id"));
        for key in ["title", "detail"] {
            assert!(json[key].as_str().is_some_and(|text| !text.is_empty()), "{key} of {json}");
        }
        if let Some(seconds) = self.header("retry-after") {
            assert!(seconds.parse::<u64>().is_ok_and(|seconds| seconds > 0), "Retry-After: {seconds}");
        }
        code
    }

    /// Asserts that this is a problem with this status and `code`, and that no cache may store it.
    pub fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.problem().as_str()), (status, code), "{}", self.text());
        assert_eq!(self.header("cache-control"), Some("no-store"));
    }

    /// The elements of `participants`. Panics if the status is not 200.
    pub fn participants(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()["participants"].as_array().unwrap().clone()
    }

    /// The value of `Cache-Status`; empty if the header is missing.
    pub fn cache_status(&self) -> &str {
        self.header("cache-status").unwrap_or_default()
    }

    /// The value of `Retry-After`, in seconds.
    pub fn retry_after(&self) -> u64 {
        self.header("retry-after").expect("Retry-After").parse().unwrap()
    }
}

impl Answer {
    /// Asserts that this answer contains no secret of the simulator, no URL, and no word that is typical of a Rust error.
    pub fn assert_discreet(&self, sim: &Sim) {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        let all = format!("{headers}\n{}", self.text());
        let rust = [
            "awc",
            "reqwest",
            "hyper",
            "panicked",
            "Os {",
            "os error",
            "SendRequest",
            "PayloadError",
            "Error(",
        ];
        let ours = ["://", "127.0.0.1", "localhost", "src/", ".rs"];
        for word in rust.into_iter().chain(ours) {
            assert!(!all.contains(word), "{word} in {all}");
        }
        for secret in secrets(sim) {
            assert!(!all.contains(&secret), "a secret in {all}");
        }
    }
}

/// Sends one request on its own connection.
pub fn request(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: service\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    raw(to, format!("{head}\r\n").as_bytes())
}

/// Sends these bytes on a new connection, and reads the answer until the service closes the connection.
pub fn raw(to: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    read_answer(stream)
}

/// Reads until the service closes the connection, and parses the answer.
pub fn read_answer(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {bytes:?}"));
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers =
        lines.map(|line| line.split_once(": ").unwrap()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let answer = Answer { status, headers, body: bytes[end + 4..].to_vec() };
    let length = answer.header("content-length").map(|length| length.parse::<usize>().unwrap());
    assert!(
        answer.body.is_empty() || length == Some(answer.body.len()),
        "{length:?} announced, {}",
        answer.body.len()
    );
    answer
}

/// Sends a `GET` for each path at the same time.
pub fn at_once(to: SocketAddr, paths: Vec<String>) -> Vec<Answer> {
    let callers: Vec<_> =
        paths.into_iter().map(|path| thread::spawn(move || request(to, "GET", &path, &[]))).collect();
    callers.into_iter().map(|caller| caller.join().unwrap()).collect()
}

/// One connection, kept alive between several requests.
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    pub fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    /// Sends these bytes, which need not be a valid request.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    /// Like [`Self::send_raw`], but returns an error if the service has closed the connection.
    pub fn try_send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Whether any byte of an answer arrives within this time.
    pub fn has_answer(&mut self, within: Duration) -> bool {
        self.0.get_mut().set_read_timeout(Some(within)).unwrap();
        let has = self.0.fill_buf().is_ok_and(|bytes| !bytes.is_empty());
        self.0.get_mut().set_read_timeout(Some(PATIENCE)).unwrap();
        has
    }

    /// Waits until the service closes the connection, or nothing arrives for [`PATIENCE`]. Returns whether nothing more
    /// was received.
    pub fn is_closed(&mut self) -> bool {
        let mut more = Vec::new();
        // The service may also reset the connection.
        self.0.read_to_end(&mut more).ok();
        more.is_empty()
    }

    /// Sends a request without waiting for its answer.
    pub fn send(&mut self, method: &str, path: &str) {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: service\r\n\r\n");
        self.0.get_mut().write_all(head.as_bytes()).unwrap();
    }

    /// Like [`Self::send`], but accepts gzip.
    pub fn send_for_gzip(&mut self, path: &str) {
        let head = format!("GET {path} HTTP/1.1\r\nHost: service\r\nAccept-Encoding: gzip\r\n\r\n");
        self.send_raw(head.as_bytes());
    }

    /// Reads the next answer. `bodiless` is for answers to `HEAD`, which have no body.
    pub fn receive(&mut self, bodiless: bool) -> Answer {
        let mut line = || {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            line.strip_suffix("\r\n").unwrap_or_else(|| panic!("the connection ends: {line:?}")).to_owned()
        };
        let status = line().split(' ').nth(1).unwrap().parse().unwrap();
        let head: Vec<_> = std::iter::from_fn(|| Some(line()).filter(|line| !line.is_empty())).collect();
        let headers = head.iter().map(|line| line.split_once(": ").unwrap());
        let headers = headers.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        if !bodiless {
            let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
            answer.body = vec![0; length];
            self.0.read_exact(&mut answer.body).unwrap();
        }
        answer
    }

    pub fn ask(&mut self, method: &str, path: &str) -> Answer {
        self.send(method, path);
        self.receive(method == "HEAD")
    }

    /// Like [`Self::ask`], but returns `None` if the service has closed the connection.
    pub fn try_ask(&mut self, method: &str, path: &str) -> Option<Answer> {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: service\r\n\r\n");
        self.0.get_mut().write_all(head.as_bytes()).ok()?;
        let answered = self.0.fill_buf().is_ok_and(|bytes| !bytes.is_empty());
        answered.then(|| self.receive(method == "HEAD"))
    }
}
