//! Messages on standard error, and the exit codes of commands that fail.

use std::{fmt::Display, io::Write as _, process::ExitCode};

/// `EX_CONFIG` of sysexits.h: the configuration is wrong, so a restart alone does not help.
pub(super) fn wrong_configuration(problem: impl Display) -> ExitCode {
    const EX_CONFIG: u8 = 78;
    print_error(problem);
    ExitCode::from(EX_CONFIG)
}

pub(super) fn failed(reason: impl Display) -> ExitCode {
    print_error(reason);
    ExitCode::FAILURE
}

/// Writes a line to standard error, if possible. `eprintln!` would panic if standard error is full or closed.
pub(super) fn print_error(message: impl Display) {
    drop(std::io::stderr().write_all(format!("{message}\n").as_bytes()));
}
