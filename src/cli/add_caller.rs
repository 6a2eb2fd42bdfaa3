//! `callers add`: adds a caller, or one more key of a caller, to the callers' file, and prints the key once, alone
//! on standard output.

use std::{
    io::{self, Write as _},
    num::NonZeroU32,
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;

use super::{
    callers_file::{callers_file, refused},
    exit::{failed, print_error},
};
use crate::callers::{Addition, CallerName, NewCaller, WEIGHTS};

#[derive(Args)]
pub(super) struct AddCaller {
    /// 1 to 64 of A-Za-z0-9._-; appears in logs and metrics.
    #[arg(value_parser = CallerName::parse_new)]
    name: CallerName,
    /// Adds one more key to a caller of the file, so that its present key can be replaced without an interruption.
    #[arg(long, conflicts_with_all = ["weight", "calls_per_minute"])]
    rotate: bool,
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

/// Adds the caller or the key, and prints the key on standard output. On an error, reports it and returns the exit
/// code.
pub(super) fn run(arguments: AddCaller, config_files: &[PathBuf]) -> Result<(), ExitCode> {
    let AddCaller { name, rotate, weight, calls_per_minute, file } = arguments;
    let file = callers_file(file, config_files)?;
    let done = if rotate { "added a key for" } else { "added caller" };
    let message = format!(
        "{done} {name} to {}; a running service accepts its key within 5 s.\n\
         The key, printed above on standard output, is not stored and not shown again.",
        file.display()
    );
    let addition = if rotate {
        Addition::prepare_rotation(&file, &name)
    } else {
        Addition::prepare(&file, &NewCaller { name, weight, calls_per_minute })
    };
    let addition = addition.map_err(refused)?;
    let mut output = io::stdout().lock();
    writeln!(output, "{}", addition.key().expose())
        .and_then(|()| output.flush())
        .map_err(|error| failed(format_args!("standard output: {error}; the file was not changed")))?;
    addition.commit().map_err(refused)?;
    print_error(message);
    Ok(())
}

fn weight(text: &str) -> Result<u32, String> {
    let in_range = text.parse().ok().filter(|weight| WEIGHTS.contains(weight));
    in_range
        .ok_or_else(|| format!("a weight is a whole number from {} to {}", WEIGHTS.start(), WEIGHTS.end()))
}
