//! `check-config`: prints the effective configuration without its secrets, or the problems in it.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use crate::{config::Config, zoom::try_credentials};
use clap::Args;

use super::exit::{failed, print_error, wrong_configuration};

#[derive(Args)]
pub(super) struct CheckConfig {
    /// Only warns of files of secrets, CAs, callers and issuers that do not exist; for a check where they are not mounted.
    #[arg(long)]
    allow_missing_files: bool,
    /// Also requests one access token from Zoom. Fails with exit code 1 if Zoom refuses it or cannot be reached.
    #[arg(long, conflicts_with = "allow_missing_files")]
    access_token: bool,
}

pub(super) fn run(arguments: &CheckConfig, files: &[PathBuf]) -> ExitCode {
    let (config, warnings) = match Config::check_process(files, arguments.allow_missing_files) {
        Ok(read) => read,
        Err(problems) => return wrong_configuration(problems),
    };
    for warning in warnings {
        print_error(format_args!("warning: {warning}"));
    }
    // print! would panic if standard output is full or closed.
    if let Err(error) = io::stdout().write_all(config.effective.as_bytes()) {
        return failed(format_args!("standard output: {error}"));
    }
    if arguments.access_token {
        if let Err(reason) = actix_rt::System::new().block_on(try_credentials(&config.zoom)) {
            return failed(format_args!("no access token: {reason}"));
        }
        print_error("Zoom accepts the credentials: it returned an access token");
    }
    ExitCode::SUCCESS
}
