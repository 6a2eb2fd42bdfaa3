//! Finds where responses begin and end on a connection. Pure: bytes in, bytes out.
//!
//! awc mistakes an interim response for the final one, a body without a length for no body, and a cut body for a
//! whole one. awc therefore does not read from the wire: [`AnswerReader`] parses the bytes strictly and writes an
//! equivalent response that awc cannot misread. If parsing would need a guess, the reader fails, and the connection
//! carries no further request.

use bytes::BytesMut;

pub use super::malformed::Malformed;
use super::{
    chunked::{self, ChunkPosition},
    head::{self, BodyLength, ParsedHead},
};

/// The maximum length of a head, in bytes.
const LONGEST_HEAD: usize = 64 * 1024;
/// The maximum number of interim responses to one request.
const MOST_INTERIM: u32 = 32;
const HEAD_END: &[u8] = b"\r\n\r\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum ReadState {
    /// No request is in flight: any byte now is unsolicited.
    #[default]
    Idle,
    /// Waiting for the end of a head, which is not in the first `scanned` bytes.
    Head {
        scanned: usize,
    },
    /// In a body that lacks this many bytes.
    Length(u64),
    Chunks(ChunkPosition),
    UntilClose,
    /// The connection must carry no further request.
    Closed,
}

/// Reads the responses of one connection, one request at a time.
#[derive(Debug, Default)]
pub struct AnswerReader {
    state: ReadState,
    interim: u32,
    /// Whether the connection carries no request after this one.
    closes: bool,
}

impl AnswerReader {
    /// Returns whether no request is in flight, and one may be sent.
    pub fn is_idle(&self) -> bool {
        self.state == ReadState::Idle
    }

    /// Returns whether the connection must carry no further request.
    pub fn is_closed(&self) -> bool {
        self.state == ReadState::Closed
    }

    /// Returns whether a response, or the rest of one, is still to come.
    pub(crate) fn is_reading(&self) -> bool {
        !self.is_idle() && !self.is_closed()
    }

    /// Expects the response to a request. Call it before the request is written.
    pub fn begin(&mut self) {
        debug_assert!(self.is_idle(), "one request at a time");
        self.state = ReadState::Head { scanned: 0 };
        self.interim = 0;
    }

    pub(crate) fn close(&mut self) {
        self.state = ReadState::Closed;
    }

    /// Consumes the bytes of `input` that belong to the response, and appends an equivalent response for awc to `output`.
    /// The rest of `input` either needs more bytes to be parsed, or follows the response.
    ///
    /// # Errors
    /// The bytes are not a response, or not one that is accepted. The reader is then closed.
    pub fn read(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<(), Malformed> {
        let result = self.read_all(input, output);
        if result.is_err() {
            self.close();
        }
        result
    }

    /// Records that the peer has closed the connection, which ends a body without a length.
    ///
    /// # Errors
    /// A response, or the rest of one, was still to come.
    pub fn end(&mut self, input: &BytesMut, output: &mut BytesMut) -> Result<(), Malformed> {
        match std::mem::replace(&mut self.state, ReadState::Closed) {
            ReadState::UntilClose => {
                chunked::end(output);
                Ok(())
            }
            ReadState::Idle | ReadState::Closed => Ok(()),
            ReadState::Head { .. } if input.is_empty() => Err(Malformed::NoAnswer),
            ReadState::Head { .. } | ReadState::Length(_) | ReadState::Chunks(_) => Err(Malformed::Cut),
        }
    }

    fn read_all(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<(), Malformed> {
        loop {
            match &mut self.state {
                ReadState::Idle | ReadState::Closed => return Ok(()),
                ReadState::Head { scanned } => match head_end(input, scanned)? {
                    Some(end) => self.head(&input.split_to(end), output)?,
                    None => return Ok(()),
                },
                ReadState::Length(missing) => {
                    let there = input.len().min(usize::try_from(*missing).unwrap_or(usize::MAX));
                    output.extend_from_slice(&input.split_to(there));
                    *missing -= there as u64;
                    match *missing {
                        0 => self.complete(),
                        _ => return Ok(()),
                    }
                }
                ReadState::Chunks(ChunkPosition::End) => self.complete(),
                ReadState::Chunks(chunks) => {
                    if !chunks.advance(input, output)? {
                        return Ok(());
                    }
                }
                ReadState::UntilClose => {
                    if !input.is_empty() {
                        chunked::write(output, &input.split());
                    }
                    return Ok(());
                }
            }
        }
    }

    fn head(&mut self, head: &[u8], output: &mut BytesMut) -> Result<(), Malformed> {
        match head::parse(head, output)? {
            ParsedHead::Interim if self.interim == MOST_INTERIM => return Err(Malformed::Interim),
            ParsedHead::Interim => {
                self.interim += 1;
                self.state = ReadState::Head { scanned: 0 };
            }
            ParsedHead::Final { body_length, keeps_alive } => {
                self.closes = !keeps_alive;
                match body_length {
                    BodyLength::None => self.complete(),
                    BodyLength::Known(length) => self.state = ReadState::Length(length),
                    BodyLength::Chunked => self.state = ReadState::Chunks(ChunkPosition::Size),
                    BodyLength::UntilClose => self.state = ReadState::UntilClose,
                }
            }
        }
        Ok(())
    }

    fn complete(&mut self) {
        self.state = if self.closes { ReadState::Closed } else { ReadState::Idle };
    }
}

/// Returns the length of the head; `None` if its end has not arrived. A line feed without a carriage return is an
/// error, because parsers disagree about it.
fn head_end(input: &[u8], scanned: &mut usize) -> Result<Option<usize>, Malformed> {
    let new = input.iter().enumerate().skip(*scanned);
    for (at, _) in new.filter(|(_, byte)| **byte == b'\n') {
        let (before, _) = input.split_at_checked(at + 1).ok_or(Malformed::Head)?;
        if !before.ends_with(b"\r\n") {
            return Err(Malformed::Head);
        }
        if before.ends_with(HEAD_END) {
            return if at < LONGEST_HEAD { Ok(Some(at + 1)) } else { Err(Malformed::Head) };
        }
    }
    *scanned = input.len();
    if input.len() > LONGEST_HEAD { Err(Malformed::Head) } else { Ok(None) }
}
