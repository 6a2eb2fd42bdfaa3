//! Rules for the names of modules, types and tests.

use std::collections::BTreeMap;

use crate::{
    files::{check, report, sources},
    source::File,
};

/// Names of modules that say nothing about the contents.
const NAMES_OF_NOTHING: [&str; 6] = ["util", "utils", "helper", "helpers", "manager", "managers"];
const WORDS_OF_A_TEST: usize = 12;

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
fn a_type_name_is_defined_once_in_the_crate() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in sources("src").iter().filter(|file| !file.is_of_tests()) {
        for (name, line) in file.without_tests().items(&["struct", "enum", "union", "trait", "type"]) {
            places.entry(name).or_default().push(format!("{}:{line}", file.path));
        }
    }
    let twice = places.into_iter().filter(|(_, places)| places.len() > 1);
    let found = twice.map(|(name, places)| {
        format!("{}: {name} is defined more than once: name each for what it is", places.join(", "))
    });
    report(&found.collect::<Vec<_>>());
}

#[test]
fn a_type_is_found_inside_a_macro_but_not_inside_a_function() {
    let source = "vocabulary! { pub enum A { B = \"b\" } } fn f() { struct C; } macro_rules! d { () => { struct E; } } struct F;";
    let items = File::new("src/a.rs", source.to_owned(), "a").items(&["struct", "enum"]);
    assert_eq!(items.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), ["A", "F"]);
}

#[test]
fn the_name_of_a_test_has_at_most_twelve_words() {
    check("", |file, wrong| {
        for (name, line) in file.tests() {
            let words = name.split('_').filter(|word| !word.is_empty()).count();
            if words > WORDS_OF_A_TEST {
                let what =
                    format!("the name of a test has {words} words, {WORDS_OF_A_TEST} are the limit: {name}");
                wrong.push(file.at(line, &what));
            }
        }
    });
}

#[test]
fn the_name_of_a_test_begins_with_a_subject() {
    check("", |file, wrong| {
        for (name, line) in file.tests() {
            if name.starts_with("who_") || name.starts_with("what_") {
                wrong.push(file.at(line, &format!("name the subject of the test's claim: {name}")));
            }
        }
    });
}
