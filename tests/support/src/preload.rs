//! A preloaded library that replaces functions of the C library: see `preload.c`.

use std::{process::Command, sync::OnceLock};

use crate::service::program;

/// The command for `Service::start_by` that preloads the library and sets these environment variables for it.
pub fn with(variables: &[(&str, &str)]) -> Vec<String> {
    let variables = variables.iter().map(|(name, value)| format!("{name}={value}"));
    ["env".to_owned(), format!("LD_PRELOAD={}", library())].into_iter().chain(variables).collect()
}

/// Returns the library's path. Each test process compiles it once.
fn library() -> &'static str {
    static LIBRARY: OnceLock<String> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let library = program().with_file_name("preload.so").to_str().unwrap().to_owned();
        let new = format!("{library}.{}", std::process::id());
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/preload.c");
        let flags = ["-Wall", "-Werror", "-shared", "-fPIC", "-o", &new, source, "-ldl"];
        let compiled =
            Command::new("cc").args(flags).status().expect("cc, which Rust needs for linking, is installed");
        assert!(compiled.success());
        // A running service may have loaded the existing file, so it is replaced rather than overwritten.
        std::fs::rename(new, &library).unwrap();
        library
    })
}
