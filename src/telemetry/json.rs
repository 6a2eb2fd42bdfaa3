//! Writes an event as a line of JSON: time, level, the event's fields, and its module.
//!
//! The fields are the same as in tracing-subscriber's flattened JSON, but they are written directly into the buffer
//! of lines. With the library's formatter, the log line of a hit cost as much as the rest of the hit.

use std::{cell::RefCell, fmt::Debug, time::SystemTime};

use jiff::Timestamp;
use serde::Serialize;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

use super::writer::NonBlockingWriter;

pub(super) struct JsonLayer(pub(super) NonBlockingWriter);

impl<S: Subscriber> Layer<S> for JsonLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.append(|line| write_event(line, event));
    }
}

fn write_event(line: &mut Vec<u8>, event: &Event<'_>) {
    line.extend_from_slice(b"{\"timestamp\":\"");
    write_time(line, SystemTime::now());
    line.extend_from_slice(b"\",\"level\":\"");
    line.extend_from_slice(event.metadata().level().as_str().as_bytes());
    line.push(b'"');
    event.record(&mut FieldWriter(line));
    line.extend_from_slice(b",\"target\":");
    write_text(line, event.metadata().target());
    line.extend_from_slice(b"}\n");
}

struct FieldWriter<'a>(&'a mut Vec<u8>);

impl FieldWriter<'_> {
    /// Writes the name of the field; the value follows.
    fn begin(&mut self, field: &Field) -> &mut Vec<u8> {
        self.0.extend_from_slice(b",\"");
        // The name is an identifier, which needs no escaping.
        self.0.extend_from_slice(field.name().as_bytes());
        self.0.extend_from_slice(b"\":");
        self.0
    }
}

impl Visit for FieldWriter<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        write_text(self.begin(field), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        write_value(self.begin(field), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        write_value(self.begin(field), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        write_value(self.begin(field), &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        write_value(self.begin(field), &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write_text(self.begin(field), &format!("{value:?}"));
    }
}

fn write_text(line: &mut Vec<u8>, text: &str) {
    let must_be_escaped = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    // The compiler vectorizes a fold over all bytes. `any` would test byte by byte.
    if text.bytes().fold(false, |any, byte| any | must_be_escaped(byte)) {
        return write_value(line, text);
    }
    line.push(b'"');
    line.extend_from_slice(text.as_bytes());
    line.push(b'"');
}

fn write_value(line: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    // Writing these types to memory cannot fail.
    serde_json::to_writer(line, value).ok();
}

thread_local! {
    /// The second that was formatted last, as Unix time, and its text.
    static SECOND: RefCell<(u64, String)> = RefCell::default();
}

/// Writes a time in the format of RFC 3339, in UTC with microseconds.
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
    use std::time::Duration;

    use serde_json::{Value, json};
    use tempfile::NamedTempFile;
    use tracing_subscriber::{fmt, layer::SubscriberExt as _};

    use super::*;

    /// Returns the event as this module and tracing-subscriber write it.
    fn lines(event: impl Fn()) -> [String; 2] {
        let files = [(); 2].map(|()| NamedTempFile::new().unwrap());
        let [ours, theirs] = files.each_ref().map(|file| file.reopen().unwrap());
        let (writer, guard) = NonBlockingWriter::start(ours).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(JsonLayer(writer)), &event);
        drop(guard);
        let layer = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
        let layer = layer.with_writer(theirs);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), &event);
        files.map(|file| std::fs::read_to_string(file).unwrap())
    }

    #[test]
    fn a_line_equals_that_of_tracing_subscriber() {
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
    fn the_time_is_in_utc_with_microseconds() {
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
