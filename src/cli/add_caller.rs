//! `zoom-qos-proxy callers add`: a new caller's entry into the callers' file, and its key onto standard output, once.

use std::{
    io::{self, Write as _},
    num::NonZeroU32,
    path::PathBuf,
};

use clap::Args;
use zoom_qos_proxy::{
    callers::{AddError, Addition, Name, NewCaller, WEIGHTS},
    config::{Config, Problems},
};

/// What is asked for on the command line.
#[derive(Args)]
pub(crate) struct AddCaller {
    /// 1 to 64 of a-z, 0-9 and -; it is seen in logs and metrics.
    #[arg(value_parser = Name::parse)]
    name: Name,
    /// Its share of Zoom calls relative to the others who wait.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = weight)]
    weight: u32,
    /// The most Zoom calls that are made for it in any minute [default: no such limit].
    #[arg(long, value_name = "N")]
    calls_per_minute: Option<NonZeroU32>,
    /// The callers' file; made if there is none [default: callers.file of the configuration].
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Why no caller was added.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// The configuration does not say where the file is.
    #[error("{0}")]
    Configuration(#[from] Problems),
    /// The same.
    #[error("callers.file is not set; set it (QOS_PROXY__CALLERS__FILE), or say --file FILE")]
    NoFile,
    /// The file cannot take it.
    #[error("{0}")]
    File(#[from] AddError),
    /// The key could not be shown, and so the caller was not added.
    #[error("standard output: {0}; nothing was added")]
    Output(io::Error),
}

impl Refused {
    /// Whether what is configured is wrong, and trying again will not help.
    pub(crate) fn is_configuration(&self) -> bool {
        matches!(self, Self::Configuration(_) | Self::NoFile | Self::File(AddError::Broken { .. }))
    }
}

/// Adds the caller, and returns what to say about it. Its key is on standard output by then, and nothing else is.
pub(crate) fn run(asked: AddCaller, config_files: &[PathBuf]) -> Result<String, Refused> {
    let AddCaller { name, weight, calls_per_minute, file } = asked;
    let configured = || Config::callers_file_from_process(config_files);
    let file = file.map_or_else(configured, |file| Ok(Some(file)))?.ok_or(Refused::NoFile)?;
    let said = format!(
        "caller {name} is added to {}; a running service knows it within 5 s.\n\
         Its key, above on standard output, is kept nowhere and is not shown again.",
        file.display()
    );
    let addition = Addition::prepare(&file, &NewCaller { name, weight, calls_per_minute })?;
    let mut output = io::stdout().lock();
    writeln!(output, "{}", addition.key().expose()).and_then(|()| output.flush()).map_err(Refused::Output)?;
    addition.commit()?;
    Ok(said)
}

fn weight(text: &str) -> Result<u32, String> {
    let in_range = text.parse().ok().filter(|weight| WEIGHTS.contains(weight));
    in_range
        .ok_or_else(|| format!("a weight is a whole number from {} to {}", WEIGHTS.start(), WEIGHTS.end()))
}
