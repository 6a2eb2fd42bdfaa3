//! The meetings that the binary adds: one of each kind that a newcomer wants to try.

use super::Meeting;

/// Growing, long, by UUID in both encodings, and odd.
#[must_use]
pub fn demo_meetings() -> Vec<Meeting> {
    vec![
        Meeting::generated("91234567890", 30, 20).growing().live_only(),
        Meeting::generated("98765432101", 120, 45),
        // Begins with a slash, so it must come percent-encoded twice.
        Meeting::generated("/ajXp112QmuoKj48548750==", 3, 10),
        Meeting::generated("atsXxhSEQWit9t+U02HXNQ==", 12, 15),
        Meeting::generated("95550001111", 25, 12).odd_values(),
    ]
}
