//! Violations that existed when their rule was introduced. Each list may only shrink.
//!
//! A list is a file of `tests/tidy/known`, one violation a line. An unlisted violation fails.

use std::collections::{BTreeMap, BTreeSet};

use crate::files::report;

/// Fails on each violation that is not in the list. `found` maps the listed name to place and advice.
#[expect(clippy::print_stdout, reason = "an outdated entry is reported, but fails nothing")]
pub(crate) fn judge(list: &str, listed: &str, found: BTreeMap<String, String>) {
    let listed: BTreeSet<&str> = listed.lines().filter(|line| !line.is_empty()).collect();
    for gone in listed.iter().filter(|line| !found.contains_key(**line)) {
        println!("tests/tidy/known/{list}.txt: no longer wrong, remove it: {gone}");
    }
    let new = found.into_iter().filter(|(name, _)| !listed.contains(name.as_str()));
    report(&new.map(|(_, what)| what).collect::<Vec<_>>());
}
