//! Parses the command line, and runs the command that it names.

mod add_caller;
mod callers;
mod callers_file;
mod check_config;
mod exit;
mod healthcheck;
mod serve;
mod sleep;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use url::Url;

/// Cached, cleaned Zoom meeting QoS for every team, within one account's rate limits.
#[derive(Parser)]
#[command(
    version,
    after_help = "Every key of the configuration can also be set by the environment: \
    server.listen is QOS_PROXY__SERVER__LISTEN. `check-config` shows all keys with their values and origins."
)]
struct CommandLine {
    /// A configuration file in TOML; repeatable, later files win.
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
    CheckConfig(check_config::CheckConfig),
    /// Checks the running service by its /readyz; for container images without a shell.
    Healthcheck {
        /// Checks this http:// URL instead, without reading the configuration; for a pod that tests a Service.
        #[arg(long, value_parser = healthcheck::plain_http)]
        url: Option<Url>,
    },
    /// Waits and exits; for an init container.
    Sleep {
        #[arg(value_parser = sleep::duration)]
        duration: Duration,
    },
    /// Manages the callers' file.
    #[command(subcommand)]
    Callers(callers::CallersCommand),
}

/// Runs the command that the arguments name. Returns the exit code.
pub fn run() -> ExitCode {
    let CommandLine { config: files, command } = CommandLine::parse();
    match command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(&files),
        Command::CheckConfig(arguments) => check_config::run(&arguments, &files),
        Command::Healthcheck { url } => healthcheck::run(&files, url.as_ref()),
        Command::Sleep { duration } => sleep::run(duration),
        Command::Callers(command) => callers::run(command, &files),
    }
}
