//! The style and the scripts of all pages, and the policy that permits them.

use std::sync::LazyLock;

use actix_web::http::header::HeaderValue;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

pub(in crate::http) const STYLE: &str = include_str!("assets/style.css");
pub(super) const UPLOT_STYLE: &str = include_str!("assets/uPlot.min.css");
/// Draws the lines; see `assets/README.md` for its version and licence.
pub(super) const UPLOT: &str = include_str!("assets/uPlot.iife.min.js");
pub(super) const LINES: &str = include_str!("assets/lines.js");

/// Permits these styles and scripts by their hashes, images in data URLs for the icon, and forms of this service. Other
/// content is forbidden, so that a name or a message of Zoom cannot become a script even if a template forgot to escape
/// it.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hashes = |texts: [&str; 2]| {
        texts.map(|text| format!(" 'sha256-{}'", STANDARD.encode(Sha256::digest(text)))).concat()
    };
    let (styles, scripts) = (hashes([STYLE, UPLOT_STYLE]), hashes([UPLOT, LINES]));
    let policy = format!(
        "default-src 'none'; style-src{styles}; script-src{scripts}; img-src data:; form-action 'self'; \
         frame-ancestors 'none'; base-uri 'none'"
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// Returns the value of `Content-Security-Policy` for every page.
pub(crate) fn content_security_policy() -> HeaderValue {
    POLICY.clone()
}
