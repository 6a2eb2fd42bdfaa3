//! Summarizes participants: whose connection was bad, when and why, and what the affected participants have in
//! common.
//!
//! The counts of all participants come before the first entry. Each participant is therefore read twice: for the
//! counts by [`Summary::add`], and for its own entry by [`Summary::append_participant`]. Apart from the counts, this
//! takes the memory of one participant, however many there are.
//!
//! A sample is an object in `user_qos`, a group is an object in a sample, and a measurement is a number directly in
//! a group.

mod common;
mod limits;
mod list;
mod measurement;
mod measurements;
mod mos;
mod number;
mod participant;
mod quality;

use self::{common::CommonValues, list::append_list, quality::QualityCounts};
pub use self::{
    common::{COMMON_FIELDS, CommonValue},
    limits::{SummaryLimit, SummaryLimits},
    measurement::Statistics,
    measurements::{GROUPS, MEASUREMENTS},
    participant::SHOWN_FIELDS,
    quality::Quality,
};
pub(in crate::view) use self::{measurement::Measurement, measurements::Group, participant::Participant};
use super::NotAParticipant;

/// The counts of the summarized participants, and the limits of the summary.
#[derive(Default)]
pub struct Summary {
    limits: SummaryLimits,
    qualities: QualityCounts,
    common: CommonValues,
}

impl Summary {
    /// Creates a summary with these limits.
    #[must_use]
    pub fn new(limits: SummaryLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Counts a participant. `cleaned` is one element of a snapshot's `participants`.
    ///
    /// # Errors
    /// `cleaned` is not such an element, which can only be a bug. The participant may then be partly counted.
    pub fn add(&mut self, cleaned: &[u8]) -> Result<(), NotAParticipant> {
        self.count(&Participant::read(cleaned, &self.limits)?)
    }

    pub(super) fn count(&mut self, participant: &Participant<'_>) -> Result<(), NotAParticipant> {
        let quality = participant.quality();
        self.qualities.add(quality);
        Ok(self.common.add(&participant.compared, quality.is_affected())?)
    }

    /// Returns how many participants are counted.
    #[must_use]
    pub fn participants(&self) -> usize {
        self.qualities.sum()
    }

    /// Returns what the affected participants have in common.
    pub(crate) fn common_values(&self) -> Vec<CommonValue> {
        self.common.values()
    }

    /// Appends the keys `limits`, `quality` and `common`, with `,` between them.
    pub fn append_counts(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"\"limits\":");
        append_list(out, *b"{}", SummaryLimit::ALL.into_iter(), |limit, out| {
            out.extend_from_slice(format!("\"{}\":", limit.as_str()).as_bytes());
            number::append(self.limits.get(limit), out);
        });
        out.extend_from_slice(b",\"quality\":");
        self.qualities.append(out);
        out.extend_from_slice(b",\"common\":");
        self.common.append(out);
    }

