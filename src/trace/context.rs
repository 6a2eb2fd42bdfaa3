//! W3C trace context: <https://www.w3.org/TR/trace-context/>.
//!
//! Only `traceparent` is read and written. `tracestate` is not passed on, because it can contain anything.

use std::collections::HashMap;

use opentelemetry::{
    Context,
    propagation::TextMapPropagator as _,
    trace::{SpanContext, TraceContextExt as _},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;

const TRACEPARENT: &str = "traceparent";
/// The length of `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`.
const LENGTH: usize = 55;
const DASHES: [usize; 3] = [2, 35, 52];

/// The identity of a span, for its children and for links. The default value identifies no span.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TraceContext(pub(super) Option<SpanContext>);

impl TraceContext {
    pub(super) fn of(span: &SpanContext) -> Self {
        Self(span.is_valid().then(|| span.clone()))
    }

    /// Parses a `traceparent`. Returns the default if it is malformed.
    pub(crate) fn parse(traceparent: &str) -> Self {
        if !is_well_formed(traceparent) {
            return Self::default();
        }
        let header = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &header);
        Self::of(context.span().span_context())
    }

    /// Returns the `traceparent` header for a request that is sent within this span; `None` for the default value.
    pub(crate) fn traceparent(&self) -> Option<String> {
        let mut headers = HashMap::new();
        TraceContextPropagator::new().inject_context(&self.clone().into_context(), &mut headers);
        headers.remove(TRACEPARENT)
    }

    pub(super) fn into_context(self) -> Context {
        self.0.map_or_else(Context::new, |span| Context::new().with_remote_span_context(span))
    }
}

/// Checks the form of a `traceparent`. The propagator alone would also accept shortened ids, signs and white space,
/// which the standard forbids. In versions after 00, more fields may follow the flags.
fn is_well_formed(text: &str) -> bool {
    let Some((known, rest)) = text.as_bytes().split_at_checked(LENGTH) else { return false };
    let is_in_place = |(at, byte): (usize, &u8)| match byte {
        b'-' => DASHES.contains(&at),
        b'0'..=b'9' | b'a'..=b'f' => !DASHES.contains(&at),
        _ => false,
    };
    let may_go_on = !known.starts_with(b"00") && rest.starts_with(b"-");
    known.iter().enumerate().all(is_in_place) && (rest.is_empty() || may_go_on)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn a_traceparent_survives_a_round_trip() {
        for flags in ["00", "01"] {
            let text = format!("00-{TRACE}-{SPAN}-{flags}");
            assert_eq!(TraceContext::parse(&text).traceparent().as_deref(), Some(text.as_str()));
        }
    }

    #[test]
    fn later_versions_and_unknown_flags_are_accepted() {
        let known = TraceContext::parse(&format!("00-{TRACE}-{SPAN}-01"));
        for text in [
            format!("cc-{TRACE}-{SPAN}-01"),
            format!("cc-{TRACE}-{SPAN}-01-what-comes-next"),
            format!("00-{TRACE}-{SPAN}-ff"),
        ] {
            assert_eq!(TraceContext::parse(&text), known, "{text}");
        }
    }

    #[test]
    fn a_malformed_traceparent_is_ignored() {
        let zeros = "0".repeat(32);
        for text in [
            String::new(),
            "00".to_owned(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-01 "),
            format!("cc-{TRACE}-{SPAN}-01more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}0-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{zeros}-{SPAN}-01"),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-{SPAN}-01", TRACE.replace('0', "+")),
            format!("00_{TRACE}_{SPAN}_01"),
            format!("00-{TRACE}-b7ad6b71692033é-01"),
        ] {
            assert_eq!(TraceContext::parse(&text), TraceContext::default(), "{text}");
        }
        assert_eq!(TraceContext::default().traceparent(), None);
    }
}
