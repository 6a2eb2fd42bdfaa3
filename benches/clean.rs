//! How fast a page is cleaned, compared with parsing it into a tree and with validation alone. The throughput counts the
//! bytes of Zoom's page.
//!
//! Absolute numbers depend on the machine. Compare only the results of one run.
#![expect(clippy::unwrap_used, reason = "a bench fails by panicking")]

use std::fmt::Write as _;

use divan::Bencher;
use divan::counter::BytesCount;
use serde::de::IgnoredAny;
use serde_json::Value;
use zoom_qos_proxy::clean;

/// Participants × samples. Zoom sends at most 10 participants per page; 100 are a whole meeting in one text.
const SIZES: [(usize, usize); 3] = [(10, 1), (10, 60), (100, 60)];

fn main() {
    divan::main();
}

#[divan::bench(args = SIZES.map(Size::from))]
fn cleaned(bencher: Bencher<'_, '_>, size: &Size) {
    let zoom = size.page();
    let mut out = Vec::new();
    bencher.counter(BytesCount::of_str(&zoom)).bench_local(|| {
        out.clear();
        clean::page(zoom.as_bytes(), &mut out).unwrap()
    });
}

#[divan::bench(args = SIZES.map(Size::from))]
fn validated_only(bencher: Bencher<'_, '_>, size: &Size) {
    let zoom = size.page();
    bencher.counter(BytesCount::of_str(&zoom)).bench_local(|| {
        serde_json::from_str::<IgnoredAny>(str::from_utf8(zoom.as_bytes()).unwrap()).unwrap()
    });
}

/// Parses the page into a tree and writes it back, without cleaning.
#[divan::bench(args = SIZES.map(Size::from))]
fn through_a_tree(bencher: Bencher<'_, '_>, size: &Size) {
    let zoom = size.page();
    bencher.counter(BytesCount::of_str(&zoom)).bench_local(|| {
        serde_json::to_vec(&serde_json::from_slice::<Value>(zoom.as_bytes()).unwrap()).unwrap()
    });
}

#[derive(Debug)]
struct Size {
    participants: usize,
    samples: usize,
}

impl From<(usize, usize)> for Size {
    fn from((participants, samples): (usize, usize)) -> Self {
        Self { participants, samples }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} × {}", self.participants, self.samples)
    }
}

impl Size {
    /// A page without white space, as Zoom sends it; about 1.3 KB per sample.
    fn page(&self) -> String {
        let mut random = fastrand::Rng::with_seed(7);
        let rows: Vec<_> =
            (0..self.participants).map(|id| participant(id, self.samples, &mut random)).collect();
        format!(
            r#"{{"next_page_token":"","page_count":1,"page_size":10,"total_records":{},"participants":[{}]}}"#,
            self.participants,
            rows.join(",")
        )
    }
}

fn participant(id: usize, samples: usize, random: &mut fastrand::Rng) -> String {
    let samples: Vec<_> = (0..samples).map(|minute| sample(minute, random)).collect();
    format!(
        r#"{{"id":"id-{id}","user_id":"{}","participant_uuid":"","user_name":"User {id}","email":"","device":"Windows","client":"Desktop","version":"5.17.11.34827","domain":"example","harddisk_id":"","mac_addr":"","pc_name":"User's PC","ip_address":"192.0.2.{}","internal_ip_addresses":["10.0.0.{}"],"location":"San Jose (US)","join_time":"2026-06-24T20:00:00Z","leave_time":"2026-06-24T21:00:00Z","network_type":"Wifi","data_center":"United States","connection_type":"UDP","share_application":false,"recording":false,"issue_list":[],"health":"good","user_qos":[{}]}}"#,
        16_778_240 + id,
        id % 250,
        id % 250,
        samples.join(",")
    )
}

fn sample(minute: usize, random: &mut fastrand::Rng) -> String {
    let mut text = format!(r#"{{"date_time":"2026-06-24T20:{:02}:00Z""#, minute % 60);
    let devices = ["audio_device_from_crc", "audio_device_to_crc"];
    let groups = ["audio_input", "audio_output", "video_input", "video_output", "as_input", "as_output"];
    for group in groups.into_iter().chain(devices) {
        let idle = group.starts_with("as_") && random.bool();
        write!(text, r#","{group}":{{{}"#, measures(idle, random)).unwrap();
        if group.starts_with("video") || group.starts_with("as") {
            let (resolution, frames) = if idle {
                ("0*0", String::new())
            } else {
                ("1280*720", format!("{} fps", random.u32(1..30)))
            };
            write!(text, r#","resolution":"{resolution}","frame_rate":"{frames}""#).unwrap();
        }
        text.push('}');
    }
    write!(
        text,
        r#","cpu_usage":{{"zoom_min_cpu_usage":"{}%","zoom_avg_cpu_usage":"{}%","zoom_max_cpu_usage":"{}%","system_max_cpu_usage":"{}%"}},"cpu_pressure_level":"normal","wifi_rssi":{{"max_rssi":-40,"avg_rssi":-45,"min_rssi":-52,"rssi_unit":"dBm"}}}}"#,
        random.u32(0..10),
        random.u32(10..20),
        random.u32(20..40),
        random.u32(40..100)
    )
    .unwrap();
    text
}

fn measures(idle: bool, random: &mut fastrand::Rng) -> String {
    if idle {
        return r#""bitrate":"","latency":"","jitter":"","avg_loss":"","max_loss":"""#.to_owned();
    }
    format!(
        r#""bitrate":"{}.{:02} kbps","latency":"{} ms","jitter":"{} ms","avg_loss":"0.{:02}%","max_loss":"{}.{}%""#,
        random.u32(20..1500),
        random.u32(0..100),
        random.u32(5..300),
        random.u32(0..40),
        random.u32(0..100),
        random.u32(0..10),
        random.u32(0..10)
    )
}
