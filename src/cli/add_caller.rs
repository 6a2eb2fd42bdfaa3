//! `callers add`: appends a new caller to the callers' file and prints its key once, alone on standard output.

use std::{
    io::{self, Write as _},
    num::NonZeroU32,
    path::PathBuf,
    process::ExitCode,
};

use crate::{
    callers::{AddError, Addition, CallerName, NewCaller, WEIGHTS},
    config::Config,
};
use clap::Args;

use super::exit::{failed, print_error, wrong_configuration};

#[derive(Args)]
pub(super) struct AddCaller {
    /// 1 to 64 of A-Za-z0-9._-; appears in logs and metrics.
    #[arg(value_parser = CallerName::parse)]
    name: CallerName,
    /// Its share of the Zoom calls relative to the other waiting callers.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = weight)]
    weight: u32,
    /// The maximum number of Zoom calls for it in any minute [default: no limit].
    #[arg(long, value_name = "N")]
    calls_per_minute: Option<NonZeroU32>,
    /// The callers' file, created if it does not exist [default: callers.file of the configuration].
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(super) fn run(arguments: AddCaller, config_files: &[PathBuf]) -> ExitCode {
    add(arguments, config_files).err().unwrap_or(ExitCode::SUCCESS)
}

/// Prints the key on standard output. An error is reported, and its exit code returned.
fn add(arguments: AddCaller, config_files: &[PathBuf]) -> Result<(), ExitCode> {
    let AddCaller { name, weight, calls_per_minute, file } = arguments;
    let configured = || Config::callers_file_from_process(config_files).map_err(wrong_configuration);
    let file = file.map_or_else(configured, |file| Ok(Some(file)))?.ok_or_else(|| {
        wrong_configuration("callers.file is not set; set it (QOS_PROXY__CALLERS__FILE), or use --file FILE")
    })?;
    let message = format!(
        "added caller {name} to {}; a running service accepts its key within 5 s.\n\
         The key, printed above on standard output, is not stored and not shown again.",
        file.display()
    );
    let addition = Addition::prepare(&file, &NewCaller { name, weight, calls_per_minute }).map_err(
        |error| match error {
            AddError::Invalid(..) => wrong_configuration(error),
            _ => failed(error),
        },
    )?;
    let mut output = io::stdout().lock();
    writeln!(output, "{}", addition.key().expose())
        .and_then(|()| output.flush())
        .map_err(|error| failed(format_args!("standard output: {error}; no caller was added")))?;
    addition.commit().map_err(failed)?;
    print_error(message);
    Ok(())
}

fn weight(text: &str) -> Result<u32, String> {
    let in_range = text.parse().ok().filter(|weight| WEIGHTS.contains(weight));
    in_range
        .ok_or_else(|| format!("a weight is a whole number from {} to {}", WEIGHTS.start(), WEIGHTS.end()))
}
