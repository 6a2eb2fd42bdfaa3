//! Compares the responses that our reader passes to awc with those of a second, straightforward parser. Whenever ours
//! reads a response, the second parser reads the same one.
//!
//! The second parser has the whole stream, reads it once, and shares no code with the service.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::format_collect,
    reason = "a test fails by panicking, and may slice and format as it likes"
)]

use bytes::BytesMut;
use proptest::{collection::vec, prelude::*, sample::select};
use zoom_qos_proxy::zoom::transport::answer::{AnswerReader, Malformed};

/// A response as either parser reads it: status, `Date` headers, body.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Read {
    status: u16,
    dates: Vec<Vec<u8>>,
    body: Vec<u8>,
}

/// Parses the response at the start of a stream, after any interim responses, and returns it with the rest of the stream.
/// `None` if it is incomplete or invalid.
fn second_opinion(stream: &[u8], ended: bool) -> Option<(Read, &[u8])> {
    let mut rest = stream;
    loop {
        let (lines, behind) = section(rest)?;
        rest = behind;
        let (version, behind) = lines[0].strip_prefix(b"HTTP/1.")?.split_at_checked(2)?;
        let one_dot = match version {
            b"1 " => 1,
            b"0 " => 0,
            _ => return None,
        };
        let (digits, reason) = behind.split_at_checked(3)?;
        let is_reason = matches!(reason.first(), None | Some(b' ')) && reason.iter().copied().all(is_text);
        if !digits.iter().all(u8::is_ascii_digit) || !is_reason {
            return None;
        }
        let status: u16 = str::from_utf8(digits).unwrap().parse().unwrap();
        let fields: Vec<_> = lines[1..].iter().map(|line| field(line)).collect::<Option<_>>()?;
        let all = |name: &str| -> Vec<Vec<u8>> {
            fields.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
        };
        match status {
            100 | 102..=199 => continue,
            ..=101 => return None,
            _ => {}
        }
        let (codings, lengths) = (all("transfer-encoding"), all("content-length"));
        let (body, behind) = match (codings.as_slice(), lengths.as_slice()) {
            _ if status == 204 || status == 304 => (Vec::new(), rest),
            ([], []) if ended => (rest.to_vec(), &rest[rest.len()..]),
            ([], [length]) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
                let length: usize = str::from_utf8(length).unwrap().parse().ok()?;
                (rest.get(..length)?.to_vec(), &rest[length..])
            }
            ([coding], []) if coding.eq_ignore_ascii_case(b"chunked") && one_dot == 1 => chunks(rest)?,
            _ => return None,
        };
        return Some((Read { status, dates: all("date"), body }, behind));
    }
}

/// The lines before the first empty line, and the bytes after it. `None` if there is no empty line, or nothing before it.
fn section(bytes: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    let (mut lines, mut rest) = (Vec::new(), bytes);
    loop {
        let (line, behind) = line(rest)?;
        rest = behind;
        if line.is_empty() {
            return (!lines.is_empty()).then_some((lines, rest));
        }
        lines.push(line);
    }
}

fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = bytes[..end].strip_suffix(b"\r")?;
    (!line.contains(&b'\r')).then_some((line, &bytes[end + 1..]))
}

fn field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = str::from_utf8(&line[..colon]).ok()?.to_lowercase();
    let is_name =
        name.chars().all(|letter| letter.is_ascii_graphic() && !"\"(),/:;<=>?@[\\]{}".contains(letter));
    let value = &line[colon + 1..];
    let is_value = value.iter().copied().all(is_text);
    (!name.is_empty() && is_name && is_value).then(|| (name, value.trim_ascii().to_vec()))
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 127)
}

fn chunks(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut body = Vec::new();
    loop {
        let (head, behind) = line(rest)?;
        rest = behind;
        let head = String::from_utf8_lossy(head).into_owned();
        let (size, extension) = head.split_once(';').unwrap_or((&head, ""));
        let size = if head.contains(';') { size.trim_end_matches([' ', '\t']) } else { size };
        if size.is_empty()
            || !size.bytes().all(|byte| byte.is_ascii_hexdigit())
            || extension.contains(|c: char| c.is_ascii_control() && c != '\t')
        {
            return None;
        }
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            break;
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest[size..].strip_prefix(b"\r\n")?;
    }
    loop {
        let (trailer, behind) = line(rest)?;
        rest = behind;
        if trailer.is_empty() {
            return Some((body, rest));
        }
        field(trailer)?;
    }
}

/// The result of our reader when the stream arrives in these pieces and, if `ended`, then ends; `None` if the response is
/// incomplete.
fn ours(pieces: &[&[u8]], ended: bool) -> Result<Option<(Read, Vec<u8>)>, Malformed> {
    let (mut reader, mut input, mut output) = (AnswerReader::default(), BytesMut::new(), BytesMut::new());
    reader.begin();
    for piece in pieces {
        input.extend_from_slice(piece);
        reader.read(&mut input, &mut output)?;
    }
    if ended {
        reader.end(&input, &mut output)?;
    }
    if !reader.is_idle() && !reader.is_closed() {
        return Ok(None);
    }
    let (read, behind) = second_opinion(&output, false).expect_whole(&output);
    assert_eq!(behind, b"", "nothing more is written for awc");
    Ok(Some((read, input.to_vec())))
}

