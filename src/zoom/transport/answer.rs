//! Where answers begin and end on a connection: the state of one, without the connection.
//!
//! awc takes an interim answer for the final one, a body without a length for no body, and a cut body for a whole one. So it
//! never sees what came: [`AnswerReader`] reads it strictly, and gives awc an answer that says the same in one way only. What
//! cannot be read without guessing is an error, and the connection carries no further request.

use bytes::BytesMut;

use super::{
    chunked::{self, Chunks},
    head::{self, Framing, Head},
};

/// The longest head.
const LONGEST_HEAD: usize = 64 * 1024;
/// Interim answers to one request.
const MOST_INTERIM: u32 = 32;
const HEAD_END: &[u8] = b"\r\n\r\n";

/// Why what came is no answer, or not a whole one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not a head of HTTP/1.x, or one beyond all bounds.
    #[error("the head of the answer is malformed or too large")]
    Head,
    /// `101`, or a status below 100.
    #[error("the answer's status is impossible")]
    Status,
    /// Two lengths, a length and a transfer coding, or a coding other than `chunked`.
    #[error("the answer's length is ambiguous")]
    Framing,
    /// A chunk or trailer.
    #[error("a chunk of the answer is malformed")]
    Chunk,
    /// More interim answers than anybody sends.
    #[error("too many interim answers")]
    Interim,
    /// The connection ended before an answer began.
    #[error("the connection was closed without an answer")]
    NoAnswer,
    /// The connection ended within an answer.
    #[error("the connection was closed within the answer")]
    Cut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No request is under way: whatever comes now is unasked for.
    Idle,
    /// A head is awaited; so many of its bytes have been looked at.
    Head {
        scanned: usize,
    },
    Length(u64),
    Chunks(Chunks),
    UntilClose,
    /// No request may be made any more.
    Closed,
}

/// Reads the answers of one connection, one request at a time.
#[derive(Debug)]
pub struct AnswerReader {
    state: State,
    interim: u32,
    keeps_alive: bool,
}

impl Default for AnswerReader {
    fn default() -> Self {
        Self { state: State::Idle, interim: 0, keeps_alive: true }
    }
}

impl AnswerReader {
    /// Whether no request is under way, and one may be made.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Whether the connection is of no more use.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether an answer, or the rest of one, is still to come.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        !self.is_idle() && !self.is_closed()
    }

    /// A request is about to be written: what comes from here on answers it.
    pub fn begin(&mut self) {
        debug_assert!(self.is_idle(), "one request at a time");
        self.state = State::Head { scanned: 0 };
        self.interim = 0;
    }

    /// Makes sure that no request is made any more.
    pub fn close(&mut self) {
        self.state = State::Closed;
    }

    /// Takes out of `input` what belongs to the answer, and appends to `output` what awc is to see of it. What is left of
    /// `input` is either the beginning of something longer, or came after the answer.
    ///
    /// # Errors
    /// When it is no answer; then the reader is closed.
    pub fn read(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<(), Malformed> {
        let result = self.read_all(input, output);
        if result.is_err() {
            self.close();
        }
        result
    }

    /// The connection has ended, in order: a body that was to end so is whole, any other is not.
    ///
    /// # Errors
    /// When an answer was still to come, or to be completed.
    pub fn end(&mut self, input: &BytesMut, output: &mut BytesMut) -> Result<(), Malformed> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::UntilClose => {
                chunked::end(output);
                Ok(())
            }
            State::Idle | State::Closed => Ok(()),
            State::Head { .. } if input.is_empty() => Err(Malformed::NoAnswer),
            State::Head { .. } | State::Length(_) | State::Chunks(_) => Err(Malformed::Cut),
        }
    }

    fn read_all(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<(), Malformed> {
        loop {
            match &mut self.state {
                State::Idle | State::Closed => return Ok(()),
                State::Head { scanned } => match head_end(input, scanned)? {
                    Some(end) => self.head(&input.split_to(end), output)?,
                    None => return Ok(()),
                },
                State::Length(missing) => {
                    let there = input.len().min(usize::try_from(*missing).unwrap_or(usize::MAX));
                    output.extend_from_slice(&input.split_to(there));
                    *missing -= there as u64;
                    match *missing {
                        0 => self.complete(),
                        _ => return Ok(()),
                    }
                }
                State::Chunks(Chunks::End) => self.complete(),
                State::Chunks(chunks) => {
                    if !chunks.advance(input, output)? {
                        return Ok(());
                    }
                }
                State::UntilClose => {
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
            Head::Interim if self.interim == MOST_INTERIM => return Err(Malformed::Interim),
            Head::Interim => {
                self.interim += 1;
                self.state = State::Head { scanned: 0 };
            }
            Head::Final { framing, keeps_alive } => {
                self.keeps_alive = keeps_alive;
                match framing {
                    Framing::None => self.complete(),
                    Framing::Length(length) => self.state = State::Length(length),
                    Framing::Chunked => self.state = State::Chunks(Chunks::Size),
                    Framing::Close => self.state = State::UntilClose,
                }
            }
        }
        Ok(())
    }

    fn complete(&mut self) {
        self.state = if self.keeps_alive { State::Idle } else { State::Closed };
    }
}

/// Where the head ends, once that is there. `scanned` bytes have no end in them. A line feed without its carriage return is
/// an error: parsers disagree about it.
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
