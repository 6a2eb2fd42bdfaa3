//! Generates participants and samples with the fields and groups that Zoom had in 2026, about 1.3 KB for each sample.
//!
//! The same meeting yields the same bytes in every run. Only `ended_ago` and growing meetings depend on the time, which
//! callers pass in.

use std::fmt::Write as _;

use super::iso;
use super::odd;
use super::values::Values;
use crate::random::Dice;

const MINUTE: i64 = 60;
/// Groups that Zoom added later. A sample has three of the twelve, in turn. With all of them, it would be larger than
/// Zoom's.
const DEVICE_GROUPS: [&str; 12] = [
    "audio_device_from_crc",
    "video_device_from_crc",
    "as_device_from_crc",
    "audio_device_to_crc",
    "video_device_to_crc",
    "as_device_to_crc",
    "audio_device_from_rwg",
    "video_device_from_rwg",
    "as_device_from_rwg",
    "audio_device_to_rwg",
    "video_device_to_rwg",
    "as_device_to_rwg",
];
const DEVICE_GROUPS_A_SAMPLE: usize = 3;
const CITIES: [&str; 5] = ["San Jose (US)", "Zürich (CH)", "São Paulo (BR)", "東京 (JP)", "Pune (IN)"];
const CLIENTS: [(&str, &str, &str); 4] = [
    ("Windows", "Win 11", "10.0.22631"),
    ("Mac", "macOS", "15.3.1"),
    ("Android", "Android", "15"),
    ("iOS", "iOS", "18.3"),
];

/// Generates one meeting's rows.
#[derive(Debug)]
pub(crate) struct Plan {
    dice: Dice,
    samples: usize,
    ended: i64,
    growing: bool,
    odd: bool,
}

/// One participant's text.
#[derive(Debug)]
pub(crate) struct Row {
    /// Everything up to and including `"user_qos":[`, or the whole participant if it has no samples.
    head: String,
    samples: String,
    count: usize,
    closed: bool,
}

impl Row {
    pub(crate) fn write(&self, out: &mut String) {
        out.push_str(&self.head);
        if !self.closed {
            out.push_str(&self.samples);
            out.push_str("]}");
        }
    }
}

impl Plan {
    pub(crate) fn new(id: &str, samples: usize, ended: i64, growing: bool, odd: bool) -> Self {
        Self { dice: Dice::of(id), samples, ended, growing, odd }
    }

