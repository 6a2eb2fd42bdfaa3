//! Finds the end of a request's head, and masks its offers to change the protocol.
//!
//! Finds the empty line in the same way as httparse, and leaves all other parsing to actix.

use memchr::memchr;

/// The name that replaces `Upgrade`, as a header and as a `Connection` option. It has the same length and no meaning.
const IGNORED: &[u8; 7] = b"ignored";

/// The progress through a head. If a head arrives in pieces, no byte is scanned twice.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    /// The position at which the current, incomplete line begins.
    line: usize,
    seen: usize,
}

impl HeadScan {
    /// Returns the length of the head at the beginning of `bytes`, including the empty line; `None` if the empty
    /// line has not arrived.
    ///
    /// Also masks offers to change the protocol, which a server may ignore (RFC 9110, 7.8). actix acts on an offer
    /// as if it were accepted: it closes the connection after `h2c`, and reads everything after `websocket` as a
    /// body.
    pub(super) fn scan(&mut self, bytes: &mut [u8]) -> Option<usize> {
        while let Some(found) = memchr(b'\n', bytes.get(self.seen..)?) {
            let next = self.seen + found + 1;
            let line = bytes.get_mut(self.line..next)?;
            if self.line > 0 {
                if matches!(&*line, b"\n" | b"\r\n") {
                    return Some(next);
                }
                mask_offer(line);
            }
            (self.line, self.seen) = (next, next);
        }
        self.seen = bytes.len();
        None
    }
}

/// Returns the length of the empty lines before a request, which a server ignores (RFC 9112, 2.2).
pub(super) fn leading_empty_lines(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some(next) = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n")) {
        rest = next;
    }
    bytes.len() - rest.len()
}

fn mask_offer(line: &mut [u8]) {
    // The first letter excludes most lines.
    match line.first() {
        Some(b'u' | b'U') => {
            if let Some((name, [b':', ..])) = line.split_at_mut_checked(IGNORED.len())
                && name.eq_ignore_ascii_case(b"upgrade")
            {
                name.copy_from_slice(IGNORED);
            }
        }
        Some(b'c' | b'C') => {
            if let Some((name, options)) = line.split_at_mut_checked(b"connection:".len())
                && name.eq_ignore_ascii_case(b"connection:")
            {
                mask_option(options);
            }
        }
        _ => {}
    }
}

fn mask_option(options: &mut [u8]) {
    for option in options.split_mut(|byte| *byte == b',') {
        let begin = option.len() - option.trim_ascii_start().len();
        if option.trim_ascii().eq_ignore_ascii_case(b"upgrade")
            && let Some(word) = option.get_mut(begin..begin + IGNORED.len())
        {
            word.copy_from_slice(IGNORED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(head: &str) -> (Option<usize>, String) {
        let mut bytes = head.as_bytes().to_vec();
        let end = HeadScan::default().scan(&mut bytes);
        (end, String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_head_ends_with_its_empty_line() {
        for (head, end) in [
            ("GET / HTTP/1.1\r\n\r\n", Some(18)),
            ("GET / HTTP/1.1\n\nmore", Some(16)),
            ("GET / HTTP/1.1\n\r\nmore", Some(17)),
            ("GET / HTTP/1.1\r\na: b\r\n\r\nmore", Some(24)),
            ("GET / HTTP/1.1\r\na: b\r\n", None),
            ("GET / HTTP/1.1\r\n\r", None),
            ("GET / HTTP/1.1", None),
            ("", None),
        ] {
            assert_eq!(scanned(head).0, end, "{head:?}");
        }
    }

    #[test]
    fn a_head_that_arrives_byte_by_byte_ends_at_the_same_place() {
        let head = b"GET / HTTP/1.1\r\nupgrade: h2c\r\nconnection: Upgrade\r\n\r\nmore";
        let (mut bytes, mut scan) = (Vec::new(), HeadScan::default());
        let end = head.iter().find_map(|byte| {
            bytes.push(*byte);
            scan.scan(&mut bytes)
        });
        assert_eq!(end, Some(head.len() - 4));
        assert_eq!(bytes, b"GET / HTTP/1.1\r\nignored: h2c\r\nconnection: ignored\r\n\r\n");
    }

    #[test]
    fn only_offers_to_upgrade_are_masked() {
        for (line, masked) in [
            ("Upgrade: h2c", "ignored: h2c"),
            ("UPGRADE:websocket", "ignored:websocket"),
            ("Connection: Upgrade, HTTP2-Settings", "Connection: ignored, HTTP2-Settings"),
            ("connection: keep-alive,\tupgrade ,x", "connection: keep-alive,\tignored ,x"),
            ("connection: close", "connection: close"),
            ("connection: upgraded", "connection: upgraded"),
            ("Upgrade-Insecure-Requests: 1", "Upgrade-Insecure-Requests: 1"),
            ("cookie: upgrade", "cookie: upgrade"),
            ("u", "u"),
            ("c", "c"),
        ] {
            let head = |line: &str| format!("GET /upgrade: HTTP/1.1\r\n{line}\r\n\r\n");
            assert_eq!(scanned(&head(line)).1, head(masked));
        }
    }

    #[test]
    fn empty_lines_before_a_request_are_counted() {
        for (bytes, length) in
            [("GET", 0), ("\r\nGET", 2), ("\n\r\n\nGET", 4), ("\rGET", 0), ("\r\n\r", 2), ("", 0)]
        {
            assert_eq!(leading_empty_lines(bytes.as_bytes()), length, "{bytes:?}");
        }
    }
}
