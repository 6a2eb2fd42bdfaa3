//! Extracts the meeting id from a raw request path as Zoom does, including its mistakes. Does not check whether the meeting exists.

use crate::text;

/// The target of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    /// A correctly encoded meeting id.
    Meeting(String),
    /// A meeting id that is encoded too few or too many times, so that Zoom finds nothing.
    Misencoded {
        /// The id that was meant.
        meant: String,
        /// The id in Zoom's message.
        shown: String,
    },
    /// A path that Zoom does not know, because of raw slashes in the id.
    Unrecognized,
}

const BEFORE: &str = "/v2/metrics/meetings/";
const AFTER: &str = "/participants/qos";

/// Parses a raw path; `None` if it does not belong to the `QoS` endpoint.
pub(crate) fn named(path: &str) -> Option<Named> {
    let rest = path.strip_prefix(BEFORE)?;
    let Some(segment) = rest.strip_suffix(AFTER).filter(|id| !id.is_empty() && !id.contains('/')) else {
        return Some(Named::Unrecognized);
    };
    // Only `%XX` is decoded; `+` and `=` may be raw.
    let once = text::percent_decoded(segment);
    if !once.contains('%') {
        return Some(if needs_two(&once) {
            let shown = once.trim_start_matches('/').replace("//", "/");
            Named::Misencoded { meant: once, shown }
        } else {
            Named::Meeting(once)
        });
    }
    let twice = text::percent_decoded(&once);
    let exactly_two = !twice.contains('%') && !once.contains('/');
    Some(if exactly_two && needs_two(&twice) {
        Named::Meeting(twice)
    } else {
        let mut meant = twice;
        while meant.contains('%') && text::percent_decoded(&meant) != meant {
            meant = text::percent_decoded(&meant);
        }
        // Zoom decodes once, so its message shows `%2F` instead of a slash.
        Named::Misencoded { meant, shown: once.trim_start_matches('/').to_owned() }
    })
}

/// Whether Zoom expects this id to be encoded twice.
fn needs_two(id: &str) -> bool {
    id.starts_with('/') || id.contains("//")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(id: &str) -> Named {
        named(&format!("{BEFORE}{id}{AFTER}")).unwrap()
    }

    fn misencoded(meant: &str, shown: &str) -> Named {
        Named::Misencoded { meant: meant.to_owned(), shown: shown.to_owned() }
    }

    #[test]
    fn a_number_is_itself() {
        assert_eq!(of("85746065432"), Named::Meeting("85746065432".to_owned()));
    }

    #[test]
    fn a_plain_uuid_comes_encoded_once() {
        let meeting = Named::Meeting("ats/xh+EQWit9t+U02HXNQ==".to_owned());
        assert_eq!(of("ats%2Fxh%2BEQWit9t%2BU02HXNQ%3D%3D"), meeting);
        assert_eq!(of("ats%2fxh+EQWit9t+U02HXNQ=="), meeting);
        assert_eq!(
            of("ats%252Fxh%252BEQWit9t%252BU02HXNQ%253D%253D"),
            misencoded("ats/xh+EQWit9t+U02HXNQ==", "ats%2Fxh%2BEQWit9t%2BU02HXNQ%3D%3D")
        );
    }

    #[test]
    fn a_uuid_with_awkward_slashes_comes_encoded_twice() {
        assert_eq!(of("%252Fa+b%253D%253D"), Named::Meeting("/a+b==".to_owned()));
        assert_eq!(of("a%252F%252Fb%253D%253D"), Named::Meeting("a//b==".to_owned()));
        assert_eq!(of("%2Fab%3D%3D"), misencoded("/ab==", "ab=="));
        assert_eq!(of("a%2F%2Fb%3D%3D"), misencoded("a//b==", "a/b=="));
        assert_eq!(of("%25252Fab%25253D%25253D"), misencoded("/ab==", "%252Fab%253D%253D"));
        assert_eq!(of("%252Fa%2Fb"), misencoded("/a/b", "%2Fa/b"));
    }

    #[test]
    fn raw_slashes_make_another_path() {
        assert_eq!(of("/ab=="), Named::Unrecognized);
        assert_eq!(of("a/b=="), Named::Unrecognized);
        assert_eq!(of(""), Named::Unrecognized);
        assert_eq!(named("/v2/metrics/webinars/1/participants/qos"), None);
    }
}
