//! Finds the file that the `callers` commands read and change, and reports their errors.

use std::{path::PathBuf, process::ExitCode};

use super::exit::{failed, wrong_configuration};
use crate::{callers::EditError, config::Config};

/// Returns the file that the command line names, or else the file that the configuration names.
pub(super) fn callers_file(file: Option<PathBuf>, config_files: &[PathBuf]) -> Result<PathBuf, ExitCode> {
    let configured = || Config::callers_file_from_process(config_files).map_err(wrong_configuration);
    file.map_or_else(configured, |file| Ok(Some(file)))?.ok_or_else(|| {
        wrong_configuration("callers.file is not set; set it (QOS_PROXY__CALLERS__FILE), or use --file FILE")
    })
}

pub(super) fn refused(error: EditError) -> ExitCode {
    match error {
        EditError::Invalid(..) => wrong_configuration(error),
        _ => failed(error),
    }
}
