//! Reads Zoom's pages in one way, many times: `cleaning WAY FILE TIMES`, with one page per line of the file.
//!
//! Each way runs in its own process, so that its CPU time can be measured from outside.
#![expect(clippy::print_stdout, reason = "prints the number of written bytes")]

use std::{borrow::Cow, env, error::Error, fs, hint::black_box};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;
use zoom_qos_proxy::clean;

/// Reads a page, and may write some of it.
type Read = fn(&str, &mut Vec<u8>) -> Result<(), Box<dyn Error>>;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let mut next = || arguments.next().ok_or("cleaning WAY FILE TIMES");
    let (way, file, times) = (next()?, next()?, next()?.parse::<u32>()?);
    let read: Read = match way.as_str() {
        "cleaned" => |page, out| {
            black_box(clean::page(page.as_bytes(), out)?);
            Ok(())
        },
        "validated" => |page, _| {
            black_box(serde_json::from_str::<IgnoredAny>(page)?);
            Ok(())
        },
        "typed" => |page, _| {
            drop(black_box(serde_json::from_str::<Page>(page)?));
            Ok(())
        },
        "tree" => |page, out| {
            let tree: Value = serde_json::from_str(page)?;
            Ok(serde_json::to_writer(out, black_box(&tree))?)
        },
        _ => return Err("WAY is cleaned, validated, typed or tree".into()),
    };
    let pages = fs::read_to_string(file)?;
    let (mut out, mut written) = (Vec::new(), 0);
    for page in std::iter::repeat_n(&pages, usize::try_from(times)?).flat_map(|pages| pages.lines()) {
        out.clear();
        read(page, &mut out)?;
        written += black_box(&out).len();
    }
    println!("{written}");
    Ok(())
}

/// A page in the usual serde form; strings without escapes are borrowed.
#[derive(Deserialize)]
#[expect(dead_code, reason = "measures the time to fill them")]
struct Page<'a> {
    #[serde(borrow, default)]
    next_page_token: Cow<'a, str>,
    total_records: Option<u64>,
    #[serde(borrow)]
    participants: Vec<Participant<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Participant<'a> {
    #[serde(borrow)]
    user_id: Cow<'a, str>,
    #[serde(borrow)]
    user_name: Cow<'a, str>,
    #[serde(borrow)]
    device: Cow<'a, str>,
    #[serde(borrow)]
    ip_address: Cow<'a, str>,
    #[serde(borrow)]
    location: Cow<'a, str>,
    #[serde(borrow)]
    join_time: Cow<'a, str>,
    #[serde(borrow)]
    leave_time: Cow<'a, str>,
    #[serde(borrow)]
    pc_name: Cow<'a, str>,
    #[serde(borrow)]
    domain: Cow<'a, str>,
    #[serde(borrow)]
    mac_addr: Cow<'a, str>,
    #[serde(borrow)]
    harddisk_id: Cow<'a, str>,
    #[serde(borrow)]
    version: Cow<'a, str>,
    #[serde(borrow)]
    user_qos: Vec<Sample<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Sample<'a> {
    #[serde(borrow)]
    date_time: Cow<'a, str>,
    #[serde(borrow)]
    audio_input: Measures<'a>,
    #[serde(borrow)]
    audio_output: Measures<'a>,
    #[serde(borrow)]
    video_input: Measures<'a>,
    #[serde(borrow)]
    video_output: Measures<'a>,
    #[serde(borrow)]
    as_input: Measures<'a>,
    #[serde(borrow)]
    as_output: Measures<'a>,
    #[serde(borrow)]
    audio_device_from_crc: Measures<'a>,
    #[serde(borrow)]
    video_device_from_crc: Measures<'a>,
    #[serde(borrow)]
    as_device_from_crc: Measures<'a>,
    #[serde(borrow)]
    audio_device_to_crc: Measures<'a>,
    #[serde(borrow)]
    video_device_to_crc: Measures<'a>,
    #[serde(borrow)]
    as_device_to_crc: Measures<'a>,
    #[serde(borrow)]
    audio_device_from_rwg: Measures<'a>,
    #[serde(borrow)]
    video_device_from_rwg: Measures<'a>,
    #[serde(borrow)]
    as_device_from_rwg: Measures<'a>,
    #[serde(borrow)]
    audio_device_to_rwg: Measures<'a>,
    #[serde(borrow)]
    video_device_to_rwg: Measures<'a>,
    #[serde(borrow)]
    as_device_to_rwg: Measures<'a>,
    #[serde(borrow)]
    cpu_usage: CpuUsage<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Measures<'a> {
    #[serde(borrow)]
    bitrate: Cow<'a, str>,
    #[serde(borrow)]
    latency: Cow<'a, str>,
    #[serde(borrow)]
    jitter: Cow<'a, str>,
    #[serde(borrow)]
    avg_loss: Cow<'a, str>,
    #[serde(borrow)]
    max_loss: Cow<'a, str>,
    #[serde(borrow)]
    resolution: Cow<'a, str>,
    #[serde(borrow)]
    frame_rate: Cow<'a, str>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "Zoom's names")]
struct CpuUsage<'a> {
    #[serde(borrow)]
    zoom_min_cpu_usage: Cow<'a, str>,
    #[serde(borrow)]
    zoom_avg_cpu_usage: Cow<'a, str>,
    #[serde(borrow)]
    zoom_max_cpu_usage: Cow<'a, str>,
    #[serde(borrow)]
    system_max_cpu_usage: Cow<'a, str>,
}
