//! Clauses name their actor: no clause of a comment or message in `src` has a bare relative clause as its subject.
//!
//! "Who waits too long is rejected" hides its actor; "a caller that waits too long is rejected" does not. A pattern
//! sees only how a clause begins: at the start of a sentence, and after `;`, `:` and `, and`.

use crate::{
    files::{report, sources},
    lexer::{Kind, pieces, tokens},
};

// The words that must not open a clause, by position.

const AT_START: [&str; 4] = ["who", "whoever", "what", "of"];
const AFTER_SEMICOLON: [&str; 3] = ["who", "whoever", "what"];
/// Without "what", because a list may name its parts: "two things: what happened, and what to do".
const AFTER_COLON_OR_AND: [&str; 2] = ["who", "whoever"];
/// The minimum length, in words, of what counts as a clause after ", and": "the limits, and who refused" only names two
/// things.
const WORDS_OF_A_CLAUSE: usize = 5;

#[test]
fn no_clause_opens_with_who_what_or_of() {
    let mut found = Vec::new();
    for file in sources("src") {
        for (text, line) in prose(&file.text) {
            for sentence in sentences(&text).into_iter().filter(|sentence| opens_without_actor(sentence)) {
                let what = "opens a clause with Who, What or Of: name the actor, see CONTRIBUTING.md";
                found.push(file.at(line, &format!("\"{sentence}\" {what}")));
            }
        }
    }
    report(&found);
}

#[test]
fn a_clause_without_an_actor_is_seen_wherever_it_stands() {
    for wrong in [
        "/// Who waits too long is rejected.\nfn f() {}",
        "//! Counts.\n//! What is cached costs\n//! no call.",
        "// Fresh. Whoever asks gets it.",
        "// Evicted first; what is left stays.",
        "// The rest: who asks later waits.",
        "// It waits, and who joins it waits as well.",
        "/// - What a list says.",
        "/// Of the calls the last one.",
        "const A: &str = \"what is here\";",
        "fn f() { g(\"{a}: cannot be read; what is there is kept\") }",
    ] {
        assert!(
            prose(wrong).iter().any(|(text, _)| sentences(text).iter().any(|s| opens_without_actor(s))),
            "{wrong}"
        );
    }
    for right in [
        "// Of today's calls, how many were made by other apps.",
        "// What if it fails?",
        "// Says who asked, and what it got: what happened, and what to do.",
        "// The limits, and who refused.",
        "/// `What is code` and\n/// ```\n/// Who(is)\n/// ```",
        "const A: &str = \"who\"; const B: &[u8] = b\"what is sent\";",
        "fn f(what: u8, of: u8) {}",
        "/// The caller\n/// who asked.",
    ] {
        let all: Vec<_> = prose(right).iter().flat_map(|(text, _)| sentences(text)).collect();
        assert!(!all.iter().any(|sentence| opens_without_actor(sentence)), "{right}: {all:?}");
    }
}

fn opens_without_actor(sentence: &str) -> bool {
    let lower = sentence.to_lowercase();
    let opens = |clause: &str, words: &[&str]| {
        clause
            .split(|letter: char| !letter.is_alphanumeric())
            .next()
            .is_some_and(|first| words.contains(&first))
    };
    let after = |separator: &str, words: &[&str], least: usize| {
        let mut clauses = lower.split(separator).skip(1);
        clauses.any(|clause| opens(clause, words) && clause.split(' ').count() >= least)
    };
    let is_question = lower.ends_with('?');
    // "Of ten calls, one failed" has its subject after the comma.
    let has_comma = lower.contains(", ");
    (!is_question && opens(&lower, &AT_START) && !(lower.starts_with("of ") && has_comma))
        || after("; ", &AFTER_SEMICOLON, 1)
        || after(": ", &AFTER_COLON_OR_AND, 1)
        || after(", and ", &AFTER_COLON_OR_AND, WORDS_OF_A_CLAUSE)
}

/// Paragraphs of comments, and strings that contain a space, with the lines on which they begin.
fn prose(source: &str) -> Vec<(String, usize)> {
    let mut found: Vec<(String, usize)> = Vec::new();
    // Whether the next comment continues the last paragraph, whether it is in a code block, and whether the next string
    // is a byte string.
    let (mut goes_on, mut is_code, mut is_of_bytes) = (false, false, false);
    for piece in pieces(source) {
        match piece.kind {
            Kind::Comment => {
                let line = piece.text.trim_start_matches(['/', '!', '*']).trim_end_matches(['/', '*']).trim();
                is_code ^= line.starts_with("```");
                let is_prose = !line.is_empty()
                    && !is_code
                    && !["|", "#", "```"].iter().any(|mark| line.starts_with(mark));
                match found.last_mut().filter(|_| goes_on && !line.starts_with("- ")) {
                    Some((paragraph, _)) if is_prose => *paragraph = format!("{paragraph} {line}"),
                    _ if is_prose => found.push((line.trim_start_matches("- ").to_owned(), piece.line)),
                    _ => {}
                }
                goes_on = is_prose;
            }
            Kind::Text => {
                let text = piece.text.trim_start_matches('r').trim_matches(['#', '"']);
                if text.contains(' ') && !is_of_bytes {
                    found.push((text.to_owned(), piece.line));
                }
                goes_on = false;
            }
            Kind::Character => goes_on = false,
            Kind::Code => goes_on &= piece.text.trim().is_empty() && piece.text.matches('\n').count() <= 1,
        }
        is_of_bytes =
            piece.kind == Kind::Code && tokens(piece.text).last().is_some_and(|last| last.text == "b");
    }
    found
}

/// Splits a paragraph into sentences. Code between backticks is replaced, because its words are not prose.
fn sentences(paragraph: &str) -> Vec<String> {
    let parts = paragraph.split('`').enumerate();
    let text: String = parts.map(|(number, part)| if number % 2 == 0 { part } else { "`…`" }).collect();
    let (mut found, mut rest) = (Vec::new(), text.as_str());
    while let Some(end) = [". ", "! ", "? "].iter().filter_map(|end| rest.find(end)).min() {
        found.push(in_one_line(&rest[..=end]));
        rest = &rest[end + 2..];
    }
    found.push(in_one_line(rest));
    found
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
