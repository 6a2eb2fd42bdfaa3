//! Checks the documents' relative links, and the changelog's section for this version.

use std::path::Path;

use crate::files::{files, read, report, root};

#[test]
fn every_relative_link_in_the_documents_leads_somewhere() {
    let mut wrong = Vec::new();
    for path in files("", "md") {
        let folder = Path::new(&path).parent().expect("a file is in a folder");
        for (line, link) in links(&read(&path)) {
            let target = match link.strip_prefix('/') {
                Some(from_root) => root().join(from_root),
                None => root().join(folder).join(&link),
            };
            if !target.exists() {
                wrong.push(format!("{path}:{line}: {link} does not exist: fix the link, or write the file"));
            }
        }
    }
    report(&wrong);
}

#[test]
fn the_changelog_has_a_section_for_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    let has_section = read("CHANGELOG.md")
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .any(|heading| heading.trim_start_matches('[').split([']', ' ']).next() == Some(version));
    assert!(
        has_section,
        "CHANGELOG.md:1: no section `## [{version}]`, the version in Cargo.toml: list its changes"
    );
}

/// The relative links of a Markdown document without their anchors, each with its line number.
fn links(text: &str) -> Vec<(usize, String)> {
    let (mut found, mut in_code) = (Vec::new(), false);
    for (number, line) in (1..).zip(text.lines()) {
        in_code ^= line.trim_start().starts_with("```");
        if in_code {
            continue;
        }
        // The pieces with odd indices are between backticks, so they are code.
        let prose: Vec<&str> = line.split('`').step_by(2).collect();
        let prose = prose.join("``");
        let inline = prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        let defined =
            prose.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target.trim());
        for target in inline.chain(defined) {
            let target = target.split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                found.push((number, target.to_owned()));
            }
        }
    }
    found
}
