//! The odd values, names and fields of an odd meeting.
//!
//! They are raw JSON text, because no Rust type can hold some of them (lone surrogates, numbers beyond `f64`).

/// Values that are odd under any key.
pub(super) const ANY: [&str; 16] = [
    r#""""#,
    "null",
    r#""n/a""#,
    r#""-""#,
    r#"" ""#,
    "0.30",
    "1e400",
    "123456789012345678901234567890",
    "-0",
    "true",
    "[]",
    r#"["23 kbps",{"jitter":"6 ms"}]"#,
    r#"{"value":"23 kbps","bitrate":"24 kbps"}"#,
    r#""\u0032\u0033 kb\/s""#,
    r#""\ud83d""#,
    r#""∞ \"quoted\" \\ \n""#,
];
pub(super) const KBPS: [&str; 18] = [
    r#""27.15 kbps""#,
    r#""27.15kbps""#,
    r#""1.2 Mbps""#,
    r#""900 bps""#,
    r#""1 bps""#,
    r#""007 kbps""#,
    r#""+5 kbps""#,
    r#""-3 kbps""#,
    r#"".5 kbps""#,
    r#""5. kbps""#,
    r#""0.30 KBPS""#,
    r#""  23 kbps ""#,
    r#""23""#,
    r#""\u0032\u0033 kbps""#,
    r#""99999999999999999999999999 kbps""#,
    r#""99999999999999999999.99 Mbps""#,
    r#""1e3 kbps""#,
    r#""23 kbps 24""#,
];
pub(super) const MS: [&str; 9] = [
    r#""126ms""#,
    r#""1 s""#,
    r#""0.5s""#,
    r#""+5 ms""#,
    r#""-1 ms""#,
    r#""007 ms""#,
    r#""126 MS""#,
    r#""1 min""#,
    r#""1500 us""#,
];
pub(super) const PERCENT: [&str; 9] = [
    r#""0.30 %""#,
    r#""0.03%""#,
    r#""100%""#,
    r#""-0.5%""#,
    r#""0,3%""#,
    r#""%""#,
    r#""0.300000000000000000000000000001%""#,
    r#""1 percent""#,
    r#""00.3%""#,
];
pub(super) const FPS: [&str; 5] =
    [r#""12fps""#, r#""29.97 fps""#, r#""+12 fps""#, r#""fps""#, r#""12 frames""#];
pub(super) const RESOLUTION: [&str; 9] = [
    r#""1280x720""#,
    r#""1280X720""#,
    r#""1280 * 720""#,
    r#""1280*""#,
    r#""*720""#,
    r#""-1*5""#,
    r#""1280*720*2""#,
    r#""99999999999999999999*1""#,
    r#""１２８０*７２０""#,
];
/// User names as raw JSON.
const NAMES: [&str; 10] = [
    r#""Zo\u00eb \"Q\" O'Neil \\ \/""#,
    r#""名前 😀 \ud83d\ude00""#,
    r#""lone \ud800 surrogate""#,
    r#""\udc00""#,
    r#""tab\tline\nnul\u0000""#,
    r#""""#,
    "null",
    r#""עברית \u202e e\u0301""#,
    r#""<script>alert(1)</script>""#,
    "42",
];
/// Fields that Zoom's participants do not have, of every JSON type. The known keys among them have no meaning outside `user_qos`.
const UNKNOWN_FIELDS: [(&str, &str); 12] = [
    ("x_text", r#""23 kbps""#),
    ("x_empty", r#""""#),
    ("x_integer", "9007199254740993"),
    ("x_float", "0.30"),
    ("x_big", "123456789012345678901234567890"),
    ("x_huge", "-1e999"),
    ("x_true", "true"),
    ("x_null", "null"),
    ("x_list", r#"[1,"",null,[],{"a":"","b":[""]}]"#),
    ("x_object", r#"{"bitrate":"5 kbps","":"","deep":{"deeper":{"latency":""}}}"#),
    ("latency", r#""126 ms""#),
    (r#"ключ \"q\" \u0041"#, r#""""#),
];
/// Groups and sample fields that no version of Zoom has.
const UNKNOWN_GROUPS: [&str; 7] = [
    r#","hologram_input":{"bitrate":"5 kbps","depth":"7 m","resolution":"8x8","x_cpu_usage":"3 %"}"#,
    r#","nested":{"inner":{"bitrate":"5 kbps","list":[{"jitter":"1 s"}]}}"#,
    r#","a_number":0.30,"a_huge":1e999,"a_text":"","a_null":null,"a_true":true"#,
    r#","a_list":["",null,3,["12 fps"],{"frame_rate":"12 fps"}],"no_group":{}"#,
    r#","gpu_cpu_usage":"55%","resolution":"1*1""#,
    r#","bitrate_kbps":4,"bitrate":"5 kbps""#,
    r#","clash":{"bitrate":"5 kbps","bitrate_kbps":"6 kbps","latency_ms":7,"latency":"8 ms"}"#,
];

/// A user name of an odd meeting, as raw JSON.
pub(crate) fn name(index: usize) -> String {
    NAMES.iter().cycle().nth(index % NAMES.len()).map_or_else(String::new, |name| (*name).to_owned())
}

/// Whether this participant of an odd meeting has no `user_qos`, or a null one.
pub(crate) fn lacks_samples(index: usize) -> bool {
    matches!(index % 12, 7 | 10)
}

/// Removes some fields of an odd meeting's participant, sets others to null, and adds unknown ones.
pub(crate) fn disturb_participant(fields: &mut Vec<(&'static str, String)>, index: usize) {
    if index % 3 == 1 {
        fields.retain(|(key, _)| {
            !matches!(*key, "email" | "mac_addr" | "leave_time" | "internal_ip_addresses")
        });
    }
    if index % 4 == 2 {
        for (key, value) in fields.iter_mut() {
            if matches!(*key, "location" | "issue_list" | "recording" | "total_jointime_cost") {
                "null".clone_into(value);
            }
        }
    }
    let offset = index % UNKNOWN_FIELDS.len();
    for (key, value) in UNKNOWN_FIELDS.iter().cycle().skip(offset).take(UNKNOWN_FIELDS.len()) {
        fields.push((key, (*value).to_owned()));
    }
}

/// Adds two entries of `UNKNOWN_GROUPS`, in turn, to a sample of an odd meeting.
pub(crate) fn disturb_sample(out: &mut String, ordinal: usize) {
    for group in UNKNOWN_GROUPS.iter().cycle().skip(ordinal % UNKNOWN_GROUPS.len()).take(2) {
        out.push_str(group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meeting::{Hosted, Meeting};

    fn text(participants: usize, samples: usize) -> String {
        let hosted = Hosted::new(Meeting::generated("95550001111", participants, samples).odd_values());
        let mut text = String::new();
        hosted.write_page(participants, 0, &mut text);
        text
    }

    #[test]
    fn a_small_odd_meeting_has_every_odd_value() {
        let text = text(12, 6);
        for list in [&ANY[..], &KBPS, &MS, &PERCENT, &FPS, &RESOLUTION, &NAMES, &UNKNOWN_GROUPS] {
            for value in list {
                assert!(text.contains(value), "{value} is missing");
            }
        }
        for (key, value) in UNKNOWN_FIELDS {
            assert!(text.contains(&format!(",\"{key}\":{value}")), "{key} is missing");
        }
        assert!(text.contains(r#""user_qos":null"#));
    }

    #[test]
    fn an_odd_meeting_is_valid_json() {
        let rows: Vec<serde::de::IgnoredAny> = serde_json::from_str(&text(25, 12)).unwrap();
        assert_eq!(rows.len(), 25);
    }
}
