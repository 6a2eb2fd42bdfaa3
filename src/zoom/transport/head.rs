//! Parses the head of a response strictly, and writes it again so that awc cannot misread it.

use bytes::BytesMut;
use httparse::{EMPTY_HEADER, Header, Response, Status};

use super::malformed::Malformed;

/// The maximum number of headers in one head. Zoom's responses through Cloudflare have about 30.
const MOST_HEADERS: usize = 512;
/// The maximum number of headers that are passed on. awc rejects heads with more than 96.
const MOST_PASSED_ON: usize = 64;
/// The headers that awc gets as they are. The headers of the framing are written again, and all others, such as cookies
/// and `cf-*`, are dropped.
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

/// How the end of a body is found (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyLength {
    None,
    /// The length in bytes.
    Known(u64),
    Chunked,
    UntilClose,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum ParsedHead {
    /// A `1xx`: the final response is still to come.
    Interim,
    Final {
        body_length: BodyLength,
        /// Whether the connection can carry another request after this response.
        keeps_alive: bool,
    },
}

/// Parses one complete head, and writes the head that awc may see to `output`. Writes nothing for an interim response.
pub(super) fn parse(head: &[u8], output: &mut BytesMut) -> Result<ParsedHead, Malformed> {
    let mut space = [EMPTY_HEADER; MOST_HEADERS];
    let mut response = Response::new(&mut space);
    // httparse skips empty lines before the status line, but only a request may have those.
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
        // 101 would switch to a protocol that we never offered.
        101 | ..100 => return Err(Malformed::Status),
        102..200 | 100 => return Ok(ParsedHead::Interim),
        _ => {}
    }
    let body_length = body_length(status, version, response.headers)?;
    let keeps_alive = version == 1
        && body_length != BodyLength::UntilClose
        && !asks_to_close(response.headers)
        && !may_be_unsolicited(status);
    write(output, status, response.headers, body_length, keeps_alive)?;
    Ok(ParsedHead::Final { body_length, keeps_alive })
}

/// Applies RFC 9112, section 6.3, to the response to a `GET` or `POST`. An ambiguous length is an error.
fn body_length(status: u16, version: u8, headers: &[Header<'_>]) -> Result<BodyLength, Malformed> {
    if matches!(status, 204 | 304) {
        return Ok(BodyLength::None);
    }
    let mut codings = values(headers, "transfer-encoding");
    let mut lengths = values(headers, "content-length");
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(BodyLength::UntilClose),
        (None, Some(length)) if lengths.next().is_none() => {
            decimal(length).map(BodyLength::Known).ok_or(Malformed::Framing)
        }
        (Some(coding), None)
            if version == 1 && coding.eq_ignore_ascii_case(b"chunked") && codings.next().is_none() =>
        {
            Ok(BodyLength::Chunked)
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

/// Returns whether servers and load balancers may send this status without a request: before the first request or between
/// two requests. Such a response may cross the next request on the wire and then looks like the response to it. Each later
/// response would then belong to the previous request.
fn may_be_unsolicited(status: u16) -> bool {
    status == 408 || status >= 500
}

fn write(
    output: &mut BytesMut,
    status: u16,
    headers: &[Header<'_>],
    body_length: BodyLength,
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
    match body_length {
        BodyLength::None => {}
        BodyLength::Known(length) => {
            output.extend_from_slice(format!("content-length: {length}\r\n").as_bytes());
        }
        BodyLength::Chunked | BodyLength::UntilClose => {
            output.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
    }
    if !keeps_alive {
        output.extend_from_slice(b"connection: close\r\n");
    }
    output.extend_from_slice(b"\r\n");
    Ok(())
}
