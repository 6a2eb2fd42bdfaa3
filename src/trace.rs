//! Makes spans of requests, flights, their waits and searches, and calls to Zoom. Sends them to an OTLP/HTTP collector
//! if `telemetry.otlp_endpoint` is set. Otherwise no spans are made.
//!
//! Only this module uses OpenTelemetry. There is no "current span", because a request and its flight run on different
//! threads. Instead, the parent of a span is passed as a [`TraceContext`]. The code that sets an attribute is
//! responsible for its content, which must not contain a secret, a meeting's id or a participant's data.

mod collector;
mod context;
mod dropped;

use std::{
    borrow::Cow,
    fmt::Display,
    sync::{Arc, OnceLock},
    time::Duration,
};

pub(crate) use opentelemetry::trace::SpanKind;
use opentelemetry::{
    KeyValue, Value,
    trace::{Span as _, SpanBuilder, Status, Tracer as _, TracerProvider as _},
};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span as SdkSpan},
};
use url::Url;

pub use self::context::TraceContext;
use self::{collector::Collector, dropped::DropCounter};
use crate::egress::{MoreRoots, Proxy};

/// The maximum number of spans that wait to be sent. They take about 4 MB. Further spans are dropped.
const MAX_QUEUE: usize = 4_096;
const MAX_BATCH: usize = 512;
/// The maximum time that a span waits for other spans to be sent with it.
const SEND_INTERVAL: Duration = Duration::from_secs(1);
/// The maximum time to send the last spans at shutdown.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The collector of spans, and how to connect to it.
pub struct TraceConfig {
    /// The base URL of an OTLP/HTTP collector. If `None`, no spans are made.
    pub otlp_endpoint: Option<Url>,
    /// The proxy through which the collector is reached; `None` for a direct connection.
    pub proxy: Option<Proxy>,
    /// Certificates that are trusted in addition to Mozilla's.
    pub more_roots: MoreRoots,
}

/// Makes spans if there is a collector. It is cheap to clone, and works on any thread.
#[derive(Clone, Default)]
pub struct Tracer(Option<(SdkTracer, DropCounter)>);

/// Owns the thread that sends the spans, if there is a collector.
pub(crate) struct TracerGuard(Option<SdkTracerProvider>);

/// Starts the thread that sends spans, if there is a collector.
pub(crate) fn start(config: &TraceConfig) -> (Tracer, TracerGuard) {
    let Some(endpoint) = &config.otlp_endpoint else { return (Tracer::default(), TracerGuard(None)) };
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(MAX_QUEUE)
        .with_max_export_batch_size(MAX_BATCH)
        .with_scheduled_delay(SEND_INTERVAL)
        .build();
    let name = env!("CARGO_PKG_NAME");
    let resource = Resource::builder_empty().with_attributes([
        KeyValue::new("service.name", name),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", format!("{:032x}", fastrand::u128(..))),
    ]);
    let drops = DropCounter::new(MAX_QUEUE);
    let collector = Collector::new(endpoint, config.proxy.as_ref(), &config.more_roots, drops.clone());
    let processor = BatchSpanProcessor::builder(collector).with_batch_config(batches).build();
    // Without these settings, the library would read them from the environment.
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .with_resource(resource.build())
        .with_span_processor(processor)
        .build();
    (Tracer(Some((provider.tracer(name), drops))), TracerGuard(Some(provider)))
}

impl TracerGuard {
    /// Sends the last spans. Blocks for at most [`FLUSH_TIMEOUT`].
    pub(crate) fn shut_down(self) {
        if let Some(provider) = self.0 {
            // A failure is not logged here, because the collector logs its state.
            drop(provider.shutdown_with_timeout(FLUSH_TIMEOUT));
        }
    }
}

impl Tracer {
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn begin(
        &self,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        parent: TraceContext,
    ) -> Span {
        let Some((tracer, drops)) = &self.0 else { return Span::default() };
        let builder = SpanBuilder::from_name(name).with_kind(kind);
        let span = tracer.build_with_context(builder, &parent.into_context());
        Span(Some(Box::new(CountedSpan { span, drops: drops.clone() })))
    }
}

/// A span in progress. It ends when it is dropped. The methods of the default value do nothing.
#[must_use = "a span ends when it is dropped"]
#[derive(Default)]
pub(crate) struct Span(Option<Box<CountedSpan>>);

/// A span that is counted in `drops` when it ends, if it is sampled.
struct CountedSpan {
    span: SdkSpan,
    drops: DropCounter,
}

impl Drop for CountedSpan {
    fn drop(&mut self) {
        if self.span.is_recording() {
            self.drops.record_end();
        }
    }
}

impl Span {
    pub(crate) fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(CountedSpan { span, .. }) = self.0.as_deref_mut() {
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// Marks the span as failed. `error_type` is an HTTP status or a word of a fixed list, as in the log and the
    /// metrics.
    pub(crate) fn fail(&mut self, error_type: impl Display) {
        if let Some(CountedSpan { span, .. }) = self.0.as_deref_mut() {
            let error_type = error_type.to_string();
            span.set_attribute(KeyValue::new("error.type", error_type.clone()));
            span.set_status(Status::error(error_type));
        }
    }

    /// Adds a link to a related span that is neither the parent nor a child.
    pub(crate) fn link(&mut self, other: TraceContext) {
        if let (Some(CountedSpan { span, .. }), Some(other)) = (self.0.as_deref_mut(), other.0) {
            span.add_link(other, Vec::new());
        }
    }

    /// Returns the context for the children of this span.
    pub(crate) fn context(&self) -> TraceContext {
        self.0.as_ref().map(|counted| TraceContext::of(counted.span.span_context())).unwrap_or_default()
    }
}

/// Links the span of a request to the span of the flight that the request waits for. Another request may have started
/// the flight.
#[derive(Clone, Default)]
pub struct FlightLink {
    request: TraceContext,
    joined: Option<Arc<OnceLock<TraceContext>>>,
}

impl FlightLink {
    /// Returns the link for a request's span; `None` if the request has no span.
    pub(crate) fn of(span: &Span) -> Option<Self> {
        let joined = span.0.is_some().then(Arc::default)?;
        Some(Self { request: span.context(), joined: Some(joined) })
    }

    pub(crate) fn request(&self) -> TraceContext {
        self.request.clone()
    }

    /// Records that the request waits for a flight that it did not start.
    pub(crate) fn join(&self, flight: TraceContext) {
        if let Some(joined) = &self.joined {
            // This cannot fail, because a request joins at most one flight.
            joined.set(flight).ok();
        }
    }

    /// Returns the context of the flight that the request joined; the default if it joined none.
    pub(crate) fn joined(&self) -> TraceContext {
        self.joined.as_ref().and_then(|joined| joined.get().cloned()).unwrap_or_default()
    }
}
