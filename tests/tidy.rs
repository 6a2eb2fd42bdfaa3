//! The house rules that no compiler checks, read off the sources as text. Each failure says where, what, and what to do.
//!
//! It reads tokens, not meaning: a path that only a macro puts together is not seen.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

// ---- the rules ----

/// Who may import whom: the one statement of it. A room is a module of `src/lib.rs` with everything below it; `main`
/// is what belongs to the binary. `a::b` lets in that item only, `*` everything.
const MAY_IMPORT: [(&str, &[&str]); 24] = [
    ("main", &["telemetry", "config", "app", "callers"]),
    ("app", &["*"]),
    // It gives connections to the routes.
    ("server", &["http", "metrics"]),
    // From the cleaner only its field names, for `/openapi.json`; from the quota only what it publishes, for `RateLimit`.
    (
        "http",
        &[
            "fetcher",
            "callers",
            "cache",
            "snapshot",
            "meeting_id",
            "metrics",
            "failure",
            "quota::QuotaStatus",
            "trace",
            "clean::Field",
        ],
    ),
    (
        "fetcher",
        &[
            "callers",
            "quota",
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
    // Replicas share what Zoom gives to all of them: the access token.
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
    ("quota", &["failure", "metrics", "atomic_file", "regular_file", "snapshot::RefreshSample"]),
    ("supervisor", &[]),
    ("blocking", &[]),
    ("cache", &["snapshot", "meeting_id", "metrics", "failure"]),
    ("callers", &["metrics", "atomic_file", "regular_file", "toml_document"]),
    ("snapshot", &["meeting_id"]),
    ("cluster", &["snapshot", "metrics", "failure", "meeting_id"]),
    // It fills the small `*Config` that each part owns, so that no part needs to import it.
    (
        "config",
        &[
            "server",
            "quota",
            "cache",
            "callers",
            "egress",
            "fetcher",
            "regular_file",
            "cluster",
            "snapshot",
            "telemetry",
            "toml_document",
            "trace",
            "zoom",
        ],
    ),
    ("failure", &[]),
    ("clean", &[]),
    ("meeting_id", &[]),
    ("metrics", &["failure"]),
    ("regular_file", &[]),
    ("atomic_file", &["regular_file"]),
    ("telemetry", &[]),
    ("toml_document", &[]),
    // The way to the collector leads through the same proxies as the way to Zoom.
    ("trace", &["egress"]),
    ("egress", &[]),
];

/// Libraries whose types stop at the border of the rooms named, and why.
const STAYS_IN: [(&str, &[&str], &str); 11] = [
    ("actix_tls", &["zoom"], "awc's seam for connections; see zoom/transport"),
    ("actix_web", &["http", "server", "app", "main"], "requests and responses are the business of http"),
    ("actix_http", &["server"], "how bytes become requests is known in one place"),
    ("actix_server", &["server", "app"], "how connections are accepted is known in one place"),
    ("awc", &["zoom"], "its errors are neither Send nor Sync: translate them in zoom"),
    ("opentelemetry", &["trace"], "its current span is a thread's, and a request is at home on two"),
    ("opentelemetry_sdk", &["trace"], "what a span may say is decided in the rooms, how it is made in trace"),
    ("redis", &["cluster"], "whether Redis is there or not is known in one place"),
    ("std::env", &["config"], "config reads the environment once, and reports what is wrong in it"),
    (
        "tokio_rustls",
        &["zoom", "cluster"],
        "TLS is made beneath the libraries; see zoom/transport, cluster/wire",
    ),
    ("zoom_sim", &[], "the service knows no test double: it meets the simulator through a URL"),
];

/// A file longer than this has two subjects. The aim is 250; this leaves room for one that is long by nature.
const LONGEST_FILE: usize = 400;

/// Types that hold a secret as plain text; what holds one of these cannot derive `Debug` either.
const SECRET_TYPES: [&str; 8] =
    ["Proxy", "Redactor", "Secret", "Granted", "CallerKey", "Sealer", "SharedToken", "Address"];
const SHOWS_ITSELF: [&str; 3] = ["Debug", "Display", "Serialize"];

/// Names for "everything else"; a module is named for what it does.
const NAMES_OF_NOTHING: [&str; 6] = ["util", "utils", "helper", "helpers", "manager", "managers"];

// ---- the tests ----

#[test]
fn every_import_is_in_the_table_of_who_may_import_whom() {
    check("src", |file, wrong| {
        for named in file.paths() {
            if let Some(room) = &named.room
                && !may_import(&file.room, room)
            {
                let (from, to) = (&file.room, room.join("::"));
                wrong.push(file.at(
                    named.line,
                    &format!("{from} may not import {to}: move the type, or pass the value in; the table is MAY_IMPORT in tests/tidy.rs"),
                ));
            }
        }
    });
}

#[test]
fn the_table_of_who_may_import_whom_has_a_row_for_each_room_and_no_other() {
    let rooms: BTreeSet<String> = library_rooms().into_iter().chain(["main".to_owned()]).collect();
    let rows: BTreeSet<String> = MAY_IMPORT.iter().map(|(room, _)| (*room).to_owned()).collect();
    let without_row: Vec<_> = rooms.difference(&rows).collect();
    let without_room: Vec<_> = rows.difference(&rooms).collect();
    assert!(
        without_row.is_empty(),
        "add to MAY_IMPORT in tests/tidy.rs what they may import: {without_row:?}"
    );
    assert!(
        without_room.is_empty(),
        "src/lib.rs has no such module, remove it from MAY_IMPORT: {without_room:?}"
    );
}

#[test]
fn a_library_stays_in_the_rooms_that_know_it() {
    check("src", |file, wrong| {
        for named in file.paths() {
            for (library, rooms, reason) in STAYS_IN {
                let inside = rooms.contains(&file.room.as_str());
                if named.path.join("::").starts_with(library) && starts_with(&named.path, library) && !inside
                {
                    wrong.push(
                        file.at(named.line, &format!("{} does not use {library}: {reason}", file.room)),
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
            wrong
                .push(file.at(named.line, "the simulator would share the service's mistakes: write it anew"));
        }
    });
}

#[test]
fn a_test_file_imports_from_no_other_test_file() {
    check("tests", |file, wrong| {
        let shares =
            |named: &Named| match named.path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                // What a module inside the file takes from the file.
                ["super", "*"] | [] => false,
                [first, ..] => ["crate", "super"].contains(first),
            };
        if !file.path.starts_with("tests/support/") {
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
fn every_file_opens_with_what_it_is_for() {
    check("", |file, wrong| {
        if !file.text.starts_with("//!") {
            wrong.push(
                file.at(1, "begins without `//!`: say what it does, and what it deliberately does not"),
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
                wrong.push(
                    file.at(
                        token.line,
                        "allows a lint for ever: `#[expect(lint, reason = \"…\")]`, or obey it",
                    ),
                );
            }
        }
    });
}

#[test]
fn no_file_outgrows_its_subject() {
    for folder in ["src", "zoom-sim/src"] {
        check(folder, |file, wrong| {
            let lines = file.text.lines().count() - file.lines_of_tests();
            if lines > LONGEST_FILE {
                let what = format!(
                    "has {lines} lines without its tests, {LONGEST_FILE} are the limit: give a part of it its own file"
                );
                wrong.push(file.at(1, &what));
            }
        });
    }
}

#[test]
fn a_secret_cannot_be_printed() {
    let mut seen = BTreeSet::new();
    check("src", |file, wrong| {
        for (name, shown, line) in file.types() {
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
                    &format!("{}! panics when it is reached: write it, or return an error", token.text),
                ));
            }
        }
    });
}

#[test]
fn a_module_is_named_for_what_it_does() {
    check("", |file, wrong| {
        let inside = file
            .tokens
            .windows(2)
            .filter(|pair| pair[0].text == "mod")
            .map(|pair| (&pair[1].text, pair[1].line));
        let stem = file.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
        for (name, line) in inside.chain([(&stem, 1)]) {
            if NAMES_OF_NOTHING.contains(&name.as_str()) {
                wrong.push(file.at(
                    line,
                    &format!("a module called {name} collects everything: name it for what it does"),
                ));
            }
        }
    });
}

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
                wrong.push(format!("{path}:{line}: nothing is at {link}: mend the link, or write the file"));
            }
        }
    }
    report(&wrong);
}

#[test]
fn the_changelog_tells_of_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    let told = read("CHANGELOG.md")
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .any(|heading| heading.trim_start_matches('[').split([']', ' ']).next() == Some(version));
    assert!(
        told,
        "CHANGELOG.md:1: no section `## [{version}]`, the version in Cargo.toml: say what it brings"
    );
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
            file.paths().into_iter().filter_map(|named| Some(named.room?.join("::"))).collect();
        assert_eq!(seen.join(" "), expected, "{source}");
    }
    assert!(may_import("zoom", &["quota".to_owned(), "Permit".to_owned()]));
    assert!(!may_import("zoom", &["quota".to_owned(), "Budget".to_owned()]));
    assert!(!may_import("http", &["*".to_owned()]));
}

