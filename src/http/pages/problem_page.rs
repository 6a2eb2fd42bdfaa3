//! The page of a problem: the same facts as the JSON, for people.

use askama::Template;

/// A problem as its page shows it.
#[derive(Template)]
#[template(path = "problem.html", config = "src/http/pages/askama.toml")]
pub(crate) struct ProblemPage<'p> {
    pub(crate) status: u16,
    pub(crate) title: &'p str,
    pub(crate) detail: &'p str,
    pub(crate) code: &'p str,
    pub(crate) request_id: &'p str,
    /// Whether the meeting may be over, so that the page links to it.
    pub(crate) offers_past: bool,
    /// The seconds of `Retry-After`.
    pub(crate) retry_after: Option<u64>,
    pub(crate) zoom: Option<ZoomWords<'p>>,
}

/// The parts of Zoom's response that the page shows.
pub(crate) struct ZoomWords<'p> {
    pub(crate) status: u16,
    pub(crate) code: Option<i64>,
    pub(crate) message: &'p str,
    pub(crate) tracking_id: Option<&'p str>,
}

impl ProblemPage<'_> {
    pub(crate) fn html(&self) -> String {
        self.render().unwrap_or_default()
    }
}
