//! An event as a line of JSON: time, level, the event's fields, and where in the code it comes from.
//!
//! tracing-subscriber's own form, field by field, without its detours: a request has one such line, and with them it
//! cost as much as everything else that is done for a hit.

use std::{
    cell::RefCell,
    fmt::{self, Debug, Write as _},
    time::SystemTime,
};

use jiff::Timestamp;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// The form of a line.
pub(super) struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        line.write_str("{\"timestamp\":\"")?;
        write_time(&mut line, SystemTime::now())?;
        line.write_str("\",\"level\":\"")?;
        line.write_str(event.metadata().level().as_str())?;
        line.write_char('"')?;
        let mut fields = Fields { line, failed: false };
        event.record(&mut fields);
        let Fields { mut line, failed } = fields;
        line.write_str(",\"target\":")?;
        write_text(&mut line, event.metadata().target())?;
        line.write_str("}\n")?;
        if failed { Err(fmt::Error) } else { Ok(()) }
    }
}

struct Fields<'a> {
    line: Writer<'a>,
    failed: bool,
}

impl Fields<'_> {
    fn field(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        let written = self.line.write_str(",\"").and_then(|()| {
            // A name in the code, which has nothing to be escaped.
            self.line.write_str(field.name())?;
            self.line.write_str("\":")?;
            value(&mut self.line)
        });
        self.failed |= written.is_err();
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, |line| write_text(line, value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, |line| write!(line, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, |line| write!(line, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, |line| line.write_str(if value { "true" } else { "false" }));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.field(
            field,
            |line| if value.is_finite() { write!(line, "{value:?}") } else { line.write_str("null") },
        );
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.field(field, |line| {
            line.write_char('"')?;
            write!(Escaped(line), "{value:?}")?;
            line.write_char('"')
        });
    }
}

fn write_text(line: &mut Writer<'_>, text: &str) -> fmt::Result {
    line.write_char('"')?;
    Escaped(line).write_str(text)?;
    line.write_char('"')
}

/// What is between the quotes of a JSON text (RFC 8259, section 7).
struct Escaped<'l, 'w>(&'l mut Writer<'w>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
            // Both borders are at one-byte characters.
            let (plain, escaped) = rest.split_at_checked(at).ok_or(fmt::Error)?;
            self.0.write_str(plain)?;
            let mut characters = escaped.chars();
            match characters.next() {
                Some('"') => self.0.write_str("\\\"")?,
                Some('\\') => self.0.write_str("\\\\")?,
                Some('\n') => self.0.write_str("\\n")?,
                Some(control) => write!(self.0, "\\u{:04x}", u32::from(control))?,
                None => {}
            }
            rest = characters.as_str();
        }
        self.0.write_str(rest)
    }
}

thread_local! {
    /// The last second of which the text was made, since 1970, and its text.
    static SECOND: RefCell<(u64, String)> = RefCell::default();
}

/// RFC 3339 in UTC with microseconds.
fn write_time(line: &mut Writer<'_>, time: SystemTime) -> fmt::Result {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != since.as_secs() || text.is_empty() {
            *second = since.as_secs();
            let second = i64::try_from(*second).ok().and_then(|second| Timestamp::from_second(second).ok());
            *text = second.unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%S").to_string();
        }
        line.write_str(text)
    })?;
    write!(line, ".{:06}Z", since.subsec_micros())
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
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
        let (to_ours, to_theirs) = (ours.clone(), theirs.clone());
        let layer = fmt::layer().event_format(JsonLine).with_writer(move || to_ours.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), &event);
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
            let mut line = String::new();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(micros);
            write_time(&mut Writer::new(&mut line), time).unwrap();
            assert_eq!(line, expected);
        }
    }
}
