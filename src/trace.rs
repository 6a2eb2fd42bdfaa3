//! Spans: how long a request, a flight, a wait for a permit and a call to Zoom took, and which belongs to which. They go to
//! an OTLP/HTTP collector when `telemetry.otlp_endpoint` is set; when it is not, nothing is made and nothing costs.
//!
//! The only room that knows OpenTelemetry. There is no "current span": a request, its flight and its calls are at home on
//! different threads, so a parent is a small value that is handed on. What may be an attribute is decided where it is
//! set, as for the log: no secret, no meeting, nothing of a participant.

mod backlog;
mod collector;
mod parent;

use std::{
    borrow::Cow,
    fmt::Display,
    sync::{Arc, OnceLock},
    time::Duration,
};

use opentelemetry::{
    KeyValue, Value,
    trace::{Span as _, SpanBuilder, SpanKind, Status, Tracer as _, TracerProvider as _},
};
use opentelemetry_sdk::{
    Resource,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span as SdkSpan},
};
use url::Url;

pub use self::parent::Parent;
use self::{
    backlog::{Backlog, Counted},
    collector::Collector,
};
use crate::egress::{MoreRoots, Proxy};

/// Spans that wait to be sent, some 4 MB at most. Beyond that they are dropped.
const QUEUE: usize = 4_096;
/// Spans sent at once.
const BATCH: usize = 512;
/// How long a span waits for others to be sent with.
const SEND_EVERY: Duration = Duration::from_secs(1);
/// At the end, for what is left. A collector that hangs must not hold up a stop.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// Where spans go.
pub struct TraceConfig {
    /// Base of an OTLP/HTTP collector; without one there are no spans.
    pub otlp_endpoint: Option<Url>,
    /// The proxy on the way there.
    pub proxy: Option<Proxy>,
    /// Whom we trust beside Mozilla's authorities.
    pub more_roots: MoreRoots,
}

/// Makes spans, or nothing. Cheap to clone, and at home on any thread.
#[derive(Clone, Default)]
pub struct Tracer(Option<SdkTracer>);

/// What sends the spans, from a thread of its own.
pub struct Sending(Option<SdkTracerProvider>);

/// Starts it, if there is an endpoint.
#[must_use]
pub fn start(config: &TraceConfig) -> (Tracer, Sending) {
    let Some(endpoint) = &config.otlp_endpoint else { return (Tracer::default(), Sending(None)) };
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE)
        .with_max_export_batch_size(BATCH)
        .with_scheduled_delay(SEND_EVERY)
        .build();
    let name = env!("CARGO_PKG_NAME");
    let resource = Resource::builder_empty().with_attributes([
        KeyValue::new("service.name", name),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", format!("{:032x}", fastrand::u128(..))),
    ]);
    let backlog = Backlog::default();
    let collector = Collector::at(endpoint, config, backlog.clone());
    let inner = BatchSpanProcessor::builder(collector).with_batch_config(batches).build();
    // All of these are said here, because the library would look for them in the environment.
    let provider = SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .with_resource(resource.build())
        .with_span_processor(Counted { inner, backlog })
        .build();
    (Tracer(Some(provider.tracer(name))), Sending(Some(provider)))
}

impl Sending {
    /// Sends what is left, or gives it up after a moment. Blocks.
    pub fn finish(self) {
        if let Some(provider) = self.0 {
            // What cannot be sent was told when it began.
            drop(provider.shutdown_with_timeout(FLUSH_WITHIN));
        }
    }
}

/// Whose time a span tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Of a request that we answer.
    Server,
    /// Of a call that we make.
    Client,
    /// Of something in between.
    Internal,
}

impl Tracer {
    /// Whether spans are made at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Begins a span.
    pub fn begin(&self, name: impl Into<Cow<'static, str>>, kind: Kind, parent: Parent) -> Span {
        let Some(tracer) = &self.0 else { return Span::default() };
        let kind = match kind {
            Kind::Server => SpanKind::Server,
            Kind::Client => SpanKind::Client,
            Kind::Internal => SpanKind::Internal,
        };
        let builder = SpanBuilder::from_name(name).with_kind(kind);
        Span(Some(Box::new(tracer.build_with_context(builder, &parent.into_context()))))
    }
}

/// A span under way; it ends when it is dropped. The default is none, and takes everything without keeping it.
#[must_use = "a span ends when it is dropped"]
#[derive(Default)]
pub struct Span(Option<Box<SdkSpan>>);

impl Span {
    /// What else there is to know.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// It did not succeed; `why` is a word of a list in the code, as log and metrics tell it, or a status.
    pub fn fail(&mut self, why: impl Display) {
        if let Some(span) = &mut self.0 {
            let why = why.to_string();
            span.set_attribute(KeyValue::new("error.type", why.clone()));
            span.set_status(Status::error(why));
        }
    }

    /// It has to do with another span, and is no part of it.
    pub fn link(&mut self, other: Parent) {
        if let (Some(span), Some(other)) = (&mut self.0, other.0) {
            span.add_link(other, Vec::new());
        }
    }

    /// For spans that belong to this one.
    #[must_use]
    pub fn as_parent(&self) -> Parent {
        self.0.as_ref().map(|span| Parent::of(span.span_context())).unwrap_or_default()
    }
}

/// A request's span on its way to a flight, with a place where the flight leaves its own.
#[derive(Clone, Default)]
pub struct Trail {
    request: Parent,
    joined: Option<Arc<OnceLock<Parent>>>,
}

impl Trail {
    /// The way of the request with this span; `None` if there is none.
    #[must_use]
    pub fn of(span: &Span) -> Option<Self> {
        let joined = span.0.is_some().then(Arc::default)?;
        Some(Self { request: span.as_parent(), joined: Some(joined) })
    }

    /// The request's span.
    #[must_use]
    pub fn request(&self) -> Parent {
        self.request.clone()
    }

    /// The request waits for a flight that another started.
    pub fn join(&self, flight: Parent) {
        if let Some(joined) = &self.joined {
            // A request waits for one flight.
            joined.set(flight).ok();
        }
    }

    /// The flight that it joined, if it did.
    #[must_use]
    pub fn joined(&self) -> Parent {
        self.joined.as_ref().and_then(|joined| joined.get().cloned()).unwrap_or_default()
    }
}