// ---- reading ----

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}:1: cannot be read: {error}"))
}

/// The files below a folder of the repository, as paths from its root; what was built or is hidden is not ours.
fn files(folder: &str, extension: &str) -> Vec<String> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::from(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).expect("the folder is there").flatten() {
            let (name, path) = (entry.file_name(), folder.join(entry.file_name()));
            let is_ours = name != "target" && !name.as_encoded_bytes().starts_with(b".");
            if entry.path().is_dir() && is_ours {
                folders.push(path);
            } else if is_ours && path.extension().is_some_and(|found| found == extension) {
                found.push(path.to_str().expect("our names are ASCII").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Judges each Rust file below a folder, and fails with everything that is wrong.
fn check(folder: &str, mut judge: impl FnMut(&File, &mut Vec<String>)) {
    let (paths, rooms, mut wrong) = (files(folder, "rs"), library_rooms(), Vec::new());
    assert!(!paths.is_empty(), "no Rust file below {folder}/: the check would check nothing");
    for path in paths {
        let top =
            path.strip_prefix("src/").and_then(|rest| rest.split(['/', '.']).next()).unwrap_or_default();
        let room = if rooms.contains(top) || top == "lib" { top } else { "main" };
        judge(&File::new(&path, read(&path), room), &mut wrong);
    }
    report(&wrong);
}

fn report(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// The modules that `src/lib.rs` declares.
fn library_rooms() -> BTreeSet<String> {
    let tokens = tokens(&read("src/lib.rs"));
    tokens.windows(2).filter(|pair| pair[0].text == "mod").map(|pair| pair[1].text.clone()).collect()
}

fn may_import(room: &str, path: &[String]) -> bool {
    let row = MAY_IMPORT.iter().find(|(from, _)| *from == room);
    path.first().is_some_and(|first| first == room)
        || row.is_some_and(|(_, to)| to.iter().any(|allowed| *allowed == "*" || starts_with(path, allowed)))
}

fn starts_with(path: &[String], prefix: &str) -> bool {
    let mut segments = path.iter();
    prefix.split("::").all(|wanted| segments.next().is_some_and(|segment| segment == wanted))
}

/// Relative links of a Markdown text with their lines, without their anchors.
fn links(text: &str) -> Vec<(usize, String)> {
    let (mut found, mut in_code) = (Vec::new(), false);
    for (number, line) in (1..).zip(text.lines()) {
        in_code ^= line.trim_start().starts_with("```");
        if in_code {
            continue;
        }
        // Every other piece between backticks is code.
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

/// A Rust file as tokens, without its comments and texts.
struct File {
    path: String,
    room: String,
    text: String,
    tokens: Vec<Token>,
}

#[derive(Clone)]
struct Token {
    text: String,
    line: usize,
}

/// A path that the code names.
struct Named {
    /// As written, or in full from a `use`.
    path: Vec<String>,
    /// From the library's root, if it lies in there.
    room: Option<Vec<String>>,
    line: usize,
}

impl File {
    fn new(path: &str, text: String, room: &str) -> Self {
        Self { path: path.to_owned(), room: room.to_owned(), tokens: tokens(&text), text }
    }

    fn at(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }

    fn token(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |token| &token.text)
    }

    /// Whether the tokens from `index` on spell `text`, which has no spaces between its tokens.
    fn follows(&self, index: usize, text: &str) -> bool {
        (index..).zip(tokens(text)).all(|(index, token)| self.token(index) == token.text)
    }

    /// The index of the brace that closes the one at `open`.
    fn closing(&self, open: usize) -> usize {
        let mut depth = 0_usize;
        for index in open..self.tokens.len() {
            match self.token(index) {
                "{" => depth += 1,
                "}" if depth == 1 => return index,
                "}" => depth -= 1,
                _ => {}
            }
        }
        self.tokens.len() - 1
    }

    fn lines_of_tests(&self) -> usize {
        let begins = (0..self.tokens.len()).filter(|index| self.follows(*index, "#[cfg(test)]"));
        let lines = begins.filter_map(|begin| {
            let mut index = begin;
            while self.token(index) == "#" {
                index = (index..self.tokens.len()).find(|end| self.token(*end) == "]")? + 1;
            }
            let is_inline = self.token(index) == "mod" && self.token(index + 2) == "{";
            is_inline.then(|| self.tokens[self.closing(index + 2)].line - self.tokens[begin].line + 1)
        });
        lines.sum()
    }

    /// Each type that is defined or given a trait here: its name, what makes it printable, and where.
    fn types(&self) -> Vec<(String, Option<String>, usize)> {
        let (mut found, mut derived) = (Vec::new(), None);
        let shows = |word: &str| SHOWS_ITSELF.contains(&word).then(|| word.to_owned());
        for (index, token) in self.tokens.iter().enumerate() {
            match token.text.as_str() {
                "derive" => {
                    let names = self.tokens[index..].iter().take_while(|token| token.text != ")");
                    derived = derived.or(names.into_iter().find_map(|token| shows(&token.text)));
                }
                "struct" | "enum" => {
                    found.push((self.token(index + 1).to_owned(), derived.take(), token.line));
                }
                "for" if index > 0 => {
                    found.push((self.token(index + 1).to_owned(), shows(self.token(index - 1)), token.line));
                }
                // Any other item: what was derived before it was not for the next type.
                "fn" | "union" => derived = None,
                _ => {}
            }
        }
        found
    }

    /// Every path of two segments or more, and every path of a `use`.
    fn paths(&self) -> Vec<Named> {
        let mut named = Vec::new();
        let mut ends: BTreeMap<usize, usize> = BTreeMap::new();
        let mut module = self.module();
        let mut index = 0;
        while index < self.tokens.len() {
            let line = self.tokens[index].line;
            match self.token(index) {
                "mod" if self.token(index + 2) == "{" => {
                    module.push(self.token(index + 1).to_owned());
                    *ends.entry(self.closing(index + 2)).or_default() += 1;
                    index += 3;
                    continue;
                }
                "use" if self.token(index + 1) != "<" => {
                    let end = (index..self.tokens.len()).find(|end| self.token(*end) == ";").unwrap_or(index);
                    let mut at = index + 1;
                    self.tree(&mut at, end, &[], &mut |path, line| {
                        named.push(self.named(path, line, &module));
                    });
                    index = end;
                }
                first if is_name(first) && self.token(index + 1) == "::" => {
                    let mut path = vec![first.to_owned()];
                    while self.token(index + 1) == "::" && is_name(self.token(index + 2)) {
                        path.push(self.token(index + 2).to_owned());
                        index += 2;
                    }
                    named.push(self.named(path, line, &module));
                }
                _ => {
                    for _ in 0..ends.remove(&index).unwrap_or_default() {
                        module.pop();
                    }
                }
            }
            index += 1;
        }
        named
    }

    /// One branch of a `use`: `a::b`, `a::{…}`, `a::*`, `a as b`.
    fn tree(
        &self,
        at: &mut usize,
        end: usize,
        before: &[String],
        found: &mut impl FnMut(Vec<String>, usize),
    ) {
        let (mut path, line) = (before.to_vec(), self.tokens[*at].line);
        while *at < end {
            match self.token(*at) {
                "::" => *at += 1,
                "{" => {
                    *at += 1;
                    while *at < end && self.token(*at) != "}" {
                        self.tree(at, end, &path, found);
                        if self.token(*at) == "," {
                            *at += 1;
                        }
                    }
                    *at += 1;
                    return;
                }
                "as" => *at += 2,
                "self" if !before.is_empty() => *at += 1,
                name if is_name(name) || name == "*" => {
                    path.push(name.to_owned());
                    *at += 1;
                }
                _ => break,
            }
        }
        found(path, line);
    }

    fn named(&self, path: Vec<String>, line: usize, module: &[String]) -> Named {
        let (mut base, mut rest) = (None, path.as_slice());
        while let [first, after @ ..] = rest {
            base = match (first.as_str(), base) {
                ("crate" | "zoom_qos_proxy", None) => Some(Vec::new()),
                ("self", None) => Some(module.to_vec()),
                ("super", above) => {
                    let mut above = above.unwrap_or_else(|| module.to_vec());
                    above.pop();
                    Some(above)
                }
                (_, base) => {
                    let room = base.map(|base| [base.as_slice(), rest].concat());
                    return Named { room: self.unless_in_binary(room, &path), path, line };
                }
            };
            rest = after;
        }
        Named { room: self.unless_in_binary(base, &path), path, line }
    }

    /// In the binary, `crate` is the binary.
    fn unless_in_binary(&self, room: Option<Vec<String>>, path: &[String]) -> Option<Vec<String>> {
        room.filter(|_| self.room != "main" || path.first().is_some_and(|first| first == "zoom_qos_proxy"))
    }

    /// `src/http/qos.rs` is the module `http::qos`.
    fn module(&self) -> Vec<String> {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        inside.split('/').filter(|part| *part != "lib" && *part != "main").map(str::to_owned).collect()
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

fn tokens(text: &str) -> Vec<Token> {
    let code = without_comments_and_texts(text);
    let (mut tokens, mut line, mut rest) = (Vec::new(), 1, code.as_str());
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|next: char| !next.is_alphanumeric() && next != '_').unwrap_or(rest.len());
        let length = match word {
            0 if rest.starts_with("::") => 2,
            0 => first.len_utf8(),
            length => length,
        };
        let (token, after) = rest.split_at(length);
        if first == '\n' {
            line += 1;
        } else if !first.is_whitespace() {
            tokens.push(Token { text: token.to_owned(), line });
        }
        rest = after;
    }
    tokens
}

/// The same text on the same lines, with a space for each comment, string and character.
fn without_comments_and_texts(text: &str) -> String {
    let (mut code, mut rest, mut after_word) = (String::with_capacity(text.len()), text, false);
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            length_of_comment(rest)
        } else if let Some(length) = length_of_raw_text(rest).filter(|_| !after_word) {
            length
        } else if first == '"' {
            length_of_quoted(rest, '"')
        } else if first == '\'' && is_character(rest) {
            length_of_quoted(rest, '\'')
        } else {
            code.push(first);
            after_word = first.is_alphanumeric() || first == '_';
            rest = &rest[first.len_utf8()..];
            continue;
        };
        let (hidden, after) = rest.split_at(length);
        code.push(' ');
        code.extend(hidden.chars().filter(|hidden| *hidden == '\n'));
        (rest, after_word) = (after, false);
    }
    code
}

/// Block comments nest.
fn length_of_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let here = &text.as_bytes()[at..];
        let opens = here.starts_with(b"/*");
        let closes = here.starts_with(b"*/");
        depth = depth + usize::from(opens) - usize::from(closes);
        at += if opens || closes { 2 } else { 1 };
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// `r"…"`, `br#"…"#` and the like; `r#name` is none.
fn length_of_raw_text(text: &str) -> Option<usize> {
    let inner =
        text.strip_prefix("br").or_else(|| text.strip_prefix("cr")).or_else(|| text.strip_prefix('r'))?;
    let hashes = inner.len() - inner.trim_start_matches('#').len();
    let quoted = inner[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let before = text.len() - quoted.len();
    Some(quoted.find(&end).map_or(text.len(), |at| before + at + end.len()))
}

fn length_of_quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, next) in text.char_indices().skip(1) {
        if !escaped && next == quote {
            return at + 1;
        }
        escaped = !escaped && next == '\\';
    }
    text.len()
}

/// `'a'` and `'\n'`, but not the lifetime `'a`.
fn is_character(text: &str) -> bool {
    let mut after = text.chars().skip(1);
    matches!((after.next(), after.next()), (Some('\\'), _) | (Some(_), Some('\'')))
}
