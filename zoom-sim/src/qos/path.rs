//! From the raw request path to a meeting id: how Zoom takes encodings apart, and where it goes wrong.
//!
//! Whether a meeting of that id exists is not known here.

use crate::text;

/// What the path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    /// A meeting, encoded as Zoom wants it.
    Meeting(String),
    /// A meeting, encoded too little or too often: nothing is found under what Zoom makes of it.
    Misencoded {
        /// The id that was meant.
        meant: String,
        /// What Zoom shows of it in its message.
        shown: String,
    },
    /// A path that Zoom does not know, because of raw slashes in the id.
    Unrecognized,
}

const BEFORE: &str = "/v2/metrics/meetings/";
const AFTER: &str = "/participants/qos";

/// What a raw path names, or `None` if it is not meant for the `QoS` endpoint at all.
pub(crate) fn named(path: &str) -> Option<Named> {
    let rest = path.strip_prefix(BEFORE)?;
    let Some(segment) = rest.strip_suffix(AFTER).filter(|id| !id.is_empty() && !id.contains('/')) else {
        return Some(Named::Unrecognized);
    };
    // `+` and `=` may come raw; only `%XX` is decoded.
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
        // Zoom has decoded once, so its message shows `%2F` where a slash belongs.
        Named::Misencoded { meant, shown: once.trim_start_matches('/').to_owned() }
    })
}

/// Whether Zoom wants this id encoded twice.
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
