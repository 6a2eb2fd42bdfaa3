//! The `callers` commands; `callers list` and `callers remove` are here.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Subcommand};

use super::{
    add_caller::{self, AddCaller},
    callers_file::{callers_file, refused},
    exit::{failed, print_error, wrong_configuration},
};
use crate::callers::{self, CallerName, CallersFile, EditError};

#[derive(Subcommand)]
pub(super) enum CallersCommand {
    /// Generates a key for a new caller, prints it once on standard output, and appends its hash to the callers' file.
    Add(AddCaller),
    /// Lists the callers of the file, one per line, with their settings.
    List(ListCallers),
    /// Removes a caller with all its keys from the callers' file.
    Remove(RemoveCaller),
}

#[derive(Args)]
pub(super) struct ListCallers {
    /// The callers' file [default: callers.file of the configuration].
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct RemoveCaller {
    /// The caller's name in the file.
    #[arg(value_parser = CallerName::parse)]
    name: CallerName,
    /// The callers' file [default: callers.file of the configuration].
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(super) fn run(command: CallersCommand, config_files: &[PathBuf]) -> ExitCode {
    let done = match command {
        CallersCommand::Add(arguments) => add_caller::run(arguments, config_files),
        CallersCommand::List(ListCallers { file }) => list(file, config_files),
        CallersCommand::Remove(RemoveCaller { name, file }) => remove(&name, file, config_files),
    };
    done.err().unwrap_or(ExitCode::SUCCESS)
}

fn list(file: Option<PathBuf>, config_files: &[PathBuf]) -> Result<(), ExitCode> {
    let path = callers_file(file, config_files)?;
    let file =
        CallersFile::read(&path).map_err(|issues| wrong_configuration(EditError::Invalid(path, issues)))?;
    // print! would panic if standard output is full or closed.
    let mut output = io::stdout().lock();
    let printed = file.descriptions().try_for_each(|line| writeln!(output, "{line}"));
    printed.and_then(|()| output.flush()).map_err(|error| failed(format_args!("standard output: {error}")))
}

fn remove(name: &CallerName, file: Option<PathBuf>, config_files: &[PathBuf]) -> Result<(), ExitCode> {
    let path = callers_file(file, config_files)?;
    callers::remove(&path, name).map_err(refused)?;
    print_error(format_args!(
        "removed caller {name} from {}; a running service rejects its keys within 5 s.",
        path.display()
    ));
    Ok(())
}
