//! Limits the lengths of files, because a long file has more than one subject. Clippy checks functions
//! (`too_many_lines`).

use crate::files::{check, report, sources};

/// Limits in lines, without tests.
const LONG: usize = 250;
const LONGEST: usize = 400;
/// The maximum number of files with more than `LONG` lines. It may only shrink.
const LONG_FILES: usize = 8;

#[test]
fn no_file_is_longer_than_400_lines() {
    for folder in ["src", "zoom-sim/src"] {
        check(folder, |file, wrong| {
            let lines = file.text.lines().count() - file.lines_of_tests();
            if lines > LONGEST && !file.is_of_tests() {
                let what = format!(
                    "has {lines} lines without its tests, {LONGEST} are the limit: give a part of it its own file"
                );
                wrong.push(file.at(1, &what));
            }
        });
    }
}

#[test]
fn few_files_are_longer_than_250_lines() {
    let mut long = Vec::new();
    for file in sources("src").into_iter().filter(|file| !file.is_of_tests()) {
        let lines = file.text.lines().count() - file.lines_of_tests();
        if lines > LONG {
            let what = format!(
                "has {lines} lines without its tests; {LONG_FILES} files may have more than {LONG}: give a part of it its own file"
            );
            long.push(file.at(1, &what));
        }
    }
    if long.len() > LONG_FILES {
        report(&long);
    }
}
