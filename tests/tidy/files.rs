//! The repository's files, and the reporting of violations.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::{lexer::tokens, source::File};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}:1: cannot be read: {error}"))
}

/// The files below a folder, as paths from the repository's root, without build output and hidden files.
pub(crate) fn files(folder: &str, extension: &str) -> Vec<String> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::from(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("the folder is there").flatten() {
            let (name, path) = (entry.file_name(), folder.join(entry.file_name()));
            let is_ours = name != "target" && !name.as_encoded_bytes().starts_with(b".");
            if entry.path().is_dir() && is_ours {
                folders.push(path);
            } else if is_ours && path.extension().is_some_and(|found| found == extension) {
                found.push(path.to_str().expect("file names are ASCII").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Each Rust file below a folder.
pub(crate) fn sources(folder: &str) -> Vec<File> {
    let (paths, layers) = (files(folder, "rs"), library_layers());
    assert!(!paths.is_empty(), "no Rust file below {folder}/: the check would check nothing");
    let source = |path: &String| {
        let top =
            path.strip_prefix("src/").and_then(|rest| rest.split(['/', '.']).next()).unwrap_or_default();
        let layer = if layers.contains(top) || top == "lib" { top } else { "main" };
        File::new(path, read(path), layer)
    };
    paths.iter().map(source).collect()
}

/// Checks each Rust file below a folder, and fails with all violations.
pub(crate) fn check(folder: &str, mut judge: impl FnMut(&File, &mut Vec<String>)) {
    let mut wrong = Vec::new();
    for file in sources(folder) {
        judge(&file, &mut wrong);
    }
    report(&wrong);
}

pub(crate) fn report(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// The modules that `src/lib.rs` declares.
pub(crate) fn library_layers() -> BTreeSet<String> {
    let tokens = tokens(&read("src/lib.rs"));
    tokens.windows(2).filter(|pair| pair[0].text == "mod").map(|pair| pair[1].text.clone()).collect()
}
