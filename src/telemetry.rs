//! The log: one line for each event, on standard output. A separate thread writes it, so that no request waits for a pipe.
//!
//! The code that logs an event is responsible for its content: no secret, no body, no participant's data.

mod json;
mod writer;

use std::{
    fmt::Debug,
    fs::File,
    io,
    os::fd::AsFd as _,
    sync::atomic::{AtomicBool, Ordering},
};

use tracing::{Event, Subscriber, field::Field};
use tracing_subscriber::{
    EnvFilter, Layer, fmt,
    layer::{Context, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

pub use self::writer::{DroppedLines, Logs};
use self::{json::JsonLayer, writer::NonBlockingWriter};

/// The log levels of libraries. More verbose levels of actix could print headers, and with them the access token.
/// `actix_server` repeats the service's line "listening" in several lines. `actix_http` logs a malformed request as an
/// error, although it is the peer's mistake. awc and rustls use the crate `log`, whose events are not collected.
const LIBRARIES: &str = "actix_http=warn,actix_server=warn,actix_tls=warn,actix_http::h1::dispatcher=off";

/// Whether the listeners have begun to stop.
static EXPECTS_LATE_CONNECTIONS: AtomicBool = AtomicBool::new(false);

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// One line for people.
    Text,
}

/// The settings of the log.
pub struct TelemetryConfig {
    /// The format of a line.
    pub log_format: LogFormat,
    /// The filter of events, as valid `EnvFilter` directives.
    pub log_level: String,
    /// Whether the line of a request names the meeting.
    pub log_meeting_ids: bool,
}

/// Starts logging for the whole process. Call it once.
///
/// # Errors
/// The filter is invalid, stdout cannot be duplicated, the log thread cannot be started, or logging was started before.
pub fn start(config: &TelemetryConfig) -> Result<Logs, Box<dyn std::error::Error + Send + Sync>> {
    let filter = EnvFilter::try_new(format!("{},{LIBRARIES}", config.log_level))?;
    // Rust's `stdout()` would make one system call for each line.
    let (writer, logs) = NonBlockingWriter::start(File::from(io::stdout().as_fd().try_clone_to_owned()?))?;
    let registry = tracing_subscriber::registry().with(filter).with(WithoutLateConnections);
    match config.log_format {
        LogFormat::Json => registry.with(JsonLayer(writer)).try_init()?,
        LogFormat::Text => registry.with(fmt::layer().with_ansi(false).with_writer(writer)).try_init()?,
    }
    // Logs only the location, because the message of a panic can contain anything, such as a participant's name.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "panic: this is a bug");
    }));
    Ok(logs)
}

/// Suppresses the log lines about connections that arrive while the listeners stop.
pub(crate) fn expect_late_connections() {
    EXPECTS_LATE_CONNECTIONS.store(true, Ordering::Relaxed);
}

/// Drops one kind of event. While actix-server stops, it still accepts connections, closes them, and logs an ERROR
/// for each.
struct WithoutLateConnections;

impl<S: Subscriber> Layer<S> for WithoutLateConnections {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        if !EXPECTS_LATE_CONNECTIONS.load(Ordering::Relaxed)
            || event.metadata().target() != "actix_server::accept"
        {
            return true;
        }
        let mut is_late_connection = false;
        event.record(&mut |field: &Field, value: &dyn Debug| {
            is_late_connection |= field.name() == "message" && format!("{value:?}") == "No workers";
        });
        !is_late_connection
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn late_connections_are_logged_only_until_the_listeners_stop() {
        struct Messages(mpsc::Sender<String>);
        impl<S: Subscriber> Layer<S> for Messages {
            fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
                event.record(&mut |_: &Field, value: &dyn Debug| self.0.send(format!("{value:?}")).unwrap());
            }
        }
        let (sender, messages) = mpsc::channel();
        let registry = tracing_subscriber::registry().with(WithoutLateConnections).with(Messages(sender));
        tracing::subscriber::with_default(registry, || {
            let log = || {
                tracing::error!(target: "actix_server::accept", "No workers");
                tracing::error!(target: "actix_server::accept", "Error accepting connection");
                tracing::error!("No workers");
            };
            log();
            expect_late_connections();
            log();
        });
        let all = ["No workers", "Error accepting connection", "No workers"];
        assert!(messages.try_iter().eq([&all[..], &all[1..]].concat()));
    }
}
