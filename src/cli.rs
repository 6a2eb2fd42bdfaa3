//! The command line: which command to run with which arguments, and what the exit codes mean.

mod add_caller;
mod check_config;
mod healthcheck;
mod serve;

use std::{fmt::Display, io::Write as _, path::PathBuf, process::ExitCode};

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
    CheckConfig,
    /// Checks the running service by its /readyz; for container images without a shell.
    Healthcheck {
        /// Checks this http:// URL instead, without reading the configuration; for a pod that tests a Service.
        #[arg(long, value_parser = healthcheck::plain_http)]
        url: Option<Url>,
    },
    /// Manages the callers' file.
    #[command(subcommand)]
    Callers(CallersCommand),
}

#[derive(Subcommand)]
enum CallersCommand {
    /// Generates a key for a new caller, prints it once on standard output, and appends its hash to the callers' file.
    Add(add_caller::AddCaller),
}

pub(crate) fn run() -> ExitCode {
    let CommandLine { config: files, command } = CommandLine::parse();
    match command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(&files),
        Command::CheckConfig => check_config::run(&files),
        Command::Healthcheck { url } => healthcheck::run(&files, url.as_ref()),
        Command::Callers(CallersCommand::Add(arguments)) => add_caller::run(arguments, &files),
    }
}

/// `EX_CONFIG` of sysexits.h: the configuration is wrong, and a restart will not help.
fn wrong_configuration(problem: impl Display) -> ExitCode {
    const EX_CONFIG: u8 = 78;
    print_error(problem);
    ExitCode::from(EX_CONFIG)
}

fn failed(reason: impl Display) -> ExitCode {
    print_error(reason);
    ExitCode::FAILURE
}

/// Writes a line to standard error, if possible. `eprintln!` would panic if standard error is full or closed.
fn print_error(message: impl Display) {
    drop(std::io::stderr().write_all(format!("{message}\n").as_bytes()));
}
