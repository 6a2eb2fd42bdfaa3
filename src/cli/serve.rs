//! `serve`: runs the service until a signal stops it or a part of it fails.

use std::{
    path::PathBuf,
    process::{self, ExitCode},
};

use crate::{
    app::{App, RunError},
    config::Config,
    telemetry::{self, DroppedLines},
};
use tokio::signal::unix::{SignalKind, signal};

use super::exit::{failed, print_error, wrong_configuration};

/// `EX_SOFTWARE` of sysexits.h: a long-lived task ended unexpectedly. A restart may help.
const EX_SOFTWARE: u8 = 70;
const FAILED: u8 = 1;

#[expect(clippy::exit, clippy::disallowed_methods, reason = "the remaining tasks may never end")]
pub(super) fn run(files: &[PathBuf]) -> ExitCode {
    let (config, warnings) = match Config::from_process(files) {
        Ok(read) => read,
        Err(problems) => return wrong_configuration(problems),
    };
    let logs = match telemetry::start(&config.telemetry) {
        Ok(logs) => logs,
        Err(error) => return failed(format_args!("cannot start logging: {error}")),
    };
    for warning in warnings {
        tracing::warn!(%warning, "configuration");
    }
    let system = actix_rt::System::new();
    let code = system.block_on(serve(config, logs.dropped()));
    if code == EX_SOFTWARE {
        // `exit` runs no destructors, so this drop writes the last log lines.
        drop(logs);
        process::exit(code.into());
    }
    ExitCode::from(code)
}

/// Runs the service. Returns the exit code.
async fn serve(config: Config, dropped: DroppedLines) -> u8 {
    let (mut terminate, mut interrupt) =
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
            (Err(error), _) | (_, Err(error)) => {
                print_error(format_args!("cannot receive signals: {error}"));
                return FAILED;
            }
        };
    let app = match App::bind(config) {
        Ok(app) => app,
        Err(error) => {
            print_error(&error);
            return FAILED;
        }
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let run = app.run(async { drop(stopped.await) }, Some(dropped));
    let interrupted = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        drop(stop);
        // A second Ctrl-C stops the service immediately. A second SIGTERM, which some supervisors send, still lets
        // requests finish.
        interrupt.recv().await;
    };
    tokio::select! {
        ended = run => match ended {
            Ok(()) => 0,
            Err(RunError::TaskEnded(task)) => {
                tracing::error!(task, "a task ended unexpectedly; exiting so that the service is restarted");
                EX_SOFTWARE
            }
            Err(error @ RunError::NoThread(_)) => {
                print_error(&error);
                FAILED
            }
        },
        () = interrupted => {
            tracing::warn!("interrupted while stopping; exiting at once");
            FAILED
        }
    }
}
