//! Extracts the endpoint and the ids from a raw request path as Zoom does, including its mistakes. Does not check whether the
//! meeting exists.

use crate::endpoint::QosEndpoint;
use crate::text;

/// The id in a path.
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
    /// A path that Zoom does not know, for example because of raw slashes in the id.
    Unrecognized,
}

/// A path below `/v2/metrics/meetings/` or `/v2/metrics/webinars/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QosPath {
    /// The endpoint; for an unrecognized path, the list endpoint with the same prefix.
    pub(crate) endpoint: QosEndpoint,
    pub(crate) named: Named,
    /// The participant's id, at an endpoint for one participant.
    pub(crate) participant: Option<String>,
}

const MEETINGS: &str = "/v2/metrics/meetings/";
const WEBINARS: &str = "/v2/metrics/webinars/";

impl QosPath {
    /// Parses a raw path. Returns `None` unless it is below `/v2/metrics/meetings/` or `/v2/metrics/webinars/`.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let (list, one, rest) = if let Some(rest) = path.strip_prefix(MEETINGS) {
            (QosEndpoint::MeetingList, QosEndpoint::MeetingParticipant, rest)
        } else {
            (QosEndpoint::WebinarList, QosEndpoint::WebinarParticipant, path.strip_prefix(WEBINARS)?)
        };
        let is_segment = |text: &&str| !text.is_empty() && !text.contains('/');
        if let Some(id) = rest.strip_suffix("/participants/qos").filter(is_segment) {
            return Some(Self { endpoint: list, named: named(id), participant: None });
        }
        let parts = rest.strip_suffix("/qos").and_then(|rest| rest.split_once("/participants/"));
        if let Some((id, participant)) = parts.filter(|(id, one)| is_segment(id) && is_segment(one)) {
            let participant = Some(text::percent_decoded(participant));
            return Some(Self { endpoint: one, named: named(id), participant });
        }
        Some(Self { endpoint: list, named: Named::Unrecognized, participant: None })
    }
}

/// The meeting that a raw path segment names.
fn named(segment: &str) -> Named {
    // Only `%XX` is decoded; `+` and `=` may be raw.
    let once = text::percent_decoded(segment);
    if !once.contains('%') {
        return if needs_two(&once) {
            let shown = once.trim_start_matches('/').replace("//", "/");
            Named::Misencoded { meant: once, shown }
        } else {
            Named::Meeting(once)
        };
    }
    let twice = text::percent_decoded(&once);
    let exactly_two = !twice.contains('%') && !once.contains('/');
    if exactly_two && needs_two(&twice) {
        Named::Meeting(twice)
    } else {
        let mut meant = twice;
        while meant.contains('%') && text::percent_decoded(&meant) != meant {
            meant = text::percent_decoded(&meant);
        }
        // Zoom decodes once, so its message shows `%2F` instead of a slash.
        Named::Misencoded { meant, shown: once.trim_start_matches('/').to_owned() }
    }
}

/// Whether Zoom expects this id to be encoded twice.
fn needs_two(id: &str) -> bool {
    id.starts_with('/') || id.contains("//")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(id: &str) -> Named {
        let path = QosPath::of(&format!("{MEETINGS}{id}/participants/qos")).unwrap();
        assert_eq!((path.endpoint, path.participant), (QosEndpoint::MeetingList, None));
        path.named
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
        assert_eq!(QosPath::of("/v2/metrics/quality"), None);
    }

    #[test]
    fn the_path_decides_the_endpoint_and_the_participant() {
        let of = |path: &str| {
            let path = QosPath::of(path).unwrap();
            (path.endpoint, path.named, path.participant)
        };
        let one = || Named::Meeting("1".to_owned());
        assert_eq!(of("/v2/metrics/webinars/1/participants/qos"), (QosEndpoint::WebinarList, one(), None));
        let participant = Some("a+b=".to_owned());
        assert_eq!(
            of("/v2/metrics/meetings/1/participants/a+b%3D/qos"),
            (QosEndpoint::MeetingParticipant, one(), participant.clone())
        );
        assert_eq!(
            of("/v2/metrics/webinars/1/participants/a%2Bb=/qos"),
            (QosEndpoint::WebinarParticipant, one(), participant)
        );
        for path in [
            "1/participants/2",
            "1/participants//qos",
            "1/participants/2/3/qos",
            "1/qos",
            "a/b/participants/2/qos",
        ] {
            let unrecognized = (QosEndpoint::MeetingList, Named::Unrecognized, None);
            assert_eq!(of(&format!("{MEETINGS}{path}")), unrecognized, "{path}");
        }
    }
}
