//! `sleep`: waits, for an init container of the chart. The image contains no other program that can wait.

use std::{process::ExitCode, time::Duration};

use tokio::signal::unix::{SignalKind, signal};

use super::exit::{failed, print_error};

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write a number and its unit, such as 40s"))
}

/// Fails if SIGTERM ends the wait. Linux ignores that signal for the first process of a container unless it has a handler.
pub(super) fn run(duration: Duration) -> ExitCode {
    actix_rt::System::new().block_on(async {
        let mut terminate = match signal(SignalKind::terminate()) {
            Ok(terminate) => terminate,
            Err(error) => return failed(format_args!("cannot receive signals: {error}")),
        };
        print_error(format_args!("waiting for {}", humantime::format_duration(duration)));
        tokio::select! {
            () = tokio::time::sleep(duration) => ExitCode::SUCCESS,
            _ = terminate.recv() => failed("stopped while waiting"),
        }
    })
}
