//! Splits Rust source into pieces (code, comments, strings, characters) and the code into tokens.

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Code,
    Comment,
    /// A string, with its quotes.
    Text,
    Character,
}

pub(crate) struct Piece<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    /// The line on which the piece begins.
    pub(crate) line: usize,
}

#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

pub(crate) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut line, mut rest) = (Vec::new(), 1, text);
    while !rest.is_empty() {
        let (kind, length) = first_piece(rest);
        let (text, after) = rest.split_at(length);
        pieces.push(Piece { kind, text, line });
        line += text.matches('\n').count();
        rest = after;
    }
    pieces
}

/// The tokens of the code, without comments and strings.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for piece in pieces(text).into_iter().filter(|piece| piece.kind == Kind::Code) {
        let (mut line, mut rest) = (piece.line, piece.text);
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|next: char| !is_of_word(next)).unwrap_or(rest.len());
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
    }
    tokens
}

pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

fn first_piece(text: &str) -> (Kind, usize) {
    if let Some(found) = not_code(text, false) {
        return found;
    }
    let mut after_word = false;
    for (at, next) in text.char_indices() {
        if not_code(&text[at..], after_word).is_some() {
            return (Kind::Code, at);
        }
        after_word = is_of_word(next);
    }
    (Kind::Code, text.len())
}

/// The comment, string or character that begins here, and its length. Directly after a letter, a digit or `_`, `r"` does not
/// begin a raw string.
fn not_code(text: &str, after_word: bool) -> Option<(Kind, usize)> {
    if text.starts_with("//") {
        Some((Kind::Comment, text.find('\n').unwrap_or(text.len())))
    } else if text.starts_with("/*") {
        Some((Kind::Comment, length_of_comment(text)))
    } else if let Some(length) = length_of_raw_text(text).filter(|_| !after_word) {
        Some((Kind::Text, length))
    } else if text.starts_with('"') {
        Some((Kind::Text, length_of_quoted(text, '"')))
    } else if text.starts_with('\'') && is_character(text) {
        Some((Kind::Character, length_of_quoted(text, '\'')))
    } else {
        None
    }
}

/// The length of a block comment with those nested in it.
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

/// The length of a raw string such as `r"…"` or `br#"…"#`; `None` for anything else, such as the name `r#type`.
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

/// True for `'a'` and `'\n'`, false for the lifetime `'a`.
fn is_character(text: &str) -> bool {
    let mut after = text.chars().skip(1);
    matches!((after.next(), after.next()), (Some('\\'), _) | (Some(_), Some('\'')))
}
