//! Finds the end of a request's body, so that the bytes after it are not handed to actix too early. actix decodes
//! the body.
//!
//! Accepts only forms that RFC 9112 allows and that actix accepts. The guard and actix could disagree on the end of
//! any other body. Such a body is broken, and nothing after it is read.

/// The part of a body that has not arrived yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyFraming {
    /// This many bytes.
    Length(u64),
    /// Chunks, up to the empty line after the last.
    Chunked(ChunkedPosition),
}

/// The part of the bytes just read that belongs to the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// All bytes belong to the body, which continues.
    All,
    /// This many bytes belong to the body, which is complete.
    Whole(usize),
    /// This many bytes belong to the body, and the last one is invalid.
    Broken(usize),
}

impl BodyFraming {
    pub(super) const CHUNKED: Self = Self::Chunked(ChunkedPosition { at: At::Size { digits: 0 }, left: 0 });

    pub(super) fn take(&mut self, bytes: &[u8]) -> Taken {
        match self {
            Self::Length(left) => {
                let here = take_from(left, bytes.len());
                if *left == 0 { Taken::Whole(here) } else { Taken::All }
            }
            Self::Chunked(chunks) => chunks.take(bytes),
        }
    }
}

/// The position in a chunked body (RFC 9112, 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkedPosition {
    at: At,
    /// The number of bytes left of the current chunk. While its size is being read, the size so far.
    left: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Size {
        digits: u8,
    },
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// The beginning of a trailer line, or of the empty line.
    Line,
    Trailer,
    TrailerLf,
    EndLf,
    End,
}

/// The maximum number of digits of a chunk's size. No real chunk needs more, and such a size always fits into 64 bits.
const MOST_DIGITS: u8 = 15;

impl ChunkedPosition {
    fn take(&mut self, bytes: &[u8]) -> Taken {
        let mut index = 0;
        while let Some(byte) = bytes.get(index) {
            if self.at == At::Data {
                index += take_from(&mut self.left, bytes.len() - index);
                if self.left == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            index += 1;
            match self.step(*byte) {
                Some(At::End) => return Taken::Whole(index),
                Some(at) => self.at = at,
                None => return Taken::Broken(index),
            }
        }
        Taken::All
    }

    /// Returns the position after this byte; `None` if the byte is invalid here.
    fn step(&mut self, byte: u8) -> Option<At> {
        match (self.at, byte) {
            (At::Size { digits: 1.. } | At::Extension, b'\r') => Some(At::SizeLf),
            (At::Size { digits: 1.. }, b';') => Some(At::Extension),
            (At::Size { digits: digits @ ..MOST_DIGITS }, _) => {
                self.left = self.left * 16 + u64::from(char::from(byte).to_digit(16)?);
                Some(At::Size { digits: digits + 1 })
            }
            (At::SizeLf, b'\n') => Some(if self.left == 0 { At::Line } else { At::Data }),
            (At::DataCr, b'\r') => Some(At::DataLf),
            (At::DataLf, b'\n') => {
                self.left = 0;
                Some(At::Size { digits: 0 })
            }
            (At::Line, b'\r') => Some(At::EndLf),
            (At::Trailer, b'\r') => Some(At::TrailerLf),
            (At::TrailerLf, b'\n') => Some(At::Line),
            (At::EndLf, b'\n') => Some(At::End),
            (At::Extension, _) => is_text(byte).then_some(At::Extension),
            (At::Line | At::Trailer, _) => is_text(byte).then_some(At::Trailer),
            _ => None,
        }
    }
}

/// Takes up to `available` bytes from `left`, and returns how many it took.
fn take_from(left: &mut u64, available: usize) -> usize {
    let here = usize::try_from(*left).map_or(available, |left| left.min(available));
    *left -= here as u64;
    here
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::guard::tests::AMBIGUOUS_BODIES;

    fn of_chunks(body: &str) -> Taken {
        let mut framing = BodyFraming::CHUNKED;
        framing.take(body.as_bytes())
    }

    #[test]
    fn a_length_is_counted_across_reads() {
        let mut framing = BodyFraming::Length(5);
        assert_eq!(framing.take(b"ab"), Taken::All);
        assert_eq!(framing.take(b"cdefg"), Taken::Whole(3));
    }

    #[test]
    fn chunks_end_with_the_empty_line_after_the_last() {
        for body in [
            "0\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "A;x=\"y\"\r\n0123456789\r\n00\r\n\r\n",
            "0\r\na: b\r\nc: d\r\n\r\n",
        ] {
            assert_eq!(of_chunks(&format!("{body}GET")), Taken::Whole(body.len()), "{body:?}");
            let mut framing = BodyFraming::CHUNKED;
            let (last, all_but_the_last) = body.as_bytes().split_last().unwrap();
            for byte in all_but_the_last {
                assert_eq!(framing.take(&[*byte]), Taken::All, "{body:?}");
            }
            assert_eq!(framing.take(&[*last]), Taken::Whole(1), "{body:?}");
        }
    }

    #[test]
    fn a_body_that_another_parser_may_read_differently_is_broken() {
        for body in AMBIGUOUS_BODIES {
            assert!(matches!(of_chunks(body), Taken::Broken(_)), "{body:?}");
        }
    }
}
