//! Bounds the size of a reply by reading its bytes before the client library does. Pure.
//!
//! The library buffers a reply until it is complete. When this was measured, a bulk string that was announced with 1 TB
//! took 986 MiB of memory within three seconds. Redis does not send such a reply to the service's commands, but a
//! faulty or hostile server may.

/// The maximum number of elements in one reply. A list of a thousand purges, each with its number, has two thousand
/// elements.
const MOST_ELEMENTS: u64 = 16_384;
/// The maximum depth of lists within lists.
const MOST_NESTED: usize = 8;
/// The maximum number of bytes that are kept of a line. A line with a type and a number is no longer than this.
const NUMBER_LINE: usize = 24;

/// The error if a reply is malformed, or larger than any reply to the service's commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a reply is larger than any that was asked for, or malformed")]
pub(crate) struct TooLarge;

#[derive(Debug)]
pub(crate) struct ReplyMeter {
    largest: u64,
    taken: u64,
    elements: u64,
    /// For each list that is not complete, from the outermost to the innermost, the number of missing values.
    open: Vec<u64>,
    state: ParserState,
}

#[derive(Debug)]
enum ParserState {
    /// Inside a line. Contains the line's first bytes, and the last byte that was read.
    Line { beginning: Vec<u8>, last: u8 },
    /// Inside a string. Contains the number of bytes that are still missing, including the line end after the string.
    Text(u64),
}

impl ParserState {
    fn line() -> Self {
        Self::Line { beginning: Vec::new(), last: 0 }
    }
}

impl ReplyMeter {
    /// `largest` is the maximum size of one reply, in bytes.
    pub(crate) fn new(largest: usize) -> Self {
        let largest = u64::try_from(largest).unwrap_or(u64::MAX);
        Self { largest, taken: 0, elements: 0, open: Vec::new(), state: ParserState::line() }
    }

    /// Measures the next bytes from the connection. After an error, the connection must be closed.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) -> Result<(), TooLarge> {
        while !bytes.is_empty() {
            let (some, is_whole) = match &mut self.state {
                ParserState::Text(missing) => {
                    let some = bytes.len().min(usize::try_from(*missing).unwrap_or(usize::MAX));
                    *missing -= u64::try_from(some).unwrap_or(u64::MAX);
                    (some, *missing == 0)
                }
                ParserState::Line { beginning, last } => {
                    let end = line_end(bytes, *last);
                    let line = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
                    let room = NUMBER_LINE.saturating_sub(beginning.len());
                    beginning.extend_from_slice(line.get(..room).unwrap_or(line));
                    *last = line.last().copied().unwrap_or_default();
                    (line.len(), end.is_some())
                }
            };
            bytes = bytes.get(some..).unwrap_or_default();
            self.taken = self.taken.saturating_add(u64::try_from(some).unwrap_or(u64::MAX));
            if self.taken > self.largest {
                return Err(TooLarge);
            }
            if is_whole {
                match std::mem::replace(&mut self.state, ParserState::line()) {
                    ParserState::Text(_) => self.end_value(),
                    ParserState::Line { beginning, .. } => self.end_line(&beginning)?,
                }
            }
        }
        Ok(())
    }

    fn end_line(&mut self, line: &[u8]) -> Result<(), TooLarge> {
        let Some((kind, number)) = line.split_first() else { return Err(TooLarge) };
        if !b"$=!*~>%|".contains(kind) {
            self.end_value();
            return Ok(());
        }
        let number = number.strip_suffix(b"\r\n").ok_or(TooLarge)?;
        let number: i64 =
            str::from_utf8(number).ok().and_then(|text| text.trim().parse().ok()).ok_or(TooLarge)?;
        let Ok(number) = u64::try_from(number) else {
            // A negative length is RESP2's null.
            self.end_value();
            return if b"$*~>".contains(kind) { Ok(()) } else { Err(TooLarge) };
        };
        match kind {
            b'$' | b'=' | b'!' if number > self.largest => return Err(TooLarge),
            b'$' | b'=' | b'!' => self.state = ParserState::Text(number + 2),
            b'%' => self.begin_list(number.saturating_mul(2))?,
            // A map of attributes is followed by the value to which they belong.
            b'|' => self.begin_list(number.saturating_mul(2).saturating_add(1))?,
            _ => self.begin_list(number)?,
        }
        Ok(())
    }

    fn begin_list(&mut self, length: u64) -> Result<(), TooLarge> {
        self.elements = self.elements.saturating_add(length);
        if self.elements > MOST_ELEMENTS || self.open.len() == MOST_NESTED {
            return Err(TooLarge);
        }
        if length == 0 {
            self.end_value();
        } else {
            self.open.push(length);
        }
        Ok(())
    }

    /// Ends a value. This may also end the lists around it, and the reply.
    fn end_value(&mut self) {
        while let Some(missing) = self.open.last_mut() {
            *missing -= 1;
            if *missing > 0 {
                return;
            }
            self.open.pop();
        }
        (self.taken, self.elements) = (0, 0);
    }
}

