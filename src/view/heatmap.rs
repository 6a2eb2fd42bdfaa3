//! The minutes of a meeting's participants for its page: the quality of each minute, in each medium.
//!
//! A value counts as over its limit here exactly if it does in the summary, because both read the same [`Participant`].

mod axis;
mod row;
mod strip;

use std::{cmp::Reverse, io};

use self::{axis::AxisBuilder, row::RowBuilder};
pub(crate) use self::{
    axis::TimeAxis,
    row::{GroupRow, HeatmapRow, OverLimit, Series},
    strip::{Level, Medium, Run, Strip},
};
use super::{
    selected::corrupt,
    summary::{CommonValue, Participant, Quality, Summary, SummaryLimits},
    visible::VisibleMeeting,
};

#[derive(Debug)]
pub(crate) struct Heatmap {
    /// The columns of all rows.
    pub(crate) axis: TimeAxis,
    /// A minute with a value above one of these limits counts as over.
    pub(crate) limits: SummaryLimits,
    /// The values that the affected participants have in common.
    pub(crate) common: Vec<CommonValue>,
    /// One row for each participant of the snapshot, the worst first.
    pub(crate) rows: Vec<HeatmapRow>,
}

impl Heatmap {
    /// Reads a snapshot. Its participants are read twice, because the columns depend on all of them.
    ///
    /// # Errors
    /// The snapshot's bytes are corrupt, which would be a bug.
    pub(crate) fn read(meeting: &VisibleMeeting<'_>, limits: SummaryLimits) -> io::Result<Self> {
        let (mut summary, mut axis) = (Summary::new(limits), AxisBuilder::default());
        let mut participants = meeting.participants(0, meeting.rows());
        while let Some(cleaned) = participants.read()? {
            let participant = Participant::read(cleaned, &limits).map_err(|error| corrupt(error.into()))?;
            summary.count(&participant).map_err(corrupt)?;
            axis.add(&participant);
        }
        let axis = axis.finish(meeting.rows());
        let mut rows = Vec::with_capacity(meeting.rows());
        let mut participants = meeting.participants(0, meeting.rows());
        while let Some(cleaned) = participants.read()? {
            let participant = Participant::read(cleaned, &limits).map_err(|error| corrupt(error.into()))?;
            rows.push(RowBuilder(axis).row(rows.len(), &participant));
        }
        rows.sort_by_key(|row| {
            (row.quality.rank(), Reverse(row.strip_of_all().map(|strip| strip.over)), row.number)
        });
        Ok(Self { axis, limits, common: summary.common_values(), rows })
    }

    pub(crate) fn count(&self, quality: Quality) -> usize {
        self.rows.iter().filter(|row| row.quality == quality).count()
    }

    /// Returns the affected participants, the worst first.
    pub(crate) fn affected(&self) -> impl Iterator<Item = &HeatmapRow> {
        self.rows.iter().filter(|row| row.quality.is_affected())
    }
}
