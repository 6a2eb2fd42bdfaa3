//! Quantities: durations, sizes and whole numbers.

use std::{ops::RangeInclusive, time::Duration};

use bytesize::ByteSize;

use super::{Checked, quoted, text_of, toml_text, type_of};
use crate::{config::layers::RawValue, toml_document::one_line, view::summary::SummaryLimit};

pub(crate) fn duration(raw: &RawValue) -> Checked<Duration> {
    /// The longest duration. Adding it to an `Instant` cannot overflow.
    const MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);
    if let RawValue::Integer(number) = raw {
        let seconds = number.filter(|number| (0..=1_000_000).contains(number)).unwrap_or(30);
        return Err(format!("needs a unit and quotes: write \"{seconds}s\", not an integer"));
    }
    let text = text_of(raw, "\"30s\"")?;
    let digits = text.trim();
    // This rejects "0", which humantime accepts without a unit.
    if digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(format!("has no unit: write \"{}s\" if seconds are meant", one_line(digits)));
    }
    if let Some(number) = months(digits) {
        let text = quoted(text);
        return Err(format!("{text} would be months: write \"{number}m\" if minutes are meant"));
    }
    let duration = humantime::parse_duration(text).map_err(|error| {
        let text = quoted(text);
        format!("{text} is not a duration: {error}; write one like \"30s\", \"5m\" or \"24h\"")
    })?;
    if duration > MAX {
        return Err(format!("{} is too long: at most 366 days", quoted(text)));
    }
    Ok((duration, toml_text(text)))
}

pub(crate) fn positive_duration(raw: &RawValue) -> Checked<Duration> {
    duration(raw).and_then(|checked| match checked {
        (Duration::ZERO, _) => Err("must be longer than 0".to_owned()),
        positive => Ok(positive),
    })
}

/// Returns the number before a unit `M`. humantime reads `M` as months, about 43,800 times as long as a minute, but
/// it is probably a typo for `m`.
fn months(text: &str) -> Option<&str> {
    let is_unit = |before: &str, after: &str| {
        !before.ends_with(char::is_alphabetic) && !after.starts_with(char::is_alphabetic)
    };
    let mut units = text
        .match_indices('M')
        .filter_map(|(at, unit)| Some((text.get(..at)?, text.get(at + unit.len()..)?)));
    let (before, _) = units.find(|(before, after)| is_unit(before, after))?;
    let before = before.trim_end();
    let digits = before.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.').len();
    before.get(digits..).filter(|number| !number.is_empty())
}

/// Parses a number of bytes, which is at least 1 and at most the largest that can be allocated.
pub(crate) fn size(raw: &RawValue) -> Checked<usize> {
    if let RawValue::Integer(_) = raw {
        return Err("must be text with a unit, like \"256MiB\", not an integer".to_owned());
    }
    let text = text_of(raw, "\"256MiB\"")?;
    let size: ByteSize = text.trim().parse().map_err(|_| {
        format!("{} is not a size; write one like \"64KiB\", \"256MiB\" or \"1GiB\"", quoted(text))
    })?;
    match usize::try_from(size.as_u64()) {
        Ok(0) => Err("must be more than 0".to_owned()),
        Ok(bytes) if isize::try_from(bytes).is_ok() => Ok((bytes, toml_text(text))),
        _ => Err(format!("{} is more than this machine can address", quoted(text))),
    }
}

pub(crate) fn integer(raw: &RawValue, range: &RangeInclusive<u32>) -> Checked<u32> {
    let rule = format!("must be a whole number from {} to {}", range.start(), range.end());
    let number = match raw {
        RawValue::Integer(number) => *number,
        RawValue::Variable(text) if text.is_empty() => return Err(format!("is empty; it {rule}")),
        RawValue::Variable(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        RawValue::Variable(text) => return Err(format!("{rule}, not {}", quoted(text))),
        RawValue::Text(_) => return Err(format!("{rule}, without quotes")),
        other => return Err(format!("{rule}, not {}", type_of(other))),
    };
    let in_range = number.and_then(|number| u32::try_from(number).ok()).filter(|n| range.contains(n));
    in_range.map(|number| (number, number.to_string())).ok_or_else(|| match number {
        Some(number) => format!("{rule}, not {number}"),
        None => rule,
    })
}

pub(crate) fn summary_limit(raw: &RawValue, limit: SummaryLimit) -> Checked<f64> {
    let rule = format!("must be a number from 0 to {}, such as 40 or 2.5", limit.largest());
    let text = match raw {
        RawValue::Integer(number) => number.map_or_else(String::new, |number| number.to_string()),
        RawValue::Variable(text) if text.is_empty() => return Err(format!("is empty; it {rule}")),
        RawValue::Float(text) | RawValue::Variable(text) => text.clone(),
        RawValue::Text(_) => return Err(format!("{rule}, without quotes")),
        other => return Err(format!("{rule}, not {}", type_of(other))),
    };
    let value = limit.parse(&text).ok_or_else(|| format!("{rule}, not {}", quoted(&text)))?;
    Ok((value, value.to_string()))
}
