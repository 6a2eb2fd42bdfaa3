//! Reads `[callers]`, the callers' file and `[ops]`: which callers the service serves, and which key purges require.

use std::{net::SocketAddr, path::PathBuf};

use super::{
    reader::Reader,
    rules::text::{file_path, hidden_fields, purge_key_hash},
};
use crate::{
    callers::{CallersFile, Issue, OperatorsKey},
    egress::EnvironmentProxies,
    hiding::HiddenFields,
};

const CALLERS_FILE: &str = "callers.file";

/// Reads the path of the callers' file, which need not exist.
pub(super) fn callers_path(reader: &mut Reader) -> Option<PathBuf> {
    reader.optional(CALLERS_FILE, file_path)
}

/// Reads the fields that are hidden from the anonymous caller.
pub(super) fn anonymous_hide(reader: &mut Reader) -> HiddenFields {
    const KEY: &str = "callers.anonymous_hide";
    let hidden = reader.optional(KEY, hidden_fields).unwrap_or_default();
    if !hidden.is_empty() && reader.is_set(CALLERS_FILE) {
        reader.warn(KEY, "has no effect with callers.file; set hide for the callers in that file");
    }
    hidden
}

/// Reads `callers.file` and the file that it names, and reports the problems in that file.
pub(super) fn callers(
    reader: &mut Reader,
    proxies: &EnvironmentProxies,
    listen: SocketAddr,
) -> Option<CallersFile> {
    let path = callers_path(reader);
    if !reader.is_set(CALLERS_FILE) && !listen.ip().is_loopback() {
        let message = format!(
            "is not set: everybody who can reach {listen} sees all participants; set it, or listen on 127.0.0.1"
        );
        reader.warn(CALLERS_FILE, message);
    }
    let path = path?;
    if reader.skip_missing_file(CALLERS_FILE, &path) {
        return None;
    }
    match CallersFile::read(&path) {
        Ok(file) => {
            reader.annotate(CALLERS_FILE, &format!("callers: {}", file.count()));
            if let Some(message) = file.warning() {
                reader.warn(CALLERS_FILE, message);
            }
            if reader.checks_issuer_files {
                check_issuer_files(reader, &file);
            }
            Some(file.with_proxies(proxies.clone()))
        }
        Err(issues) => {
            for Issue { line, message } in issues {
                match line {
                    Some(line) => reader.reject_line(&path, line, message),
                    None => reader.reject(CALLERS_FILE, format!("the file {message}")),
                }
            }
            None
        }
    }
}

fn check_issuer_files(reader: &mut Reader, file: &CallersFile) {
    for (path, problem) in file.unusable_files() {
        if reader.may_skip(path) {
            reader.warn(CALLERS_FILE, problem);
        } else {
            reader.reject(CALLERS_FILE, problem);
        }
    }
}

/// Reads `[ops]`. Reads the file with the hash once, so that a wrong mount is reported at start.
pub(super) fn operators_key(reader: &mut Reader) -> Option<OperatorsKey> {
    const HASH: &str = "ops.key_sha256";
    const FILE: &str = "ops.key_sha256_file";
    let hash = reader.optional(HASH, purge_key_hash).map(OperatorsKey::Hash);
    let file = reader.file_instead_of(HASH, FILE, |path| OperatorsKey::File(path).hash().map(drop));
    hash.or(file.map(OperatorsKey::File))
}
