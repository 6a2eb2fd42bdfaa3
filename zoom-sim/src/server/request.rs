//! Requests, with path and query undecoded. Chunked request bodies are not supported, because the tested clients send none.

use std::io;

use crate::text;

/// The maximum length of an incomplete head, in bytes.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 100;
const MAX_BODY: usize = 1024 * 1024;

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query, raw.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    pub(crate) keep_alive: bool,
}

impl Request {
    /// Takes a request from the front of `buffer`; `None` if it is not complete yet.
    pub(crate) fn take(buffer: &mut Vec<u8>) -> io::Result<Option<Self>> {
        let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Request::new(&mut slots);
        let length = match head.parse(buffer).map_err(|error| bad(&error.to_string()))? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial if buffer.len() > MAX_HEAD => return Err(bad("head too large")),
            httparse::Status::Partial => return Ok(None),
        };
        let headers: Vec<(String, String)> = head
            .headers
            .iter()
            .map(|h| (h.name.to_ascii_lowercase(), String::from_utf8_lossy(h.value).trim().to_owned()))
            .collect();
        let mut request = Self {
            method: head.method.unwrap_or_default().to_owned(),
            target: head.path.unwrap_or_default().to_owned(),
            keep_alive: head.version == Some(1),
            headers,
            body: String::new(),
        };
        if request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            request.keep_alive = false;
        }
        if request.header("transfer-encoding").is_some() {
            return Err(bad("chunked request body"));
        }
        let body = match request.header("content-length").map(str::parse::<usize>) {
            None => 0,
            Some(Ok(body)) if body <= MAX_BODY => body,
            Some(_) => return Err(bad("content-length")),
        };
        let Some(bytes) = buffer.get(length..length + body) else {
            return Ok(None);
        };
        request.body = String::from_utf8_lossy(bytes).into_owned();
        buffer.drain(..length + body);
        Ok(Some(request))
    }

    /// The first value of a header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The raw path.
    pub(crate) fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// The first value of a query parameter, decoded.
    pub(crate) fn query(&self, key: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        text::form_value(query, key)
    }

    /// Whether `Accept-Encoding` contains gzip. Ignores weights, because the tested clients do not send `gzip;q=0`.
    pub(crate) fn accepts_gzip(&self) -> bool {
        self.header("accept-encoding").is_some_and(|value| value.contains("gzip"))
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