    /// Appends the entry of a participant.
    ///
    /// # Errors
    /// `cleaned` is not an element of a snapshot's `participants`, which can only be a bug. `out` is then unchanged.
    pub fn append_participant(&self, cleaned: &[u8], out: &mut Vec<u8>) -> Result<(), NotAParticipant> {
        let participant = Participant::read(cleaned, &self.limits)?;
        participant.append(participant.quality(), out);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn limits() -> SummaryLimits {
        let mut limits = SummaryLimits::default();
        for (limit, value) in SummaryLimit::ALL.into_iter().zip([150.0, 40.0, 2.0, 90.0]) {
            limits.set(limit, value);
        }
        limits
    }

    fn text(cleaned: &str) -> String {
        let mut out = Vec::new();
        Summary::new(limits()).append_participant(cleaned.as_bytes(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn entry(cleaned: &str) -> Value {
        serde_json::from_str(&text(cleaned)).unwrap()
    }

    /// Returns the entry of a participant with these samples, each given as its entries.
    fn entry_of<'s>(samples: impl IntoIterator<Item = &'s str>) -> Value {
        let samples: Vec<_> = samples.into_iter().map(|sample| format!("{{{sample}}}")).collect();
        entry(&format!(r#"{{"user_qos":[{}]}}"#, samples.join(",")))
    }

    /// Returns the entry of a participant that has these latencies in a group, one in each sample.
    fn of_latencies(group: &str, latencies: &[&str]) -> Value {
        let samples = latencies.iter().map(|latency| format!(r#""{group}":{{"latency_ms":{latency}}}"#));
        entry_of(samples.collect::<Vec<_>>().iter().map(String::as_str))
    }

    #[test]
    fn an_entry_has_every_key_in_the_documented_order() {
        let cleaned = concat!(
            r#"{"user_qos":[{"cpu_usage":{"system_max_cpu_usage_percent":91,"zoom_min_cpu_usage_percent":8},"#,
            r#""audio_input":{"bitrate_kbps":27.15,"frame_rate_fps":null,"max_loss_percent":1.9,"avg_loss_percent":0.30,"#,
            r#""jitter_ms":6,"latency_ms":126,"resolution":{"width":1,"height":1},"level":"high"},"#,
            r#""date_time":"2021-06-24T20:00:00Z"}],"leave_time":null,"id":7,"user_name":"J\u00fcrgen","email":["x"],"#,
            r#""id":8,"device":"Android"}"#
        );
        let expected = concat!(
            r#"{"user_id":null,"id":7,"participant_uuid":null,"user_name":"J\u00fcrgen","email":null,"join_time":null,"#,
            r#""leave_time":null,"samples":1,"quality":"good","reasons":[{"group":"cpu_usage","#,
            r#""measurement":"system_max_cpu_usage_percent","minutes_over":1,"of":1,"worst":91,"#,
            r#""worst_at":"2021-06-24T20:00:00Z"}],"groups":{"audio_input":{"samples":1,"minutes_over":0,"#,
            r#""latency_ms":{"min":126,"avg":126,"p95":126,"max":126,"over":0},"#,
            r#""jitter_ms":{"min":6,"avg":6,"p95":6,"max":6,"over":0},"#,
            r#""avg_loss_percent":{"min":0.3,"avg":0.3,"p95":0.3,"max":0.3,"over":0},"#,
            r#""max_loss_percent":{"min":1.9,"avg":1.9,"p95":1.9,"max":1.9},"#,
            r#""bitrate_kbps":{"min":27.15,"avg":27.15,"p95":27.15,"max":27.15},"#,
            r#""mos_estimate":{"min":4.35,"avg":4.35}},"cpu_usage":{"samples":1,"minutes_over":1,"#,
            r#""zoom_min_cpu_usage_percent":{"min":8,"avg":8,"p95":8,"max":8},"#,
            r#""system_max_cpu_usage_percent":{"min":91,"avg":91,"p95":91,"max":91,"over":1}}}}"#
        );
        assert_eq!(text(cleaned), expected);
    }

    #[test]
    fn a_row_without_samples_is_unknown() {
        for cleaned in [
            "{}",
            "[]",
            "null",
            "7",
            r#"{"user_qos":[]}"#,
            r#"{"user_qos":null}"#,
            r#"{"user_qos":[null,7,[]]}"#,
        ] {
            let entry = entry(cleaned);
            let found = (&entry["samples"], &entry["quality"], &entry["reasons"], &entry["groups"]);
            assert_eq!(found, (&json!(0), &json!("unknown"), &json!([]), &json!({})), "{cleaned}");
        }
        let without_numbers = entry_of([r#""audio_input":{"latency":"126"}"#, r#""x":{"y":{"z":1}},"w":5"#]);
        assert_eq!((&without_numbers["samples"], &without_numbers["groups"]), (&json!(2), &json!({})));
        assert_eq!(of_latencies("cpu_usage", &["1"])["quality"], "unknown", "it is no medium");
    }

    #[test]
    fn statistics_are_of_the_samples_with_a_number() {
        let mut latencies: Vec<_> = (1..=21).rev().map(|latency| latency.to_string()).collect();
        latencies.extend(["null", "\"5 x\"", "1e999", "[7]", "true"].map(str::to_owned));
        let latencies: Vec<_> = latencies.iter().map(String::as_str).collect();
        let entry = of_latencies("as_input", &latencies);
        let group = &entry["groups"]["as_input"];
        assert_eq!(group["latency_ms"], json!({ "min": 1, "avg": 11, "p95": 20, "max": 21, "over": 0 }));
        assert_eq!((&entry["samples"], &group["samples"]), (&json!(26), &json!(21)));
        let of_twenty = of_latencies("as_input", latencies.get(1..21).unwrap());
        assert_eq!(of_twenty["groups"]["as_input"]["latency_ms"]["p95"], 19);
        let huge = of_latencies("as_input", &["1.7e308", "1.7e308", "-0.0", "-1e-3"]);
        let expected = json!({ "min": -0.001, "avg": 8.5e307, "p95": 1.7e308, "max": 1.7e308, "over": 2 });
        assert_eq!(huge["groups"]["as_input"]["latency_ms"], expected);
    }

    #[test]
    fn a_minute_above_limits_counts_once_for_its_group() {
        let entry = entry_of([
            r#""date_time":"a","video_input":{"latency_ms":150,"jitter_ms":40,"avg_loss_percent":2.0}"#,
            r#""date_time":"b","video_input":{"latency_ms":150.0001,"jitter_ms":41}"#,
            r#""video_input":{"latency_ms":100,"jitter_ms":99},"date_time":"c""#,
            r#""date_time":"d","video_input":{"jitter_ms":99,"max_loss_percent":50}"#,
            r#""video_input":{"latency_ms":300}"#,
        ]);
        let group = &entry["groups"]["video_input"];
        assert_eq!((&group["samples"], &group["minutes_over"]), (&json!(5), &json!(4)));
        let over = ["latency_ms", "jitter_ms", "avg_loss_percent"].map(|name| group[name]["over"].clone());
        assert_eq!(over, [json!(2), json!(3), json!(0)]);
        assert_eq!(group["max_loss_percent"], json!({ "min": 50, "avg": 50, "p95": 50, "max": 50 }));
        let reason = |name: &str, over: u8, worst: u16, at: Value| json!({ "group": "video_input", "measurement": name, "minutes_over": over, "of": 5, "worst": worst, "worst_at": at });
        let reasons =
            json!([reason("jitter_ms", 3, 99, json!("c")), reason("latency_ms", 2, 300, Value::Null)]);
        assert_eq!((&entry["quality"], &entry["reasons"]), (&json!("bad"), &reasons));
    }

    #[test]
    fn the_worst_medium_with_three_minutes_decides() {
        let sample = |groups: &[(&str, u16)]| {
            let groups =
                groups.iter().map(|(name, latency)| format!(r#""{name}":{{"latency_ms":{latency}}}"#));
            groups.collect::<Vec<_>>().join(",")
        };
        let quality = |samples: &[&[(&str, u16)]]| {
            let samples: Vec<_> = samples.iter().map(|groups| sample(groups)).collect();
            entry_of(samples.iter().map(String::as_str))["quality"].clone()
        };
        let (good, bad) = (("audio_input", 1), ("audio_output", 999));
        assert_eq!(quality(&[&[good, bad], &[good, bad], &[good]]), "good", "two minutes decide nothing");
        assert_eq!(quality(&[&[good, bad], &[good, bad], &[good, bad]]), "bad", "the worse direction");
        assert_eq!(quality(&[&[good, bad], &[good]]), "bad", "all are short");
        let (others, cpu) = (("wifi", 999), ("cpu_usage", 999));
        assert_eq!(quality(&[&[good, others, cpu], &[good, others], &[good, others]]), "good");
    }

    #[test]
    fn quality_and_reasons_follow_the_limits() {
        let cleaned = br#"{"user_qos":[{"audio_input":{"latency_ms":100}}]}"#;
        for (latency, quality) in [(99.9, "bad"), (100.0, "good")] {
            let mut limits = limits();
            limits.set(SummaryLimit::Latency, latency);
            let mut out = Vec::new();
            Summary::new(limits).append_participant(cleaned, &mut out).unwrap();
            let entry: Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(entry["quality"], quality);
        }
    }

    #[test]
    fn audio_alone_has_an_estimate_from_samples_with_all_three_numbers() {
        let full = r#"{"latency_ms":126,"jitter_ms":6,"avg_loss_percent":0.3}"#;
        let worse = r#"{"latency_ms":250,"jitter_ms":30,"avg_loss_percent":2}"#;
        let partial = r#"{"latency_ms":999,"jitter_ms":null,"avg_loss_percent":100}"#;
        let samples = [full, partial, worse].map(|numbers| {
            format!(r#""audio_input":{numbers},"audio_output":{full},"video_input":{full},"audio":{full}"#)
        });
        let entry = entry_of(samples.iter().map(String::as_str));
        let estimate = |group: &str| entry["groups"][group]["mos_estimate"].clone();
        assert_eq!(estimate("audio_input"), json!({ "min": 3.59, "avg": 3.97 }));
        assert_eq!(estimate("audio_output"), json!({ "min": 4.35, "avg": 4.35 }));
        assert_eq!((estimate("video_input"), estimate("audio")), (Value::Null, Value::Null));
        assert_eq!(
            entry_of([r#""audio_input":{"latency_ms":1}"#])["groups"]["audio_input"]["mos_estimate"],
            Value::Null
        );
    }

    #[test]
    fn unknown_groups_and_measurements_follow_the_known_ones() {
        let entry = text(concat!(
            r#"{"user_qos":[{"w\u0069fi":{"rssi":-60,"samples":9,"jitter_ms":50,"avg_loss_percent":"1"},"a\"b":{"c":1}},"#,
            r#"{"as_output":{"jitter_ms":1},"wifi":{"rssi":-61}}]}"#
        ));
        let expected = concat!(
            r#""groups":{"as_output":{"samples":1,"minutes_over":0,"jitter_ms":{"min":1,"avg":1,"p95":1,"max":1,"over":0}},"#,
            r#""w\u0069fi":{"samples":2,"minutes_over":1,"jitter_ms":{"min":50,"avg":50,"p95":50,"max":50,"over":1},"#,
            r#""rssi":{"min":-61,"avg":-60.5,"p95":-60,"max":-60}},"#,
            r#""a\"b":{"samples":1,"minutes_over":0,"c":{"min":1,"avg":1,"p95":1,"max":1}}}}"#
        );
        assert!(entry.ends_with(expected), "{entry}");
        assert!(entry.contains(r#"{"group":"w\u0069fi","measurement":"jitter_ms","minutes_over":1,"of":2"#));
    }

    #[test]
    fn the_first_of_equal_keys_in_a_sample_counts() {
        let entry = entry_of([
            r#""audio_input":{"latency_ms":1,"latency_ms":200},"date_time":"a","date_time":"b","audio_input":{"latency_ms":300,"jitter_ms":50}"#,
            r#""audio_input":null,"audio_input":{"latency_ms":2}"#,
        ]);
        let group = &entry["groups"]["audio_input"];
        assert_eq!((&group["samples"], &group["minutes_over"]), (&json!(2), &json!(1)));
        assert_eq!(group["latency_ms"], json!({ "min": 1, "avg": 1.5, "p95": 2, "max": 2, "over": 0 }));
        assert_eq!(entry["reasons"][0]["worst_at"], "a");
    }

    #[test]
    fn the_counts_are_of_all_rows() {
        let mut summary = Summary::new(limits());
        let bad = r#"{"os":"Linux","user_qos":[{"audio_input":{"latency_ms":999}}]}"#;
        for cleaned in [bad, bad, r#"{"os":"Windows"}"#, "{}"] {
            summary.add(cleaned.as_bytes()).unwrap();
        }
        let mut out = Vec::new();
        summary.append_counts(&mut out);
        let expected = concat!(
            r#""limits":{"latency_ms":150,"jitter_ms":40,"loss_percent":2,"cpu_percent":90},"#,
            r#""quality":{"good":0,"fair":0,"poor":0,"bad":2,"unknown":2},"#,
            r#""common":[{"field":"os","value":"Linux","affected":2,"of":2}]"#
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_cut_participant_is_rejected() {
        let whole = r#"{"user_id":"u","user_qos":[{"audio_input":{"latency_ms":1,"x":[2]}}],"x":"y"}"#;
        for end in 0..whole.len() {
            let cut = whole.get(..end).unwrap().as_bytes();
            let mut out = b"kept".to_vec();
            let mut summary = Summary::new(limits());
            assert_eq!(summary.append_participant(cut, &mut out), Err(NotAParticipant), "{end}");
            assert_eq!((summary.add(cut), out), (Err(NotAParticipant), b"kept".to_vec()));
        }
    }
}
