//! The values in samples, plausible and in Zoom's format. In an odd meeting, about half of the values come from `odd.rs`.

use super::generated::append;
use super::odd::{ANY, FPS, KBPS, MS, PERCENT, RESOLUTION};
use crate::random::Dice;

/// One sample's values.
pub(crate) struct Values {
    dice: Dice,
    /// Where this sample begins in the lists of odd values; `None` in a normal meeting.
    odd: Option<usize>,
    asked: usize,
}

impl Values {
    pub(crate) fn new(dice: Dice, odd: Option<usize>) -> Self {
        // A prime step, so that samples begin at different places of the lists.
        Self { dice, odd: odd.map(|ordinal| ordinal * 19), asked: 0 }
    }

    /// Appends a group, `,"name":{…}`. Its values are empty if there is no bitrate range. A picture also has a
    /// resolution and a frame rate.
    pub(crate) fn group(&mut self, out: &mut String, name: &str, kbps: Option<(u64, u64)>, picture: bool) {
        if self.missing(11) {
            return;
        }
        append(out, format_args!(",\"{name}\":{{"));
        let mut fields = Vec::with_capacity(7);
        if let Some((low, high)) = kbps {
            let kbps = self.dice.between(low, high);
            fields.push(("bitrate", self.decimals(kbps, " kbps"), &KBPS[..]));
            let latency = self.dice.between(8, 180);
            fields.push(("latency", format!("\"{latency} ms\""), &MS[..]));
            let jitter = self.dice.between(0, 25);
            fields.push(("jitter", format!("\"{jitter} ms\""), &MS[..]));
            let loss = self.dice.between(0, 4);
            fields.push(("avg_loss", format!("\"0.{loss}%\""), &PERCENT[..]));
            fields.push(("max_loss", format!("\"{loss}.{}%\"", self.dice.between(0, 10)), &PERCENT[..]));
        } else {
            for (key, odd) in [("bitrate", &KBPS[..]), ("latency", &MS), ("jitter", &MS)] {
                fields.push((key, "\"\"".to_owned(), odd));
            }
            for key in ["avg_loss", "max_loss"] {
                fields.push((key, "\"\"".to_owned(), &PERCENT[..]));
            }
        }
        if picture {
            let (resolution, rate) = if kbps.is_some() {
                (r#""1280*720""#, format!("\"{} fps\"", self.dice.between(5, 31)))
            } else {
                (r#""0*0""#, "\"\"".to_owned())
            };
            fields.push(("resolution", resolution.to_owned(), &RESOLUTION[..]));
            fields.push(("frame_rate", rate, &FPS[..]));
        }
        self.fields(out, fields);
    }

    /// Appends `cpu_usage`.
    pub(crate) fn cpu(&mut self, out: &mut String) {
        if self.missing(11) {
            return;
        }
        out.push_str(r#","cpu_usage":{"#);
        let least = self.dice.between(1, 10);
        let average = least + self.dice.between(0, 10);
        let most = average + self.dice.between(0, 20);
        let system = most + self.dice.between(0, 40);
        let fields = [
            ("zoom_min_cpu_usage", least),
            ("zoom_avg_cpu_usage", average),
            ("zoom_max_cpu_usage", most),
            ("system_max_cpu_usage", system),
        ];
        self.fields(out, fields.map(|(key, value)| (key, format!("\"{value}%\""), &PERCENT[..])).to_vec());
    }

    /// Appends `wifi_rssi`, whose values are numbers.
    pub(crate) fn wifi(&mut self, out: &mut String) {
        if self.missing(7) {
            return;
        }
        let average = self.dice.between(45, 70);
        append(
            out,
            format_args!(
                r#","wifi_rssi":{{"max_rssi":-{},"avg_rssi":-{average},"min_rssi":-{},"rssi_unit":"dBm"}}"#,
                average - 4,
                average + 5
            ),
        );
    }

    /// Appends a group's fields and its closing brace. In an odd meeting, some fields are odd or missing.
    fn fields(&mut self, out: &mut String, fields: Vec<(&str, String, &[&str])>) {
        let mut first = true;
        for (key, sane, odd) in fields {
            if self.missing(29) {
                continue;
            }
            let value = self.odd_value(odd).unwrap_or(&sane);
            let before = if first { "" } else { "," };
            append(out, format_args!("{before}\"{key}\":{value}"));
            first = false;
        }
        out.push('}');
    }

    /// The next odd value, for every second field of an odd meeting; `None` for all other fields.
    fn odd_value<'a>(&mut self, own: &[&'a str]) -> Option<&'a str> {
        let begin = self.odd?;
        self.asked += 1;
        if self.asked.is_multiple_of(2) {
            return None;
        }
        let turn = begin + self.asked / 2;
        // Alternates between the odd values of this key and those for any key.
        let list = if turn.is_multiple_of(2) { own } else { &ANY[..] };
        list.get((turn / 2) % list.len().max(1)).copied()
    }

    /// Whether to leave out a group or field. Happens only in odd meetings, once in `once_in` times on average.
    fn missing(&mut self, once_in: u64) -> bool {
        self.odd.is_some() && self.dice.one_in(once_in)
    }

    /// The number with its unit as JSON text, one time in three with two decimals.
    fn decimals(&mut self, whole: u64, unit: &str) -> String {
        if self.dice.one_in(3) {
            format!("\"{whole}.{:02}{unit}\"", self.dice.between(1, 100))
        } else {
            format!("\"{whole}{unit}\"")
        }
    }
}
