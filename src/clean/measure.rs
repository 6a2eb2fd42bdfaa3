//! Converts a string with a unit to a JSON number, and a resolution to an object. Shifts decimal points in the text,
//! never in a float: `"1.25 Mbps"` becomes `1250`.

use super::field::Field;

/// Appends the value of the unescaped `text`. If it does not parse, appends nothing and returns `None`.
pub(super) fn append(field: Field, text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let text = without_spaces(text);
    if field == Field::Resolution {
        return append_resolution(text, out);
    }
    let (decimal, rest) = Decimal::leading(text)?;
    // Nearly all of Zoom's values have this form.
    if rest.strip_prefix(b" ").unwrap_or(rest) == field.unit().as_bytes() {
        out.extend_from_slice(decimal.written);
        return Some(());
    }
    match shift(field, without_spaces(rest))? {
        0 => out.extend_from_slice(decimal.written),
        places => decimal.append_shifted(places, out),
    }
    Some(())
}

/// Returns by how many places the decimal point shifts to the right from `unit` to the unit of the field's new key.
/// `None` if the field does not have this unit.
fn shift(field: Field, unit: &[u8]) -> Option<isize> {
    let units: &[(&[u8], isize)] = match field {
        Field::Bitrate => &[(b"kbps", 0), (b"bps", -3), (b"Mbps", 3)],
        Field::Latency | Field::Jitter => &[(b"ms", 0), (b"s", 3)],
        Field::AvgLoss | Field::MaxLoss | Field::CpuUsage => &[(b"%", 0)],
        Field::FrameRate => &[(b"fps", 0)],
        Field::Resolution => &[],
    };
    units.iter().find_map(|&(known, places)| unit.eq_ignore_ascii_case(known).then_some(places))
}

fn append_resolution(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (width, rest) = leading_whole_number(text)?;
    let (times, rest) = without_spaces(rest).split_first()?;
    let (height, rest) = leading_whole_number(without_spaces(rest))?;
    if !matches!(times, b'*' | b'x' | b'X') || !rest.is_empty() {
        return None;
    }
    for part in [&b"{\"width\":"[..], width, b",\"height\":", height, b"}"] {
        out.extend_from_slice(part);
    }
    Some(())
}

/// A number as Zoom wrote it, which is also a JSON number.
struct Decimal<'t> {
    written: &'t [u8],
    negative: bool,
    whole: &'t [u8],
    fraction: &'t [u8],
}

impl<'t> Decimal<'t> {
    fn leading(text: &'t [u8]) -> Option<(Self, &'t [u8])> {
        let unsigned = text.strip_prefix(b"-");
        let (whole, mut rest) = leading_whole_number(unsigned.unwrap_or(text))?;
        let mut fraction: &[u8] = &[];
        if let Some(behind_point) = rest.strip_prefix(b".") {
            (fraction, rest) = leading_digits(behind_point)?;
        }
        let written = text.get(..text.len().checked_sub(rest.len())?)?;
        Some((Self { written, negative: unsigned.is_some(), whole, fraction }, rest))
    }

    /// Appends the shortest exact decimal with the point shifted to the right by `places`, which is between -3 and 3.
    fn append_shifted(&self, places: isize, out: &mut Vec<u8>) {
        // With three zeros on either side, the point always stays within the digits.
        let digits =
            String::from_utf8([b"000", self.whole, self.fraction, b"000"].concat()).unwrap_or_default();
        let point = (3 + self.whole.len()).saturating_add_signed(places);
        let (whole, fraction) = digits.split_at_checked(point).unwrap_or((&digits, ""));
        let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));

        // Zero has no sign: "-0.0 s" is 0.
        if self.negative && !(whole.is_empty() && fraction.is_empty()) {
            out.push(b'-');
        }
        out.extend_from_slice(if whole.is_empty() { b"0" } else { whole.as_bytes() });
        if !fraction.is_empty() {
            out.push(b'.');
            out.extend_from_slice(fraction.as_bytes());
        }
    }
}

/// Splits off the digits at the beginning. Returns `None` if there are none, or if a zero precedes other digits, as in
/// `007`, which is not a JSON number.
fn leading_whole_number(text: &[u8]) -> Option<(&[u8], &[u8])> {
    leading_digits(text).filter(|(digits, _)| digits.len() == 1 || !digits.starts_with(b"0"))
}

/// Splits off the digits at the beginning. Returns `None` if there are none.
fn leading_digits(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(length).filter(|(digits, _)| !digits.is_empty())
}

/// Strips U+0020 only: with any other white space, a value does not parse.
fn without_spaces(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] | [rest @ .., b' '] = text {
        text = rest;
    }
    text
}
