//! Rules of this repository that no compiler checks, tested on the text of the sources. Each failure says where, what,
//! and how to fix it.
//!
//! This file contains the tables and the rules that use them. Every other subject has a file in `tests/tidy`. The rules
//! see tokens, not meaning, so they miss a path that only a macro assembles.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

// `path` is needed because this file is a crate root. Without it, the compiler would look for `tests/clauses.rs`, which
// cargo would build as a separate test.
#[path = "tidy/clauses.rs"]
mod clauses;
#[path = "tidy/cycles.rs"]
mod cycles;
#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/files.rs"]
mod files;
#[path = "tidy/lexer.rs"]
mod lexer;
#[path = "tidy/names.rs"]
mod names;
#[path = "tidy/sizes.rs"]
mod sizes;
#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;

use files::{check, library_layers};
use source::{File, Named};

// ---- the rules ----

/// The modules that each module may import. A row covers a module of `src/lib.rs` and everything below it; `main` is the
/// binary. `a::b` allows only paths that begin with it, `*` allows all.
const MAY_IMPORT: [(&str, &[&str]); 30] = [
    ("main", &["cli"]),
    ("cli", &["telemetry", "config", "app", "callers", "zoom::try_credentials"]),
    ("app", &["*"]),
    // The server passes connections to the routes.
    ("server", &["http", "metrics"]),
    // `clean::Field` gives `/openapi.json` the names of the fields; `quota::QuotaStatus` fills the header `RateLimit`.
    (
        "http",
        &[
            "blocking",
            "fetcher",
            "callers",
            "cache",
            "snapshot",
            "meeting_id",
            "metrics",
            "failure",
            "hiding",
            "quota::QuotaStatus",
            "trace",
            "scheduler",
            "clean::Field",
            "view::snapshot_view",
            "view::known_fields",
            "view::redact",
            "view::rows",
            "view::select::Selection",
            "view::heatmap",
            "view::summary",
            "view::visible",
            "view::whole",
        ],
    ),
    (
        "fetcher",
        &[
            "callers",
            "quota",
            "scheduler",
            "zoom",
            "clean",
            "cache",
            "snapshot",
            "meeting_id",
            "metrics",
            "failure",
            "trace",
            "cluster",
            "supervisor",
            "blocking",
        ],
    ),
    ("scheduler", &["quota", "metrics", "failure", "snapshot::RefreshSample"]),
    // The replicas share one access token through `cluster`.
    (
        "zoom",
        &[
            "blocking",
            "egress",
            "quota::Permit",
            "snapshot",
            "meeting_id",
            "metrics",
            "failure",
            "regular_file",
            "cluster",
        ],
    ),
    ("quota", &["metrics", "failure", "atomic_file", "regular_file", "snapshot::RefreshSample", "cluster"]),
    ("supervisor", &[]),
    ("vocabulary", &[]),
    ("blocking", &[]),
    ("cache", &["snapshot", "meeting_id", "metrics", "failure"]),
    // Issuers of tokens are reached through the same proxies as the collector.
    (
        "callers",
        &[
            "metrics",
            "failure::CallerLimit",
            "atomic_file",
            "regular_file",
            "toml_document",
            "hiding",
            "egress",
        ],
    ),
    ("hiding", &[]),
    ("snapshot", &["meeting_id"]),
    ("cluster", &["snapshot", "metrics", "failure", "meeting_id"]),
    // `config` fills the `*Config` of each of these modules, so that none of them needs to import `config`.
    (
        "config",
        &[
            "server",
            "quota",
            "cache",
            "callers",
            "egress",
            "fetcher",
            "hiding",
            "regular_file",
            "cluster",
            "snapshot",
            "telemetry",
            "toml_document",
            "trace",
            "view::summary",
            "zoom",
        ],
    ),
    ("failure", &[]),
    ("clean", &["json"]),
    ("json", &[]),
    // `view` restores Zoom's form from the table of fields that the cleaner uses.
    (
        "view",
        &[
            "clean::Field",
            "clean::Key",
            "clean::Scope",
            "hiding",
            "json",
            "snapshot::Snapshot",
            "snapshot::ParticipantReader",
            "snapshot::SnapshotKey",
        ],
    ),
    ("meeting_id", &[]),
    ("metrics", &["failure"]),
    ("regular_file", &[]),
    ("atomic_file", &["regular_file"]),
    ("telemetry", &[]),
    ("toml_document", &[]),
    // Connections to the collector use the same proxies as those to Zoom.
    ("trace", &["egress"]),
    ("egress", &[]),
];

/// Imports that only some files of a module may make: the module, the import, and the prefix of the paths of those files.
const IMPORTED_ONLY_IN: [(&str, &str, &str); 1] = [("quota", "cluster", "src/quota/shared")];

