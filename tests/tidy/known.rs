//! Violations that existed when their rule was introduced. Each list may only shrink.
//!
//! A list is a file of `tests/tidy/known`, one violation a line. What is not listed fails.

use std::collections::{BTreeMap, BTreeSet};

use crate::files::report;

/// Fails on each violation that the list does not have. `found`: under its name in the list, where it is and what to do.
#[expect(clippy::print_stdout, reason = "a list that is too long fails nobody's branch")]
pub(crate) fn judge(list: &str, listed: &str, found: BTreeMap<String, String>) {
    let listed: BTreeSet<&str> = listed.lines().filter(|line| !line.is_empty()).collect();
    for gone in listed.iter().filter(|line| !found.contains_key(**line)) {
        println!("tests/tidy/known/{list}.txt: no longer wrong, remove it: {gone}");
    }
    let new = found.into_iter().filter(|(name, _)| !listed.contains(name.as_str()));
    report(&new.map(|(_, what)| what).collect::<Vec<_>>());
}
