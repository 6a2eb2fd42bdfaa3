//! Logs: one line per event, to standard output, written by a thread of its own so that no request waits for a pipe.
//!
//! What may be in a line is decided where it is made: no secret, no body, nothing of a participant.

mod json;
mod lines;

use std::{fs::File, io, os::fd::AsFd as _};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

pub use self::lines::DroppedLines;
use self::{
    json::JsonLines,
    lines::{Lines, Writer},
};

/// Libraries whose finer levels could print headers, and so the access token, and one that tells at every start, in seven
/// lines, what our own line "listening" says. awc and rustls are not here: they log through another crate, to nobody.
const WARNINGS_ONLY_FROM: [&str; 3] = ["actix_http", "actix_server", "actix_tls"];

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// One readable line.
    Text,
}

/// What is logged, and how it looks.
pub struct TelemetryConfig {
    /// The look of a line.
    pub log_format: LogFormat,
    /// An `EnvFilter` directive, already checked.
    pub log_level: String,
}

/// Writes what is left when it is dropped: keep it until the end of `main`.
#[must_use = "the last lines are lost if this is dropped early"]
pub struct Logs {
    _writer: Writer,
    /// Counts lines that were lost: standard output was too slow, or could not be written to.
    pub dropped: DroppedLines,
}

/// Starts logging for the whole process. To be called once.
///
/// # Errors
/// When the filter does not parse, or logging was started before.
pub fn start(config: &TelemetryConfig) -> Result<Logs, Box<dyn std::error::Error + Send + Sync>> {
    let mut filter = EnvFilter::try_new(&config.log_level)?;
    // A request that is none is its sender's affair: actix-http calls it an error of ours.
    filter = filter.add_directive("actix_http::h1::dispatcher=off".parse()?);
    for library in WARNINGS_ONLY_FROM {
        filter = filter.add_directive(format!("{library}=warn").parse()?);
    }
    // Not `stdout()`, which would cut what is written at once into lines again.
    let (lines, writer) = Lines::to(File::from(io::stdout().as_fd().try_clone_to_owned()?))?;
    let dropped = lines.dropped();
    let registry = tracing_subscriber::registry().with(filter);
    match config.log_format {
        LogFormat::Json => registry.with(JsonLines(lines)).try_init()?,
        LogFormat::Text => registry.with(fmt::layer().with_ansi(false).with_writer(lines)).try_init()?,
    }
    // The message of a panic can hold anything, a participant's name too: only the place is logged.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "panic: a bug of this service");
    }));
    Ok(Logs { _writer: writer, dropped })
}
