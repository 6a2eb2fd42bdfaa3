//! A library of our own between the service and the C library: see `preload.c`.

use std::{process::Command, sync::OnceLock};

use zoom_sim::Sim;

use crate::service::Service;

/// Starts the service with the library, and with these variables for it.
pub fn start(sim: &Sim, settings: &[(&str, &str)], variables: &[(&str, &str)]) -> Service {
    let mut by = vec!["env".to_owned(), format!("LD_PRELOAD={}", library())];
    by.extend(variables.iter().map(|(name, value)| format!("{name}={value}")));
    Service::start_by(sim, settings, &by.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Where the library is; it is compiled once for all tests of a run.
fn library() -> &'static str {
    static LIBRARY: OnceLock<&str> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let library = concat!(env!("CARGO_TARGET_TMPDIR"), "/preload.so");
        let new = format!("{library}.{}", std::process::id());
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/preload.c");
        let flags = ["-Wall", "-Werror", "-shared", "-fPIC", "-o", &new, source, "-ldl"];
        let compiled = Command::new("cc").args(flags).status().expect("cc, which Rust links with, is here");
        assert!(compiled.success());
        // A service of another run may have loaded the one that was there.
        std::fs::rename(new, library).unwrap();
        library
    })
}
