//! The command line: what to run, with which configuration, and how the process ends.

mod add_caller;
mod healthcheck;

use std::{
    fmt::Display,
    io::Write as _,
    path::PathBuf,
    process::{self, ExitCode},
};

use clap::{Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};
use url::Url;
use zoom_qos_proxy::{
    app::{App, RunError},
    config::{Config, Warning},
    telemetry::{self, DroppedLines},
};

/// `EX_CONFIG` of sysexits.h: something is wrong with the configuration, and starting again will not help.
const WRONG_CONFIGURATION: u8 = 78;

/// `EX_SOFTWARE` of sysexits.h: a part of the service has ended that must not; starting again may help.
const BROKEN: u8 = 70;
/// Any other failure.
const FAILED: u8 = 1;

/// Cached, cleaned Zoom meeting QoS for every team, within one account's rate limits.
#[derive(Parser)]
#[command(
    version,
    after_help = "Every key of the configuration can also be set by the environment: \
    server.listen is QOS_PROXY__SERVER__LISTEN. `check-config` shows all keys with their values and origins."
)]
struct CommandLine {
    /// A TOML file with configuration; of several the later wins.
    #[arg(long, value_name = "FILE", global = true)]
    config: Vec<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the service (the default).
    Serve,
    /// Prints the effective configuration without its secrets, or every problem in it.
    CheckConfig,
    /// Asks the running service's own /readyz; for container images without a shell.
    Healthcheck {
        /// Asks this http:// URL instead, and needs no configuration; for a pod that tests a Service.
        #[arg(long, value_parser = healthcheck::plain_http)]
        url: Option<Url>,
    },
    /// Who may ask: the callers' file.
    #[command(subcommand)]
    Callers(CallersCommand),
}

#[derive(Subcommand)]
enum CallersCommand {
    /// Makes a key for a new caller, shows it once on standard output, and appends its hash to the callers' file.
    Add(add_caller::AddCaller),
}

fn main() -> ExitCode {
    let CommandLine { config: files, command } = CommandLine::parse();
    match command.unwrap_or(Command::Serve) {
        Command::Serve => configured(&files, serve),
        Command::CheckConfig => configured(&files, check_config),
        Command::Healthcheck { url } => healthcheck(&files, url.as_ref()),
        // A callers' file may be wanted before there is a whole configuration.
        Command::Callers(CallersCommand::Add(asked)) => add_caller(asked, &files),
    }
}

/// Reads the configuration and goes on with it; or prints what is wrong with it, and ends like that.
fn configured(files: &[PathBuf], then: impl FnOnce(Config, &[Warning]) -> ExitCode) -> ExitCode {
    match Config::from_process(files) {
        Ok((config, warnings)) => then(config, &warnings),
        Err(problems) => {
            say(&problems);
            ExitCode::from(WRONG_CONFIGURATION)
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "one of the ends of `configured`")]
fn check_config(config: Config, warnings: &[Warning]) -> ExitCode {
    for warning in warnings {
        say(format_args!("warning: {warning}"));
    }
    // print! panics when standard output is full or gone.
    match std::io::stdout().write_all(config.effective().as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Has two results, whatever is wrong.
fn healthcheck(files: &[PathBuf], url: Option<&Url>) -> ExitCode {
    let not_ready = |reason| format!("not ready: {reason}");
    let asked = match url {
        Some(url) => healthcheck::ask_url(url).map_err(not_ready),
        None => Config::ops_listen_from_process(files)
            .map_err(|problems| problems.to_string())
            .and_then(|at| healthcheck::ask(at).map_err(not_ready)),
    };
    match asked {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            say(&reason);
            ExitCode::FAILURE
        }
    }
}

fn add_caller(asked: add_caller::AddCaller, files: &[PathBuf]) -> ExitCode {
    match add_caller::run(asked, files) {
        Ok(said) => {
            say(&said);
            ExitCode::SUCCESS
        }
        Err(refused) => {
            say(&refused);
            if refused.is_configuration() { ExitCode::from(WRONG_CONFIGURATION) } else { ExitCode::FAILURE }
        }
    }
}

#[expect(clippy::exit, clippy::disallowed_methods, reason = "what still runs may never end by itself")]
fn serve(config: Config, warnings: &[Warning]) -> ExitCode {
    let logs = match telemetry::start(&config.telemetry) {
        Ok(logs) => logs,
        Err(error) => {
            say(format_args!("the log cannot be started: {error}"));
            return ExitCode::FAILURE;
        }
    };
    for warning in warnings {
        tracing::warn!(%warning, "configuration");
    }
    let system = actix_rt::System::new();
    let code = system.block_on(serve_until_stopped(config, logs.dropped.clone()));
    if code == BROKEN {
        // Has the last lines written.
        drop(logs);
        process::exit(code.into());
    }
    ExitCode::from(code)
}

/// Gives the exit code.
async fn serve_until_stopped(config: Config, dropped: DroppedLines) -> u8 {
    let (mut terminate, mut interrupt) =
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
            (Err(error), _) | (_, Err(error)) => {
                say(format_args!("signals cannot be received: {error}"));
                return FAILED;
            }
        };
    let app = match App::bind(config) {
        Ok(app) => app,
        Err(error) => {
            say(&error);
            return FAILED;
        }
    };
    let (asked_to_stop, stop) = tokio::sync::oneshot::channel::<()>();
    let run = app.run(async { drop(stop.await) }, Some(dropped));
    let insisted = async {
        asked(&mut terminate, &mut interrupt).await;
        drop(asked_to_stop);
        // Who presses Ctrl-C again means it. A supervisor that repeats SIGTERM still wants requests finished.
        interrupt.recv().await;
    };
    tokio::select! {
        ended = run => match ended {
            Ok(()) => 0,
            Err(RunError::TaskEnded(task)) => {
                tracing::error!(task, "a task ended that must not: the process ends, to be started again");
                BROKEN
            }
            Err(error @ RunError::NoThread(_)) => {
                say(&error);
                FAILED
            }
        },
        () = insisted => {
            tracing::warn!("interrupted while stopping: stopped at once");
            FAILED
        }
    }
}

async fn asked(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Writes a line to standard error. When that is full or gone, the exit code says it alone: eprintln! would panic.
fn say(what: impl Display) {
    std::io::stderr().write_all(format!("{what}\n").as_bytes()).ok();
}