    /// Participant `index` with the meeting's first samples.
    pub(crate) fn row(&self, index: usize) -> Row {
        let mut row = Row { head: self.head(index), samples: String::new(), count: 0, closed: false };
        if self.odd && odd::lacks_samples(index) {
            row.closed = true;
            row.head.truncate(row.head.len() - r#","user_qos":["#.len());
            row.head.push_str(if index.is_multiple_of(2) { "}" } else { r#","user_qos":null}"# });
        }
        self.grow(index, &mut row, self.samples);
        row
    }

    /// Adds samples until the row has `samples` of them.
    pub(crate) fn grow(&self, index: usize, row: &mut Row, samples: usize) {
        if row.closed {
            return;
        }
        for number in row.count..samples {
            if number > 0 {
                row.samples.push(',');
            }
            self.sample(index, number, &mut row.samples);
        }
        row.count = row.count.max(samples);
    }

    /// The Unix seconds at which participant `index` joined and left. The first and every fifth after it leave last,
    /// the others one to four minutes earlier.
    fn stay(&self, index: usize) -> (i64, i64) {
        let early = i64::try_from(index % 5).unwrap_or(0) * MINUTE;
        let left = self.ended.saturating_sub(early);
        let length = i64::try_from(self.samples).unwrap_or(i64::MAX).saturating_mul(MINUTE);
        (left.saturating_sub(length), left)
    }

    fn head(&self, index: usize) -> String {
        let mut dice = self.dice.part(index);
        let (joined, left) = self.stay(index);
        let (device, os, os_version) = *pick(&CLIENTS, index).unwrap_or(&CLIENTS[0]);
        let user = 16_778_240 + index * 1_024;
        let host = dice.between(1, 255);
        let name = if self.odd { odd::name(index) } else { format!("\"Participant {}\"", index + 1) };
        let leave_time = if self.growing { String::new() } else { iso(left) };
        let mut fields = vec![
            ("id", format!("\"{:x}\"", dice.next())),
            ("user_id", format!("\"{user}\"")),
            ("participant_uuid", format!("\"{:016X}{:016X}\"", dice.next(), dice.next())),
            ("user_name", name),
            ("email", format!("\"participant{}@example.com\"", index + 1)),
            ("device", format!("\"{device}\"")),
            ("client", "\"Zoom Workplace\"".to_owned()),
            ("version", format!("\"6.4.{}.{}\"", dice.between(1, 20), dice.between(1_000, 60_000))),
            ("os", format!("\"{os}\"")),
            ("os_version", format!("\"{os_version}\"")),
            ("browser_name", "\"\"".to_owned()),
            ("device_name", format!("\"{device} of participant {}\"", index + 1)),
            ("domain", "\"corp.example.com\"".to_owned()),
            ("harddisk_id", "\"\"".to_owned()),
            ("mac_addr", "\"\"".to_owned()),
            ("pc_name", format!("\"PC-{:04X}\"", dice.between(0, 65_536))),
            ("ip_address", format!("\"192.0.2.{host}\"")),
            ("internal_ip_addresses", format!("[\"10.0.{}.{host}\",\"fe80::{host:x}\"]", index % 250)),
            ("location", format!("\"{}\"", pick(&CITIES, index).unwrap_or(&""))),
            ("join_time", format!("\"{}\"", iso(joined))),
            ("leave_time", format!("\"{leave_time}\"")),
            ("network_type", if index.is_multiple_of(3) { "\"Wifi\"" } else { "\"Wired\"" }.to_owned()),
            ("data_center", "\"United States (SJC 04)\"".to_owned()),
            ("full_data_center", "\"United States;United States (US03_SJC CRC RP);\"".to_owned()),
            ("connection_type", "\"UDP\"".to_owned()),
            ("video_connection_type", "\"UDP\"".to_owned()),
            ("as_connection_type", "\"UDP\"".to_owned()),
            ("share_application", "false".to_owned()),
            ("share_desktop", index.is_multiple_of(10).to_string()),
            ("share_whiteboard", "false".to_owned()),
            ("recording", "false".to_owned()),
            ("has_archiving", "false".to_owned()),
            ("optional_archiving", "\"no optional archiving\"".to_owned()),
            ("groupId", "\"\"".to_owned()),
            ("health", "\"Good\"".to_owned()),
            ("issue_list", if dice.one_in(8) { "[\"Unstable audio quality\"]" } else { "[]" }.to_owned()),
            ("total_jointime_cost", dice.between(300, 4_000).to_string()),
            ("rc_reason", "\"\"".to_owned()),
        ];
        if self.odd {
            odd::disturb_participant(&mut fields, index);
        }
        let mut head = String::with_capacity(2_048);
        for (at, (key, value)) in fields.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            append(&mut head, format_args!("{before}\"{key}\":{value}"));
        }
        head.push_str(r#","user_qos":["#);
        head
    }

    fn sample(&self, index: usize, number: usize, out: &mut String) {
        let ordinal = index * self.samples.max(1) + number;
        let mut values = Values::new(self.dice.part(index).part(number + 1), self.odd.then_some(ordinal));
        let (joined, _) = self.stay(index);
        let at = joined.saturating_add(i64::try_from(number).unwrap_or(0).saturating_mul(MINUTE));
        append(out, format_args!("{{\"date_time\":\"{}\"", iso(at)));
        let shares = index.is_multiple_of(10);
        values.group(out, "audio_input", Some((20, 60)), false);
        values.group(out, "audio_output", Some((20, 60)), false);
        values.group(out, "video_input", Some((500, 2_500)), true);
        values.group(out, "video_output", Some((500, 2_500)), true);
        values.group(out, "as_input", shares.then_some((50, 900)), true);
        values.group(out, "as_output", None, true);
        for name in DEVICE_GROUPS
            .iter()
            .cycle()
            .skip((number % 4) * DEVICE_GROUPS_A_SAMPLE)
            .take(DEVICE_GROUPS_A_SAMPLE)
        {
            values.group(
                out,
                name,
                name.starts_with("audio").then_some((20, 60)),
                !name.starts_with("audio"),
            );
        }
        values.cpu(out);
        out.push_str(r#","cpu_pressure_level":"normal""#);
        values.wifi(out);
        if self.odd {
            odd::disturb_sample(out, ordinal);
        }
        out.push('}');
    }
}

fn pick<T>(list: &[T], index: usize) -> Option<&T> {
    list.get(index % list.len().max(1))
}

/// Appends formatted text; writing to a `String` cannot fail.
pub(crate) fn append(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).unwrap_or_default();
}
