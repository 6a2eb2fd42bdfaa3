//! Writes JSON text that stays on one line, even for programs that know other line ends.

use std::io::Write as _;

/// Characters that some programs take for the end of a line: U+0085, U+2028 and U+2029.
const LINE_ENDS: [(&[u8], &[u8]); 3] =
    [(b"\xc2\x85", b"\\u0085"), (b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029")];

/// Appends the unescaped text `name` as a JSON string. It may be WTF-8: a lone surrogate becomes an escape again.
pub(super) fn append(name: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = name;
    while let Some((&first, behind)) = rest.split_first() {
        match rest {
            [b'"' | b'\\', ..] => out.extend_from_slice(&[b'\\', first]),
            [0..0x20, ..] => append_escape(first.into(), out),
            // A lone surrogate: U+D800 to U+DFFF.
            [0xed, middle @ 0xa0..=0xbf, last, ..] => {
                append_escape(0xd000 | (u16::from(middle & 0x3f) << 6) | u16::from(last & 0x3f), out);
                rest = rest.get(3..).unwrap_or_default();
                continue;
            }
            _ => out.push(first),
        }
        rest = behind;
    }
    out.push(b'"');
}

fn append_escape(unit: u16, out: &mut Vec<u8>) {
    // Writing to a `Vec` cannot fail.
    let _infallible = write!(out, "\\u{unit:04x}");
}

/// Appends JSON text as it is, but with escapes for [`LINE_ENDS`], which only strings can contain.
pub(super) fn append_on_one_line(json: &[u8], out: &mut Vec<u8>) {
    let mut rest = json;
    while let Some(at) = memchr::memchr2(0xc2, 0xe2, rest) {
        let (before, from) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        out.extend_from_slice(before);
        let end = LINE_ENDS.iter().find(|(end, _)| from.starts_with(end));
        let (replacement, length) =
            end.map_or((from.get(..1), 1), |(end, escape)| (Some(*escape), end.len()));
        out.extend_from_slice(replacement.unwrap_or_default());
        rest = from.get(length..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}