trait ExpectWhole<T> {
    fn expect_whole(self, output: &[u8]) -> T;
}

impl<T> ExpectWhole<T> for Option<T> {
    fn expect_whole(self, output: &[u8]) -> T {
        self.unwrap_or_else(|| panic!("not an answer: {:?}", String::from_utf8_lossy(output)))
    }
}

fn split<'s>(stream: &'s [u8], at: &[prop::sample::Index]) -> Vec<&'s [u8]> {
    let mut cuts: Vec<_> = at.iter().map(|index| index.index(stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|two| &stream[two[0]..two[1]]).collect()
}

/// Asserts that the second parser reads the same response as our reader, if ours reads one. Also asserts that the result
/// does not depend on how the stream is split.
fn compare(stream: &[u8], at: &[prop::sample::Index], ended: bool) -> Result<Option<Read>, TestCaseError> {
    let pieces = split(stream, at);
    let in_pieces = ours(&pieces, ended);
    prop_assert_eq!(&in_pieces, &ours(&[stream], ended), "the same however it is split");
    let bytewise: Vec<_> = stream.chunks(1).collect();
    prop_assert_eq!(&in_pieces, &ours(&bytewise, ended), "the same byte by byte");
    let Ok(Some((read, left))) = in_pieces else { return Ok(None) };
    let second = second_opinion(stream, ended);
    prop_assert!(second.is_some(), "the second parser refuses what we took for {:?}", read);
    let (expected, behind) = second.unwrap();
    prop_assert_eq!(&read, &expected);
    prop_assert_eq!(left.as_slice(), behind);
    Ok(Some(read))
}

