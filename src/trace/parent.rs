//! Which span another belongs to, and W3C trace context: <https://www.w3.org/TR/trace-context/>.
//!
//! Only `traceparent` is read and written. `tracestate` holds whatever somebody put there; it ends here.

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState},
};

/// A span as the parent of others; the default is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parent(Option<Ids>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ids {
    trace: TraceId,
    span: SpanId,
    flags: TraceFlags,
    /// Of another process.
    is_remote: bool,
}

/// `00-<32 hexadecimal digits>-<16>-<2>`
const LENGTH: usize = 55;

impl Parent {
    pub(super) fn of(span: &SpanContext) -> Self {
        let ids = Ids {
            trace: span.trace_id(),
            span: span.span_id(),
            flags: span.trace_flags(),
            is_remote: span.is_remote(),
        };
        Self(span.is_valid().then_some(ids))
    }

    /// What a `traceparent` says; nothing if it is not of that form.
    #[must_use]
    pub fn read(traceparent: &str) -> Self {
        Self(read(traceparent))
    }

    /// The `traceparent` that says it.
    #[must_use]
    pub fn traceparent(&self) -> Option<String> {
        let Ids { trace, span, flags, .. } = self.0?;
        Some(format!("00-{trace:032x}-{span:016x}-{flags:02x}"))
    }

    pub(super) fn span_context(&self) -> Option<SpanContext> {
        let Ids { trace, span, flags, is_remote } = self.0?;
        Some(SpanContext::new(trace, span, flags, is_remote, TraceState::NONE))
    }

    pub(super) fn context(&self) -> Context {
        match self.span_context() {
            Some(span) => Context::new().with_remote_span_context(span),
            None => Context::new(),
        }
    }
}

fn read(text: &str) -> Option<Ids> {
    let (known, rest) = text.split_at_checked(LENGTH)?;
    let mut parts = known.split('-');
    let mut part = |length: usize| {
        let part = parts.next()?;
        let is_hex = part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (part.len() == length && is_hex).then_some(part)
    };
    let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    // A later version may have more behind a dash; ff is none.
    let may_go_on = version != "00" && rest.starts_with('-');
    if version == "ff" || !(rest.is_empty() || may_go_on) {
        return None;
    }
    let ids = Ids {
        trace: TraceId::from_hex(trace).ok()?,
        span: SpanId::from_hex(span).ok()?,
        // The other bits are nobody's yet.
        flags: TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED,
        is_remote: true,
    };
    (ids.trace != TraceId::INVALID && ids.span != SpanId::INVALID).then_some(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn what_is_read_is_written_again() {
        for flags in ["00", "01"] {
            let text = format!("00-{TRACE}-{SPAN}-{flags}");
            assert_eq!(Parent::read(&text).traceparent().as_deref(), Some(text.as_str()));
        }
    }

    #[test]
    fn a_later_version_and_unknown_flags_are_read_as_far_as_they_are_known() {
        let known = Parent::read(&format!("00-{TRACE}-{SPAN}-01"));
        for text in [
            format!("cc-{TRACE}-{SPAN}-01"),
            format!("cc-{TRACE}-{SPAN}-01-what-comes-next"),
            format!("00-{TRACE}-{SPAN}-ff"),
        ] {
            assert_eq!(Parent::read(&text), known, "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_parent() {
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
            assert_eq!(Parent::read(&text), Parent::default(), "{text}");
        }
        assert_eq!(Parent::default().traceparent(), None);
    }
}
