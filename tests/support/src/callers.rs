//! Callers with keys, and the file that lists them.

use std::{fs, path::PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use zoom_sim::Sim;

use crate::{
    client::{Answer, request},
    service::Service,
};

/// The keys of the tests' callers. The service must never print them.
pub const KEY: &str = "zqp_Zebra-of-support-tools";
pub const OTHER_KEY: &str = "zqp_Zebra-of-bi";

/// The hash of a key, as `sha256sum` prints it.
pub fn sha256_hex(key: &str) -> String {
    Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An entry of the callers' file, followed by the lines of `more`.
pub fn entry(name: &str, key: &str, more: &str) -> String {
    let hash = sha256_hex(key);
    format!("[[caller]]\nname = \"{name}\"\nkey_sha256 = \"{hash}\"\n{more}\n")
}

/// The entries of two callers: `support-tools`, with the lines of `more`, and `bi`.
pub fn two_callers(more: &str) -> String {
    entry("support-tools", KEY, more) + &entry("bi", OTHER_KEY, "")
}

/// Writes a callers' file. Dropping the returned folder deletes it.
pub fn callers_file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("callers.toml");
    fs::write(&path, text).unwrap();
    (folder, path)
}

/// Starts the service with this callers' file and these settings.
pub fn start(sim: &Sim, text: &str, settings: &[(&str, &str)]) -> (Service, TempDir, PathBuf) {
    let (folder, path) = callers_file(text);
    let file = path.to_str().unwrap().to_owned();
    let settings: Vec<_> = settings.iter().copied().chain([("callers.file", file.as_str())]).collect();
    (Service::start(sim, &settings), folder, path)
}

/// Sends a `GET` with this caller's key.
pub fn get_as(service: &Service, key: &str, path: &str) -> Answer {
    request(service.addr, "GET", path, &[("X-Api-Key", key)])
}

/// The caller's entry in `/status`.
pub fn in_status(service: &Service, name: &str) -> Value {
    let status = service.ops_get("/status").json();
    let mut all = status["callers"].as_array().unwrap().iter();
    all.find(|caller| caller["name"] == name).unwrap_or_else(|| panic!("{name} in {status}")).clone()
}