/// Returns how many of these bytes belong to the current line; `None` if the line does not end in these bytes. `last`
/// is the byte before them.
fn line_end(bytes: &[u8], last: u8) -> Option<usize> {
    let before = std::iter::once(&last).chain(bytes);
    before.zip(bytes).position(|pair| pair == (&b'\r', &b'\n')).map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Generates a value as a server encodes it.
    fn value() -> impl Strategy<Value = Vec<u8>> {
        let scalar = prop_oneof![
            "[+-][a-z\\r ]{0,40}".prop_map(|text| format!("{text}\r\n").into_bytes()),
            any::<i64>().prop_map(|number| format!(":{number}\r\n").into_bytes()),
            Just(b"_\r\n".to_vec()),
            Just(b"$-1\r\n".to_vec()),
            Just(b"#t\r\n".to_vec()),
            Just(b",1.5\r\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..40)
                .prop_map(|bytes| { [format!("${}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat() }),
        ];
        scalar.prop_recursive(4, 60, 6, |inner| {
            let list = proptest::collection::vec(inner, 0..6);
            (list, proptest::sample::select(vec![b'*', b'~', b'%'])).prop_map(|(mut values, kind)| {
                if kind == b'%' && values.len() % 2 == 1 {
                    values.pop();
                }
                let length = if kind == b'%' { values.len() / 2 } else { values.len() };
                [format!("{}{length}\r\n", char::from(kind)).into_bytes(), values.concat()].concat()
            })
        })
    }

    proptest! {
        #[test]
        fn replies_end_where_the_library_ends_them(
            values in proptest::collection::vec(value(), 1..5),
            part in 1_usize..50,
        ) {
            let mut meter = ReplyMeter::new(1 << 20);
            for value in &values {
                prop_assert!(redis::parse_redis_value(value).is_ok(), "{value:?}");
                let (last, all_but_last) = value.split_last().unwrap();
                for part in all_but_last.chunks(part) {
                    prop_assert_eq!(meter.read(part), Ok(()));
                }
                prop_assert_ne!(meter.taken, 0, "the reply is not complete");
                prop_assert_eq!(meter.read(&[*last]), Ok(()));
                prop_assert_eq!(meter.taken, 0, "the reply is complete");
            }
            prop_assert_eq!(ReplyMeter::new(1 << 20).read(&values.concat()), Ok(()));
        }

        #[test]
        fn any_bytes_are_rejected_or_bounded(
            bytes in proptest::collection::vec(proptest::sample::select(b"$*%~>|=!+:_-0129\r\n".to_vec()), 0..300),
        ) {
            let mut meter = ReplyMeter::new(100);
            let read = meter.read(&bytes);
            prop_assert!(read == Err(TooLarge) || meter.taken <= 100);
        }
    }

    #[test]
    fn a_reply_announced_beyond_the_bounds_is_rejected_before_it_arrives() {
        for announced in [
            "$101\r\n",
            "$999999999999\r\n",
            "$9223372036854775808\r\n",
            "*16385\r\n",
            "*9223372036854775807\r\n",
            "%9223372036854775807\r\n",
            "|9223372036854775807\r\n",
            "=-1\r\n",
            "%-1\r\n",
            "*x\r\n",
            "*00000000000000000000000000001\r\n",
            "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n",
        ] {
            assert_eq!(ReplyMeter::new(100).read(announced.as_bytes()), Err(TooLarge), "{announced}");
        }
    }

    #[test]
    fn a_reply_without_an_end_is_rejected_at_the_bound() {
        for (beginning, more) in [("+", "x"), ("*9999\r\n", ":1\r\n"), ("*2\r\n$90\r\n", "x")] {
            let mut meter = ReplyMeter::new(100);
            assert_eq!(meter.read(beginning.as_bytes()), Ok(()));
            assert_eq!(meter.read(more.repeat(102).as_bytes()), Err(TooLarge), "{beginning}");
        }
    }
}