/// Libraries that only the named modules may use, and why.
const STAYS_IN: [(&str, &[&str], &str); 12] = [
    ("actix_tls", &["zoom"], "awc's seam for connections; see zoom/transport"),
    ("actix_web", &["http", "server", "app"], "only http knows requests and responses"),
    ("actix_http", &["server"], "how bytes become requests is known in one place"),
    ("actix_server", &["server", "app"], "how connections are accepted is known in one place"),
    ("awc", &["zoom"], "its errors are neither Send nor Sync: translate them in zoom"),
    ("jsonwebtoken", &["callers"], "how tokens are verified is known in one place; see callers/oidc"),
    ("opentelemetry", &["trace"], "its current span belongs to a thread, but a request runs on two"),
    ("opentelemetry_sdk", &["trace"], "each module decides what its spans say, trace how they are made"),
    ("redis", &["cluster"], "whether Redis is available is known in one place"),
    ("std::env", &["config"], "config reads the environment once, and reports its problems"),
    (
        "tokio_rustls",
        &["zoom", "cluster"],
        "TLS is below the HTTP and Redis clients; see zoom/transport, cluster/wire",
    ),
    ("zoom_sim", &[], "the service knows no test double: it reaches the simulator by URL"),
];

/// Types that hold a secret in plain text; a type that contains one of these cannot derive `Debug` either.
const SECRET_TYPES: [&str; 11] = [
    "RememberedTokens",
    "BasicCredentials",
    "Proxy",
    "Redactor",
    "Secret",
    "TokenResponse",
    "CallerKey",
    "HidingKeys",
    "RecordCipher",
    "TokenRecord",
    "Address",
];
const SHOWS_ITSELF: [&str; 3] = ["Debug", "Display", "Serialize"];

// ---- the tests ----

#[test]
fn every_import_is_allowed_by_the_table() {
    check("src", |file, wrong| {
        for named in file.paths() {
            if let Some(inside) = &named.inside
                && !may_import(&file.layer, inside)
            {
                let (from, to) = (&file.layer, inside.join("::"));
                wrong.push(file.at(
                    named.line,
                    &format!("{from} may not import {to}: move the type, or pass the value in; the table is MAY_IMPORT in tests/tidy.rs"),
                ));
            }
        }
    });
}

#[test]
fn a_restricted_import_occurs_only_in_the_files_allowed() {
    check("src", |file, wrong| {
        for (module, imported, files) in IMPORTED_ONLY_IN {
            let is_elsewhere = file.layer == module && !file.path.starts_with(files);
            for named in file.paths().iter().filter(|_| is_elsewhere) {
                if named.inside.as_ref().is_some_and(|inside| starts_with(inside, imported)) {
                    wrong.push(file.at(
                        named.line,
                        &format!(
                            "only {files} imports {imported}: pass the value in, or move the code there"
                        ),
                    ));
                }
            }
        }
    });
}

#[test]
fn the_import_table_has_a_row_for_each_module_and_no_other() {
    let modules: BTreeSet<String> = library_layers().into_iter().chain(["main".to_owned()]).collect();
    let rows: BTreeSet<String> = MAY_IMPORT.iter().map(|(module, _)| (*module).to_owned()).collect();
    let without_row: Vec<_> = modules.difference(&rows).collect();
    let without_module: Vec<_> = rows.difference(&modules).collect();
    assert!(
        without_row.is_empty(),
        "add to MAY_IMPORT in tests/tidy.rs what they may import: {without_row:?}"
    );
    assert!(
        without_module.is_empty(),
        "src/lib.rs has no such module, remove it from MAY_IMPORT: {without_module:?}"
    );
}

#[test]
fn a_library_stays_in_the_modules_that_know_it() {
    check("src", |file, wrong| {
        for named in file.paths() {
            for (library, modules, reason) in STAYS_IN {
                let is_inside = modules.contains(&file.layer.as_str());
                if starts_with(&named.path, library) && !is_inside {
                    wrong.push(
                        file.at(named.line, &format!("{} does not use {library}: {reason}", file.layer)),
                    );
                }
            }
        }
    });
}

#[test]
fn the_simulator_shares_no_type_with_the_service() {
    check("zoom-sim", |file, wrong| {
        for named in file.paths().iter().filter(|named| starts_with(&named.path, "zoom_qos_proxy")) {
            wrong.push(
                file.at(
                    named.line,
                    "the simulator would share the service's mistakes: write a type of its own",
                ),
            );
        }
    });
}

#[test]
fn a_test_file_imports_from_no_other_test_file() {
    check("tests", |file, wrong| {
        let shares =
            |named: &Named| match named.path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                // A nested module may import from its own file.
                ["super", "*"] | [] => false,
                [first, ..] => ["crate", "super"].contains(first),
            };
        // All files of one of these folders are modules of one crate.
        if !file.path.starts_with("tests/support/") && !file.path.starts_with("tests/tidy/") {
            for named in file.paths().iter().filter(|named| shares(named)) {
                wrong.push(
                    file.at(
                        named.line,
                        "imports from another test file: move what both need to tests/support",
                    ),
                );
            }
        }
    });
}

