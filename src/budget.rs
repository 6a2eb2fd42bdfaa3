//! What may be spent.

use std::{num::NonZeroU32, path::PathBuf};

/// The limits that this process keeps to.
pub struct BudgetConfig {
    /// Zoom calls permitted in any second, headroom already taken off.
    pub per_second: NonZeroU32,
    /// Zoom calls permitted in a UTC day, headroom already taken off.
    pub per_day: u64,
    /// Where the day's count is kept across restarts.
    pub state_file: Option<PathBuf>,
}
