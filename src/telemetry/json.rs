//! An event as a line of JSON: time, level, the event's fields, and where in the code it comes from.
//!
//! tracing-subscriber's own form, field by field, written where the line waits to be written out, without its detours: a
//! request has one such line, and with them it cost as much as everything else that is done for a hit.

use std::{cell::RefCell, fmt::Debug, time::SystemTime};

use jiff::Timestamp;
use serde::Serialize;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

use super::lines::Lines;

/// Writes each event as such a line.
pub(super) struct JsonLines(pub(super) Lines);

impl<S: Subscriber> Layer<S> for JsonLines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.put(|line| write_event(line, event));
    }
}

fn write_event(line: &mut Vec<u8>, event: &Event<'_>) {
    line.extend_from_slice(b"{\"timestamp\":\"");
    write_time(line, SystemTime::now());
    line.extend_from_slice(b"\",\"level\":\"");
    line.extend_from_slice(event.metadata().level().as_str().as_bytes());
    line.push(b'"');
    event.record(&mut Fields(line));
    line.extend_from_slice(b",\"target\":");
    write_text(line, event.metadata().target());
    line.extend_from_slice(b"}\n");
}

struct Fields<'a>(&'a mut Vec<u8>);

impl Fields<'_> {
    /// The line, for the value of this field.
    fn value_of(&mut self, field: &Field) -> &mut Vec<u8> {
        self.0.extend_from_slice(b",\"");
        // A name in the code, which has nothing to be escaped.
        self.0.extend_from_slice(field.name().as_bytes());
        self.0.extend_from_slice(b"\":");
        self.0
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        write_text(self.value_of(field), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        write_value(self.value_of(field), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        write_value(self.value_of(field), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        write_value(self.value_of(field), &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        write_value(self.value_of(field), &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write_text(self.value_of(field), &format!("{value:?}"));
    }
}

fn write_text(line: &mut Vec<u8>, text: &str) {
    let must_be_escaped = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    // Looked at as a whole, which the compiler does for many bytes at once; a search would go from byte to byte.
    if text.bytes().fold(false, |any, byte| any | must_be_escaped(byte)) {
        return write_value(line, text);
    }
    line.push(b'"');
    line.extend_from_slice(text.as_bytes());
    line.push(b'"');
}

fn write_value(line: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    // Of memory there is enough, and these are no maps with odd keys: it cannot fail.
    serde_json::to_writer(line, value).ok();
}

thread_local! {
    /// The last second of which the text was made, since 1970, and its text.
    static SECOND: RefCell<(u64, String)> = RefCell::default();
}

/// RFC 3339 in UTC with microseconds.
fn write_time(line: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != since.as_secs() || text.is_empty() {
            *second = since.as_secs();
            let second = i64::try_from(*second).ok().and_then(|second| Timestamp::from_second(second).ok());
            *text = second.unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%S.").to_string();
        }
        line.extend_from_slice(text.as_bytes());
    });
    let micros = since.subsec_micros();
    let digit = |place: u32| b'0' + u8::try_from(micros / place % 10).unwrap_or_default();
    line.extend_from_slice(&[100_000, 10_000, 1_000, 100, 10, 1].map(digit));
    line.push(b'Z');
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
        time::Duration,
    };

    use serde_json::{Value, json};
    use tracing_subscriber::{fmt, layer::SubscriberExt as _};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What the event is written as: by us, and by tracing-subscriber itself.
    fn lines(event: impl Fn()) -> [String; 2] {
        let (ours, theirs) = (Written::default(), Written::default());
        let to_theirs = theirs.clone();
        let (lines, writer) = Lines::to(ours.clone()).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(JsonLines(lines)), &event);
        drop(writer);
        let layer = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
        let layer = layer.with_writer(move || to_theirs.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), &event);
        [ours, theirs].map(|written| String::from_utf8(written.0.lock().unwrap().clone()).unwrap())
    }

    #[test]
    fn a_line_says_what_the_librarys_own_would() {
        let odd = "a \"quoted\" \\ text\r\n\t\u{1}\u{7f} é 東京";
        let [ours, theirs] = lines(|| {
            tracing::warn!(
                text = odd,
                number = 7_u64,
                negative = -7_i64,
                yes = true,
                whole = 1.0,
                small = 0.000_000_12,
                duration = 12.345,
                large = 1e300,
                none = f64::NAN,
                absent = Option::<&str>::None,
                shown = %odd,
                debugged = ?Some(odd),
                "message with \"quotes\""
            );
        });
        let parsed = [&ours, &theirs].map(|line| {
            assert!(line.ends_with("}\n") && line.lines().count() == 1, "{line}");
            let mut line: Value = serde_json::from_str(line).unwrap();
            line["timestamp"] = json!(line["timestamp"].as_str().unwrap().len());
            line
        });
        assert_eq!(parsed[0], parsed[1], "{ours}{theirs}");
    }

    #[test]
    fn the_time_is_told_to_the_microsecond_in_each_second() {
        for (micros, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_000_001, "1970-01-01T00:00:01.000001Z"),
            (1_795_428_942_999_999, "2026-11-23T10:15:42.999999Z"),
            (1_795_428_943_000_000, "2026-11-23T10:15:43.000000Z"),
        ] {
            let mut line = Vec::new();
            write_time(&mut line, SystemTime::UNIX_EPOCH + Duration::from_micros(micros));
            assert_eq!(String::from_utf8(line).unwrap(), expected);
        }
    }
}
