//! Edits entries in the text of the callers' file. The rest of the text, including comments, stays as it is, apart from
//! empty lines beside the entry. Pure.

use std::{fmt::Write as _, ops::Range};

use toml::{
    Spanned,
    de::{DeArray, DeTable},
};

use super::{caller::CallerName, key::Digest, parser::CallerEntry};

/// Appends an entry to the text.
pub(super) fn with_caller(mut text: String, entry: &CallerEntry) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    if !text.is_empty() {
        text.push('\n');
    }
    let CallerEntry { name, key_sha256, weight, calls_per_minute, .. } = entry;
    let hashes: Vec<_> = key_sha256.iter().map(hex::encode).collect();
    let hashes = hashes.join("\", \"");
    // Writing to a String cannot fail.
    _ = write!(text, "[[caller]]\nname = \"{name}\"\nkey_sha256 = \"{hashes}\"\nweight = {weight}\n");
    if let Some(limit) = calls_per_minute {
        _ = writeln!(text, "calls_per_minute = {limit}");
    }
    text
}

/// Adds the hash of one more key to a caller. Returns `None` if the text has no valid `[[caller]]` of this name.
pub(super) fn with_next_key(text: &str, name: &CallerName, digest: &Digest) -> Option<String> {
    let document = DeTable::parse(text).ok()?;
    let found = find(&document, name)?;
    let next = format!("\"{}\"", hex::encode(digest));
    let Some(value) = found.table.get("key_sha256") else {
        return Some(spliced(text, end_of_line(text, found.name_end), &format!("\nkey_sha256 = {next}")));
    };
    if let Some(hashes) = value.get_ref().as_array() {
        // The last element may be followed by a comma and by comments.
        return Some(spliced(text, hashes.last()?.span().end, &format!(", {next}")));
    }
    let listed = spliced(text, value.span().end, &format!(", {next}]"));
    Some(spliced(&listed, value.span().start, "["))
}

/// Removes the entry of a caller, from its `[[caller]]` to the end of its last line. The comments above and below it stay,
/// because they may belong to others. Returns `None` if the text has no valid `[[caller]]` of this name.
pub(super) fn without_caller(text: &str, name: &CallerName) -> Option<String> {
    let document = DeTable::parse(text).ok()?;
    let CallerTable { header, table, .. } = find(&document, name)?;
    let last = table.iter().map(|(_, value)| value.span().end).max()?;
    let start = text.get(..header.start)?.rfind('\n').map_or(0, |newline| newline + 1);
    let end = (end_of_line(text, last) + 1).min(text.len());
    let (before, after) = (text.get(..start)?, text.get(end..)?);
    // Removes the empty lines below the entry if there are empty lines above it, or if the text begins with it.
    let after =
        if before.is_empty() || before.ends_with("\n\n") { after.trim_start_matches('\n') } else { after };
    Some([before, after].concat())
}

/// A `[[caller]]` in the text.
struct CallerTable<'d, 'a> {
    header: Range<usize>,
    table: &'d DeTable<'a>,
    name_end: usize,
}

fn find<'d, 'a>(document: &'d Spanned<DeTable<'a>>, name: &CallerName) -> Option<CallerTable<'d, 'a>> {
    let tables: &DeArray<'_> = document.get_ref().get("caller")?.get_ref().as_array()?;
    tables.iter().find_map(|item| {
        let table = item.get_ref().as_table()?;
        let found = table.get("name").filter(|found| found.get_ref().as_str() == Some(name.as_str()))?;
        Some(CallerTable { header: item.span(), table, name_end: found.span().end })
    })
}

fn end_of_line(text: &str, from: usize) -> usize {
    text.get(from..).and_then(|rest| rest.find('\n')).map_or(text.len(), |length| from + length)
}

fn spliced(text: &str, at: usize, more: &str) -> String {
    let mut text = text.to_owned();
    text.insert_str(at, more);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> CallerName {
        CallerName::parse(text).unwrap()
    }

    const DIGEST: Digest = [0xab; 32];

    fn rotated(text: &str) -> String {
        let text = with_next_key(text, &name("a"), &DIGEST).unwrap();
        text.replace(&hex::encode(DIGEST), "NEXT")
    }

    #[test]
    fn a_key_is_added_to_each_form_of_the_list() {
        for (before, after) in [
            (r#"key_sha256 = "x" # mine"#, r#"key_sha256 = ["x", "NEXT"] # mine"#),
            (r#"key_sha256 = ["x"]"#, r#"key_sha256 = ["x", "NEXT"]"#),
            (
                "key_sha256 = [\n  'x', # one\n  'y', # two\n]",
                "key_sha256 = [\n  'x', # one\n  'y', \"NEXT\", # two\n]",
            ),
        ] {
            let around = |keys: &str| {
                format!(
                    "# top\n[[caller]]\nname = 'b'\n[[caller]]\n{keys}\nname = 'a'\nnew = 1 # unknown\n[[issuer]]\n"
                )
            };
            assert_eq!(rotated(&around(before)), around(after));
        }
        let text = "[[caller]]\nname = \"a\" # n\nsubject = \"s\"\n";
        assert_eq!(rotated(text), "[[caller]]\nname = \"a\" # n\nkey_sha256 = \"NEXT\"\nsubject = \"s\"\n");
    }

    #[test]
    fn a_removed_caller_leaves_the_comments_around_it() {
        for (before, after) in [
            ("# top\n\n[[caller]]\nname = 'a' # a\nweight = 1 # w", "# top\n\n"),
            ("[[caller]]\nname = 'a'\n\n# b's\n[[caller]]\nname = 'b'\n", "# b's\n[[caller]]\nname = 'b'\n"),
            (
                "[[caller]]\nname = 'b'\n# a's\n[[caller]] # a\nname = 'a'\nkey_sha256 = [\n'x', # x\n]\n# end\n",
                "[[caller]]\nname = 'b'\n# a's\n# end\n",
            ),
            (
                "[[issuer]]\nname = 'i'\n\n[[caller]]\nweight = 2\nname = 'a'\n\n[[caller]]\nname = 'b'\n",
                "[[issuer]]\nname = 'i'\n\n[[caller]]\nname = 'b'\n",
            ),
        ] {
            assert_eq!(without_caller(before, &name("a")).as_deref(), Some(after));
        }
    }

    #[test]
    fn an_unknown_name_changes_nothing() {
        let text = "[[caller]]\nname = 'a'\n";
        assert_eq!(without_caller(text, &name("b")), None);
        assert_eq!(with_next_key(text, &name("b"), &DIGEST), None);
    }
}
