//! The meetings that the binary adds: one of each kind that a newcomer may want to try.

use super::Meeting;

/// A growing meeting, a long one, two with UUIDs, and one with odd values.
#[must_use]
pub fn demo_meetings() -> Vec<Meeting> {
    vec![
        Meeting::generated("91234567890", 30, 20).growing().live_only(),
        Meeting::generated("98765432101", 120, 45),
        // Begins with a slash, so clients must percent-encode it twice.
        Meeting::generated("/ajXp112QmuoKj48548750==", 3, 10),
        Meeting::generated("atsXxhSEQWit9t+U02HXNQ==", 12, 15),
        Meeting::generated("95550001111", 25, 12).odd_values(),
    ]
}
