//! How large a reply of Redis may become, read off its bytes before the library sees them. Pure.
//!
//! The library keeps a reply until it is whole: a bulk string that is announced with 1 TB took 986 MiB within three
//! seconds. No server sends that in answer to what we ask, but something that stands before it may.

/// Elements of one reply: a thousand purges with their numbers are three thousand.
const MOST_ELEMENTS: u64 = 16_384;
/// Lists within lists.
const MOST_NESTED: usize = 8;
/// A type and a number.
const NUMBER_LINE: usize = 24;

/// A reply is larger than any that we ask for, or none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a reply is larger than any that was asked for, or malformed")]
pub struct TooLarge;

/// Follows the replies of one connection.
#[derive(Debug)]
pub struct Meter {
    largest: u64,
    /// Bytes of the present reply.
    taken: u64,
    /// Elements that it announced.
    elements: u64,
    /// How many values each list that is open still lacks.
    open: Vec<u64>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// A line: its beginning, and its last byte.
    Line { beginning: Vec<u8>, last: u8 },
    /// So many bytes of a string and of the line's end behind it are missing.
    Text(u64),
}

impl State {
    fn line() -> Self {
        Self::Line { beginning: Vec::new(), last: 0 }
    }
}

impl Meter {
    /// For replies of so many bytes at most.
    #[must_use]
    pub fn new(largest: usize) -> Self {
        let largest = u64::try_from(largest).unwrap_or(u64::MAX);
        Self { largest, taken: 0, elements: 0, open: Vec::new(), state: State::line() }
    }

    /// Whether all replies so far are whole.
    #[must_use]
    pub fn is_between_replies(&self) -> bool {
        self.taken == 0
    }

    /// Looks at what came next.
    ///
    /// # Errors
    /// When the connection should be closed. What comes after that is not looked at in earnest.
    pub fn read(&mut self, mut bytes: &[u8]) -> Result<(), TooLarge> {
        while !bytes.is_empty() {
            let (some, is_whole) = match &mut self.state {
                State::Text(missing) => {
                    let some = bytes.len().min(usize::try_from(*missing).unwrap_or(usize::MAX));
                    *missing -= u64::try_from(some).unwrap_or(u64::MAX);
                    (some, *missing == 0)
                }
                State::Line { beginning, last } => {
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
                match std::mem::replace(&mut self.state, State::line()) {
                    State::Text(_) => self.end_value(),
                    State::Line { beginning, .. } => self.end_line(&beginning)?,
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
            // Nothing, as older servers write it.
            self.end_value();
            return if b"$*~>".contains(kind) { Ok(()) } else { Err(TooLarge) };
        };
        match kind {
            b'$' | b'=' | b'!' if number > self.largest => return Err(TooLarge),
            b'$' | b'=' | b'!' => self.state = State::Text(number + 2),
            b'%' => self.begin_list(number.saturating_mul(2))?,
            // Attributes, and the value that they are of.
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

    /// With it lists may end, too, and the reply.
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

/// How many of these bytes belong to a line that is whole with them. `last` is the byte before them.
fn line_end(bytes: &[u8], last: u8) -> Option<usize> {
    let before = std::iter::once(&last).chain(bytes);
    before.zip(bytes).position(|pair| pair == (&b'\r', &b'\n')).map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A value as a server writes it.
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
            let mut meter = Meter::new(1 << 20);
            for value in &values {
                prop_assert!(redis::parse_redis_value(value).is_ok(), "{value:?}");
                let (last, all_but_last) = value.split_last().unwrap();
                for part in all_but_last.chunks(part) {
                    prop_assert_eq!(meter.read(part), Ok(()));
                }
                prop_assert!(!meter.is_between_replies());
                prop_assert_eq!(meter.read(&[*last]), Ok(()));
                prop_assert!(meter.is_between_replies());
            }
            prop_assert_eq!(Meter::new(1 << 20).read(&values.concat()), Ok(()));
        }

        #[test]
        fn any_bytes_are_refused_or_bounded(
            bytes in proptest::collection::vec(proptest::sample::select(b"$*%~>|=!+:_-0129\r\n".to_vec()), 0..300),
        ) {
            let mut meter = Meter::new(100);
            let read = meter.read(&bytes);
            prop_assert!(read == Err(TooLarge) || meter.taken <= 100);
        }
    }

    #[test]
    fn what_is_announced_beyond_the_bounds_is_refused_before_it_comes() {
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
            assert_eq!(Meter::new(100).read(announced.as_bytes()), Err(TooLarge), "{announced}");
        }
    }

    #[test]
    fn what_has_no_end_is_refused_at_the_bound() {
        for (beginning, more) in [("+", "x"), ("*9999\r\n", ":1\r\n"), ("*2\r\n$90\r\n", "x")] {
            let mut meter = Meter::new(100);
            assert_eq!(meter.read(beginning.as_bytes()), Ok(()));
            assert_eq!(meter.read(more.repeat(102).as_bytes()), Err(TooLarge), "{beginning}");
        }
    }
}
