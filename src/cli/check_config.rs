//! `check-config`: prints the effective configuration without its secrets, or every problem in it.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use crate::config::Config;

use super::exit::{failed, print_error, wrong_configuration};

pub(super) fn run(files: &[PathBuf]) -> ExitCode {
    let (config, warnings) = match Config::from_process(files) {
        Ok(read) => read,
        Err(problems) => return wrong_configuration(problems),
    };
    for warning in warnings {
        print_error(format_args!("warning: {warning}"));
    }
    // print! would panic if standard output is full or closed.
    match io::stdout().write_all(config.effective.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(format_args!("standard output: {error}")),
    }
}
