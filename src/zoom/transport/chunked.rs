//! Parses a chunked body strictly; checks extensions and trailers, and drops them. httparse's chunk parser is more lenient.

use bytes::{Buf as _, BytesMut};

use super::malformed::Malformed;

/// The maximum length of a line, in bytes: a size with its extensions, or a trailer.
const LONGEST_LINE: usize = 8 * 1024;
/// The maximum number of trailers of one body.
const MOST_TRAILERS: u32 = 512;
/// The maximum number of hexadecimal digits of a size: as many as fit into a u64.
const MOST_DIGITS: usize = 16;

/// The place of the next byte in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChunkPosition {
    /// In the line with the next chunk's size.
    Size,
    /// In a chunk that lacks this many bytes.
    Data(u64),
    /// In the line break after a chunk.
    DataEnd,
    /// In a trailer, after this many others.
    Trailers(u32),
    End,
}

impl ChunkPosition {
    /// Consumes one part of the body from `input`, and appends its data, if any, to `output` as a chunk. Returns `false` if
    /// more input is needed or the body has ended.
    pub(super) fn advance(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<bool, Malformed> {
        match *self {
            Self::Size => {
                let Some(line) = take_line(input)? else { return Ok(false) };
                *self = match size(&line)? {
                    0 => Self::Trailers(0),
                    size => Self::Data(size),
                };
            }
            Self::Data(missing) => {
                let there = input.len().min(usize::try_from(missing).unwrap_or(usize::MAX));
                if there == 0 {
                    return Ok(false);
                }
                write(output, &input.split_to(there));
                let missing = missing - there as u64;
                *self = if missing == 0 { Self::DataEnd } else { Self::Data(missing) };
            }
            Self::DataEnd => match &**input {
                [b'\r', b'\n', ..] => {
                    input.advance(2);
                    *self = Self::Size;
                }
                [] | [b'\r'] => return Ok(false),
                _ => return Err(Malformed::Chunk),
            },
            Self::Trailers(before) => {
                let Some(line) = take_line(input)? else { return Ok(false) };
                *self = match &*line {
                    [] => {
                        end(output);
                        Self::End
                    }
                    trailer if is_field(trailer) && before < MOST_TRAILERS => Self::Trailers(before + 1),
                    _ => return Err(Malformed::Chunk),
                };
            }
            Self::End => return Ok(false),
        }
        Ok(true)
    }
}

/// Appends one chunk, which must not be empty.
pub(super) fn write(output: &mut BytesMut, data: &[u8]) {
    output.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
    output.extend_from_slice(data);
    output.extend_from_slice(b"\r\n");
}

pub(super) fn end(output: &mut BytesMut) {
    output.extend_from_slice(b"0\r\n\r\n");
}

/// Consumes a line once its end has arrived; returns it without its end. A lone carriage return or line feed is an error.
fn take_line(input: &mut BytesMut) -> Result<Option<BytesMut>, Malformed> {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
        return if input.len() > LONGEST_LINE { Err(Malformed::Chunk) } else { Ok(None) };
    };
    let mut line = input.split_to(end + 1);
    line.truncate(end);
    if line.len() > LONGEST_LINE || line.last() != Some(&b'\r') {
        return Err(Malformed::Chunk);
    }
    line.truncate(end - 1);
    if line.contains(&b'\r') { Err(Malformed::Chunk) } else { Ok(Some(line)) }
}

/// Parses a chunk's first line, `chunk-size [ chunk-ext ]`, and returns the size.
fn size(line: &[u8]) -> Result<u64, Malformed> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, rest) = line.split_at_checked(digits).ok_or(Malformed::Chunk)?;
    let is_extension =
        rest.is_empty() || (rest.trim_ascii_start().starts_with(b";") && rest.iter().copied().all(is_text));
    if digits.is_empty() || digits.len() > MOST_DIGITS || !is_extension {
        return Err(Malformed::Chunk);
    }
    let digits = str::from_utf8(digits).map_err(|_| Malformed::Chunk)?;
    u64::from_str_radix(digits, 16).map_err(|_| Malformed::Chunk)
}

/// Returns whether the line is `field-name ":" field-value`.
fn is_field(line: &[u8]) -> bool {
    let mut parts = line.splitn(2, |byte| *byte == b':');
    let (Some(name), Some(value)) = (parts.next(), parts.next()) else { return false };
    !name.is_empty() && name.iter().copied().all(is_token) && value.iter().copied().all(is_text)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}