#[test]
fn a_test_lets_time_pass_only_through_its_support_crate() {
    for folder in ["tests", "zoom-sim/tests"] {
        check(folder, |file, wrong| {
            for token in &file.tokens {
                let sleeps =
                    ["sleep", "sleep_until", "sleep_ms", "park_timeout"].contains(&token.text.as_str());
                if sleeps && file.path != "tests/support/src/wait.rs" {
                    let what = "sleeps: wait for a condition, or call `wait::pause` if the test is about time itself";
                    wrong.push(file.at(token.line, what));
                }
            }
        });
    }
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    check("", |file, wrong| {
        if !file.text.starts_with("//!") {
            wrong.push(
                file.at(1, "begins without `//!`: say what it does, and what it deliberately leaves out"),
            );
        }
    });
}

#[test]
fn a_folder_of_modules_has_its_file_beside_it() {
    check("", |file, wrong| {
        if file.path.ends_with("mod.rs") {
            wrong.push(file.at(1, "is a mod.rs: call it `folder.rs`, beside `folder/`"));
        }
    });
}

#[test]
fn a_lint_is_silenced_by_expect_with_its_reason() {
    check("", |file, wrong| {
        for (index, token) in file.tokens.iter().enumerate() {
            if token.text == "#" && (file.follows(index, "#[allow(") || file.follows(index, "#![allow(")) {
                wrong.push(file.at(
                    token.line,
                    "allows a lint permanently: write `#[expect(lint, reason = \"…\")]`, or obey it",
                ));
            }
        }
    });
}

#[test]
fn a_secret_cannot_be_printed() {
    let mut seen = BTreeSet::new();
    check("src", |file, wrong| {
        for (name, shown, line) in file.types_showing(&SHOWS_ITSELF) {
            if SECRET_TYPES.contains(&name.as_str()) {
                if let Some(by) = shown {
                    let what = format!(
                        "{name} holds a secret and has {by}: remove it, and print what is needed beside it"
                    );
                    wrong.push(file.at(line, &what));
                }
                seen.insert(name);
            }
        }
    });
    for name in SECRET_TYPES {
        assert!(
            seen.contains(name),
            "no type {name} in src/: put its new name into SECRET_TYPES in tests/tidy.rs"
        );
    }
}

#[test]
fn nothing_is_left_to_do_in_code() {
    check("", |file, wrong| {
        for (index, token) in file.tokens.iter().enumerate() {
            if ["todo", "unimplemented"].contains(&token.text.as_str()) && file.token(index + 1) == "!" {
                wrong.push(file.at(
                    token.line,
                    &format!("{}! panics when reached: write the code, or return an error", token.text),
                ));
            }
        }
    });
}

#[test]
fn an_import_is_seen_however_it_is_written() {
    for (source, expected) in [
        ("use crate::config::Config;", "config::Config"),
        (
            "pub(crate) use crate::{cache::Cache, config::{self, Config as C}};",
            "cache::Cache config config::Config",
        ),
        ("fn f() -> crate::config::Config { g() }", "config::Config"),
        ("fn f(a: Vec<crate::config::Config>) {}", "config::Config"),
        ("use super::Flight;", "http::Flight"),
        ("use super::super::config::Config;", "config::Config"),
        ("mod tests { use super::*; use super::super::super::config; }", "http::qos::* config"),
        ("fn f() { g() } use self::part::Part;", "http::qos::part::Part"),
        ("use zoom_qos_proxy::config;", "config"),
        ("// use crate::config;\n/* crate::config::A /* */ */ /// [`crate::config`]", ""),
        (r##"const A: &str = "crate::a::b"; const B: &str = r#"crate::"a::b"#;"##, ""),
        ("fn f<'a>(c: char) -> bool { c == '\"' } use crate::config; fn g() { b'\\'' }", "config"),
    ] {
        let file = File::new("src/http/qos.rs", source.to_owned(), "http");
        let seen: Vec<String> =
            file.paths().into_iter().filter_map(|named| Some(named.inside?.join("::"))).collect();
        assert_eq!(seen.join(" "), expected, "{source}");
    }
    assert!(may_import("zoom", &["quota".to_owned(), "Permit".to_owned()]));
    assert!(!may_import("zoom", &["quota".to_owned(), "Quota".to_owned()]));
    assert!(!may_import("http", &["*".to_owned()]));
}

fn may_import(layer: &str, path: &[String]) -> bool {
    let row = MAY_IMPORT.iter().find(|(from, _)| *from == layer);
    path.first().is_some_and(|first| first == layer)
        || row.is_some_and(|(_, to)| to.iter().any(|allowed| *allowed == "*" || starts_with(path, allowed)))
}

fn starts_with(path: &[String], prefix: &str) -> bool {
    let mut segments = path.iter();
    prefix.split("::").all(|wanted| segments.next().is_some_and(|segment| segment == wanted))
}