#[derive(Debug, Clone)]
enum Framed {
    Length,
    Chunked { sizes: Vec<usize>, extension: &'static str, trailers: usize },
    Close,
}

fn framed() -> impl Strategy<Value = Framed> {
    let extension = select(vec!["", ";a", ";a=b", " ; a=\"b;c\"", "; last"]);
    prop_oneof![
        Just(Framed::Length),
        Just(Framed::Close),
        (vec(1_usize..40, 0..5), extension, 0_usize..4)
            .prop_map(|(sizes, extension, trailers)| Framed::Chunked { sizes, extension, trailers }),
    ]
}

/// A valid stream: this number of interim responses, and a final one.
fn right(interim: usize, status: u16, headers: usize, body: &[u8], framed: &Framed) -> Vec<u8> {
    let mut stream: Vec<u8> = (0..interim)
        .flat_map(|number| {
            let status = [100, 102, 103, 199][number % 4];
            format!("HTTP/1.1 {status} Wait\r\nLink: </a>\r\nContent-Length: 3\r\n\r\n").into_bytes()
        })
        .collect();
    let names: String = (0..headers).map(|number| format!("X-{number}:{number}\r\n")).collect();
    stream.extend(format!("HTTP/1.1 {status} Some Reason\r\nDate:  Thu \r\n{names}").bytes());
    match framed {
        Framed::Length => {
            stream.extend(format!("content-length: {}\r\n\r\n", body.len()).bytes());
            stream.extend(body);
        }
        Framed::Close => {
            stream.extend(b"\r\n");
            stream.extend(body);
        }
        Framed::Chunked { sizes, extension, trailers } => {
            stream.extend(b"Transfer-Encoding: Chunked\r\n\r\n");
            let mut rest = body;
            for size in sizes.iter().copied().chain([usize::MAX]) {
                let (chunk, behind) = rest.split_at(size.min(rest.len()));
                rest = behind;
                if !chunk.is_empty() {
                    stream.extend(format!("{:02X}{extension}\r\n", chunk.len()).bytes());
                    stream.extend(chunk);
                    stream.extend(b"\r\n");
                }
            }
            stream.extend(format!("0{extension}\r\n").bytes());
            stream.extend((0..*trailers).flat_map(|number| format!("T-{number}: x\r\n").into_bytes()));
            stream.extend(b"\r\n");
        }
    }
    stream
}

prop_compose! {
    fn any_right()(
        interim in 0_usize..5,
        status in select(vec![200_u16, 206, 302, 400, 404, 429, 500, 599]),
        headers in prop_oneof![0_usize..6, 90_usize..400],
        body in vec(any::<u8>(), 0..120),
        framed in framed(),
    ) -> (Vec<u8>, Read, bool) {
        let stream = right(interim, status, headers, &body, &framed);
        (stream, Read { status, dates: vec![b"Thu".to_vec()], body }, matches!(framed, Framed::Close))
    }
}

/// A mutation of a stream: replaces up to seven bytes with another byte, a piece of HTTP, or nothing.
fn change() -> impl Strategy<Value = (prop::sample::Index, Vec<u8>, usize)> {
    let pieces: Vec<&[u8]> = vec![
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b" ",
        b":",
        b"0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 200 OK\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding : chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Connection: close\r\n",
        b"\x00",
        b"\xff",
        b"5\r\n",
        b"-1",
        b"+5",
        b"0x5",
        b"HTTP/1.1 103 Early\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 204 None\r\n\r\n",
        b"HTTP/1.1 304 Not\r\n",
        b" folded\r\n",
    ];
    let piece = prop_oneof![
        select(pieces).prop_map(<[u8]>::to_vec),
        any::<u8>().prop_map(|byte| vec![byte]),
        Just(Vec::new())
    ];
    (any::<prop::sample::Index>(), piece, 0_usize..8)
}

fn changed(mut stream: Vec<u8>, changes: Vec<(prop::sample::Index, Vec<u8>, usize)>) -> Vec<u8> {
    for (at, piece, cut) in changes {
        let at = at.index(stream.len() + 1);
        let end = (at + cut).min(stream.len());
        stream.splice(at..end, piece);
    }
    stream
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_right_answer_is_read_as_it_was_sent(
        (stream, sent, ends) in any_right(),
        behind in prop_oneof![Just(Vec::new()), vec(any::<u8>(), 1..20)],
        at in vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let behind = if ends { Vec::new() } else { behind };
        let stream = [stream, behind].concat();
        prop_assert_eq!(compare(&stream, &at, ends)?, Some(sent));
    }

    #[test]
    fn a_cut_answer_is_never_whole((stream, _, ends) in any_right(), at in any::<prop::sample::Index>()) {
        // A body that ends with its connection looks complete wherever it is cut.
        let cut = &stream[..at.index(stream.len())];
        prop_assert!(ends || ours(&[cut], true).is_err());
    }

    #[test]
    fn a_mutated_answer_is_refused_or_read_as_the_second_parser_does(
        (stream, _, _) in any_right(),
        changes in vec(change(), 1..5),
        at in vec(any::<prop::sample::Index>(), 0..8),
        ended in any::<bool>(),
    ) {
        compare(&changed(stream, changes), &at, ended)?;
    }

    #[test]
    fn arbitrary_bytes_are_read_as_the_second_parser_reads_them_or_refused(
        head in select(vec!["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 103 E\r\n\r\n"]),
        bytes in vec(prop_oneof![any::<u8>(), select(b"\r\n: 0159af;,HTP/.".to_vec())], 0..80),
        at in vec(any::<prop::sample::Index>(), 0..8),
        ended in any::<bool>(),
    ) {
        compare(&[head.as_bytes(), &bytes].concat(), &at, ended)?;
    }
}

#[test]
fn each_answer_on_a_connection_belongs_to_its_own_request() {
    let (mut reader, mut input, mut output) = (AnswerReader::default(), BytesMut::new(), BytesMut::new());
    for body in ["first", "second", "third"] {
        reader.begin();
        input.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\n\r\n");
        reader.read(&mut input, &mut output).unwrap();
        assert!(output.is_empty() && !reader.is_idle(), "an interim response is not an answer");
        input.extend_from_slice(&right(0, 200, 0, body.as_bytes(), &Framed::Length));
        reader.read(&mut input, &mut output).unwrap();
        assert!(reader.is_idle() && input.is_empty());
        assert_eq!(second_opinion(&output.split(), false).unwrap().0.body, body.as_bytes());
    }
}

#[test]
fn a_connection_is_closed_after_a_close_or_an_excessive_answer() {
    let read = |stream: &[u8]| {
        let mut reader = AnswerReader::default();
        reader.begin();
        let result = reader.read(&mut BytesMut::from(stream), &mut BytesMut::new());
        (result, reader.is_idle(), reader.is_closed())
    };
    let closed = (Ok(()), false, true);
    assert_eq!(read(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), (Ok(()), true, false));
    assert_eq!(read(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n"), closed);
    assert_eq!(
        read(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive, close\r\n\r\n"),
        closed
    );
    assert_eq!(read(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"), closed);
    for status in [408, 500, 503, 599] {
        let answer = format!("HTTP/1.1 {status} Any\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(read(answer.as_bytes()), closed, "sent unasked, it may belong to another request");
    }
    assert_eq!(read(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), (Ok(()), true, false));
    let refused = |malformed| (Err(malformed), false, true);
    assert_eq!(read(&b"HTTP/1.1 103 E\r\n\r\n".repeat(33)), refused(Malformed::Interim));
    let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(70_000));
    assert_eq!(read(long.as_bytes()), refused(Malformed::Head));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: 1\r\n".repeat(513));
    assert_eq!(read(many.as_bytes()), refused(Malformed::Head));
    let extension = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;{}", "x".repeat(9_000));
    assert_eq!(read(extension.as_bytes()), refused(Malformed::Chunk));
    assert_eq!(read(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), refused(Malformed::Status));
}
