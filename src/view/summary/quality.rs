//! Rates a participant by the share of minutes that were over a limit.

use super::{list::append_list, measurements::Groups};

/// The groups that determine the quality: the two directions of audio, video and shared screens.
const MEDIA: [&str; 6] =
    ["audio_input", "audio_output", "video_input", "video_output", "as_input", "as_output"];
/// Groups measured for fewer minutes than this are ignored when the quality is rated, unless every group is that short.
const ENOUGH_SAMPLES: usize = 3;

vocabulary! {
    /// How good a participant's connection was. The word is the value in the summary.
    #[derive(PartialOrd, Ord)]
    pub enum Quality {
        /// At most 5 % of the minutes were over a limit.
        Good = "good",
        /// At most 20 % of the minutes were over a limit.
        Fair = "fair",
        /// At most 40 % of the minutes were over a limit.
        Poor = "poor",
        /// More than 40 % of the minutes were over a limit.
        Bad = "bad",
        /// No medium was measured.
        Unknown = "unknown",
    }
}

impl Quality {
    /// Returns the quality of the worst medium.
    pub(super) fn of(groups: &Groups<'_>) -> Self {
        let media = || {
            let names = |name: &[u8]| MEDIA.iter().any(|medium| medium.as_bytes() == name);
            let media = groups.iter().filter(move |group| names(&group.key.name));
            media.map(|group| (group.over.get(), group.samples.get())).filter(|(_, samples)| *samples > 0)
        };
        let has_enough = |(_, samples): &(usize, usize)| *samples >= ENOUGH_SAMPLES;
        let all_are_short = !media().any(|medium| has_enough(&medium));
        let deciding = media().filter(|medium| all_are_short || has_enough(medium));
        deciding.map(|(over, samples)| Self::of_minutes(over, samples)).max().unwrap_or(Self::Unknown)
    }

    fn of_minutes(over: usize, samples: usize) -> Self {
        let at_most = |percent: usize| over * 100 <= samples * percent;
        match () {
            () if at_most(5) => Self::Good,
            () if at_most(20) => Self::Fair,
            () if at_most(40) => Self::Poor,
            () => Self::Bad,
        }
    }

    /// Returns the position in a list that begins with the worst. `Unknown` comes last.
    pub(in crate::view) fn rank(self) -> usize {
        [Self::Bad, Self::Poor, Self::Fair, Self::Good].iter().position(|each| *each == self).unwrap_or(4)
    }

    /// Returns whether the participant counts as affected.
    #[must_use]
    pub fn is_affected(self) -> bool {
        matches!(self, Self::Poor | Self::Bad)
    }
}

#[derive(Default)]
pub(super) struct QualityCounts([usize; Quality::ALL.len()]);

impl QualityCounts {
    pub(super) fn add(&mut self, quality: Quality) {
        for (each, count) in Quality::ALL.into_iter().zip(&mut self.0) {
            *count += usize::from(each == quality);
        }
    }

    pub(super) fn sum(&self) -> usize {
        self.0.iter().sum()
    }

    /// Appends an object with the count of each quality.
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        append_list(out, *b"{}", Quality::ALL.into_iter().zip(self.0), |(quality, count), out| {
            out.extend_from_slice(format!("\"{}\":{count}", quality.as_str()).as_bytes());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_minutes_decides_and_its_bounds_belong_to_the_better() {
        for (over, samples, expected) in [
            (0, 1, Quality::Good),
            (1, 20, Quality::Good),
            (1, 19, Quality::Fair),
            (1, 5, Quality::Fair),
            (201, 1_000, Quality::Poor),
            (2, 5, Quality::Poor),
            (401, 1_000, Quality::Bad),
            (1, 1, Quality::Bad),
        ] {
            assert_eq!(Quality::of_minutes(over, samples), expected, "{over} of {samples}");
        }
    }
}
