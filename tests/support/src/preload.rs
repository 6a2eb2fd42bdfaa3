//! A preloaded library between the service and the C library: see `preload.c`.

use std::{process::Command, sync::OnceLock};

use crate::service::program;

/// The command words that start the service with the library and with these variables for it.
pub fn with(variables: &[(&str, &str)]) -> Vec<String> {
    let variables = variables.iter().map(|(name, value)| format!("{name}={value}"));
    ["env".to_owned(), format!("LD_PRELOAD={}", library())].into_iter().chain(variables).collect()
}

/// The library's path; it is compiled once for all tests of a run.
fn library() -> &'static str {
    static LIBRARY: OnceLock<String> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let library = program().with_file_name("preload.so").to_str().unwrap().to_owned();
        let new = format!("{library}.{}", std::process::id());
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/preload.c");
        let flags = ["-Wall", "-Werror", "-shared", "-fPIC", "-o", &new, source, "-ldl"];
        let compiled = Command::new("cc").args(flags).status().expect("cc, which Rust links with, is here");
        assert!(compiled.success());
        // A service of another run may have loaded the existing one.
        std::fs::rename(new, &library).unwrap();
        library
    })
}
