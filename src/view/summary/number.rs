//! Writes finite numbers as JSON.

use std::io::Write as _;

/// Numbers of at least this size have many digits, so they are written with an exponent.
const LONG: f64 = 1e15;

/// Appends the shortest text from which this number can be read again.
pub(super) fn append(number: f64, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail. The addition turns -0 into 0.
    let _infallible = match number + 0.0 {
        short if short == 0.0 || (1e-6..LONG).contains(&short.abs()) => write!(out, "{short}"),
        long => write!(out, "{long:e}"),
    };
}

/// Appends the number with at most two decimals, without zeros at their end: 126.4 for 126.398. Does not round a number
/// of at least [`LONG`].
pub(super) fn append_rounded(number: f64, out: &mut Vec<u8>) {
    if number.abs() >= LONG {
        return append(number, out);
    }
    let text = format!("{number:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    out.extend_from_slice(if text == "-0" { b"0" } else { text.as_bytes() });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(append: fn(f64, &mut Vec<u8>), number: f64) -> String {
        let mut out = Vec::new();
        append(number, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_number_is_written_as_short_as_possible() {
        for (number, expected) in [
            (126.0, "126"),
            (0.3, "0.3"),
            (-0.0, "0"),
            (-5.25, "-5.25"),
            (123_456_789_012_345.0, "123456789012345"),
            (1e15, "1e15"),
            (f64::MAX, "1.7976931348623157e308"),
            (-1e-7, "-1e-7"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
        ] {
            assert_eq!(text(append, number), expected);
            assert_eq!(serde_json::from_str(expected).ok(), Some(number), "valid JSON");
        }
    }

    #[test]
    fn a_rounded_number_has_at_most_two_decimals() {
        for (number, expected) in [
            (126.398, "126.4"),
            (126.0, "126"),
            (100.0, "100"),
            (0.994, "0.99"),
            (0.996, "1"),
            (-0.004, "0"),
            (-1.006, "-1.01"),
            (1e300, "1e300"),
        ] {
            assert_eq!(text(append_rounded, number), expected);
        }
    }
}
