//! The head of an answer: read strictly, and written again so that awc cannot misread it.

use bytes::BytesMut;
use httparse::{EMPTY_HEADER, Header, Response, Status};

use super::answer::Malformed;

/// Headers in one head; Zoom's answers through Cloudflare have some 30.
const MOST_HEADERS: usize = 512;
/// awc refuses heads with more than 96.
const MOST_PASSED_ON: usize = 64;
/// What the rest of this service reads. All others, such as cookies and `cf-*`, end here.
const PASSED_ON: [&str; 9] = [
    "content-encoding",
    "content-type",
    "date",
    "retry-after",
    "x-ratelimit-category",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-type",
    "x-zm-trackingid",
];

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    /// After this many bytes.
    Length(u64),
    /// With the last chunk and its trailers.
    Chunked,
    /// With the connection.
    Close,
}

/// A head that was understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// `1xx`: the answer is still to come.
    Interim,
    /// The answer's own.
    Final {
        framing: Framing,
        /// Whether the connection can carry another request after this answer.
        keeps_alive: bool,
    },
}

/// Reads one whole head, and writes to `output` what awc is to see of it; of an interim head nothing.
pub(super) fn parse(head: &[u8], output: &mut BytesMut) -> Result<Head, Malformed> {
    let mut space = [EMPTY_HEADER; MOST_HEADERS];
    let mut response = Response::new(&mut space);
    // The parser skips empty lines before the status line, which only a request may have.
    let parsed =
        if head.starts_with(b"HTTP/1.") { response.parse(head) } else { return Err(Malformed::Head) };
    let (Ok(Status::Complete(length)), Some(status), Some(version)) =
        (parsed, response.code, response.version)
    else {
        return Err(Malformed::Head);
    };
    if length != head.len() {
        return Err(Malformed::Head);
    }
    match status {
        // A switch to a protocol that nobody offered.
        101 | ..100 => return Err(Malformed::Status),
        102..200 | 100 => return Ok(Head::Interim),
        _ => {}
    }
    let framing = framing(status, version, response.headers)?;
    let keeps_alive = version == 1
        && framing != Framing::Close
        && !asks_to_close(response.headers)
        && !is_sent_unasked(status);
    write(output, status, response.headers, framing, keeps_alive)?;
    Ok(Head::Final { framing, keeps_alive })
}

/// RFC 9112, section 6.3, for the answer to a `GET` or `POST`. Where it would have to guess, an error.
fn framing(status: u16, version: u8, headers: &[Header<'_>]) -> Result<Framing, Malformed> {
    if matches!(status, 204 | 304) {
        return Ok(Framing::None);
    }
    let mut codings = values(headers, "transfer-encoding");
    let mut lengths = values(headers, "content-length");
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(Framing::Close),
        (None, Some(length)) if lengths.next().is_none() => {
            decimal(length).map(Framing::Length).ok_or(Malformed::Framing)
        }
        (Some(coding), None)
            if version == 1 && coding.eq_ignore_ascii_case(b"chunked") && codings.next().is_none() =>
        {
            Ok(Framing::Chunked)
        }
        _ => Err(Malformed::Framing),
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

fn values<'h>(headers: &'h [Header<'_>], name: &'static str) -> impl Iterator<Item = &'h [u8]> {
    let named = headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    named.map(|header| header.value.trim_ascii())
}

fn asks_to_close(headers: &[Header<'_>]) -> bool {
    let mut options = values(headers, "connection").flat_map(|value| value.split(|byte| *byte == b','));
    options.any(|option| !option.trim_ascii().eq_ignore_ascii_case(b"keep-alive"))
}

/// Whether servers and load balancers send this status before a request, or between two. Such an answer can cross the next
/// request on the wire and looks like the answer to it; every later answer would then belong to the request before.
fn is_sent_unasked(status: u16) -> bool {
    status == 408 || status >= 500
}

fn write(
    output: &mut BytesMut,
    status: u16,
    headers: &[Header<'_>],
    framing: Framing,
    keeps_alive: bool,
) -> Result<(), Malformed> {
    output.extend_from_slice(format!("HTTP/1.1 {status} \r\n").as_bytes());
    let is_passed_on = |name: &str| PASSED_ON.iter().any(|known| known.eq_ignore_ascii_case(name));
    let mut passed_on = 0;
    for Header { name, value } in headers.iter().filter(|header| is_passed_on(header.name)) {
        passed_on += 1;
        if passed_on > MOST_PASSED_ON {
            return Err(Malformed::Head);
        }
        for part in [name.as_bytes(), b": ", value, b"\r\n"] {
            output.extend_from_slice(part);
        }
    }
    match framing {
        Framing::None => {}
        Framing::Length(length) => {
            output.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
        }
        Framing::Chunked | Framing::Close => output.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    if !keeps_alive {
        output.extend_from_slice(b"connection: close\r\n");
    }
    output.extend_from_slice(b"\r\n");
    Ok(())
}
