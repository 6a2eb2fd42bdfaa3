//! Sends spans to a collector: OTLP over HTTP, in protobuf. Runs on the thread of the library's batches, which may block.
//!
//! Nothing is sent twice: what a collector does not take is lost, and the log says so once until it takes some again.

use std::{
    future::ready,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use opentelemetry_proto::{
    tonic::collector::trace::v1::ExportTraceServiceRequest,
    transform::{
        common::tonic::ResourceAttributesWithSchema, trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{SpanData, SpanExporter},
};
use prost::Message as _;
use ureq::{
    Agent, Error,
    tls::{Certificate, RootCerts, TlsConfig},
};
use url::Url;

use super::{TraceConfig, backlog::Backlog};
use crate::egress::MoreRoots;

/// For a whole batch. The queue fills meanwhile, and when it is full spans are dropped.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Between two words in the log about how it is.
const TELL_AT_MOST_EVERY: Duration = Duration::from_secs(10);
/// Of an answer, which is read so that the connection can be used again.
const MOST_OF_AN_ANSWER: u64 = 64 * 1024;
/// Where a collector takes traces, below its base: <https://opentelemetry.io/docs/specs/otlp/#otlphttp-request>.
const PATH: &str = "/v1/traces";

/// A collector.
#[derive(Debug)]
pub(super) struct Collector {
    agent: Agent,
    url: String,
    resource: ResourceAttributesWithSchema,
    backlog: Backlog,
    told: Mutex<Told>,
}

/// How it is with the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Fine,
    /// Takes what it is sent, and more is dropped meanwhile.
    Slow,
    Away,
}

/// What the log said last, and when.
#[derive(Debug, Default)]
struct Told {
    state: State,
    at: Option<Instant>,
    dropped: u64,
}

impl Collector {
    /// At this base; its path may be there already.
    pub(super) fn at(base: &Url, way: &TraceConfig, backlog: Backlog) -> Self {
        let base = base.as_str().trim_end_matches('/');
        let config = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            // Said here, because it would be taken from the environment. A proxy of ours is one of ureq's.
            .proxy(way.proxy.as_ref().and_then(|proxy| ureq::Proxy::new(proxy.expose_url()).ok()))
            .tls_config(TlsConfig::builder().root_certs(roots(&way.more_roots)).build())
            .user_agent(concat!("zoom-qos-proxy/", env!("CARGO_PKG_VERSION")));
        Self {
            agent: config.build().new_agent(),
            url: format!("{}{PATH}", base.trim_end_matches(PATH)),
            resource: ResourceAttributesWithSchema::default(),
            backlog,
            told: Mutex::default(),
        }
    }

    /// Or a word for what went wrong.
    fn send(&self, spans: Vec<SpanData>) -> Result<(), String> {
        let resource_spans = group_spans_by_resource_and_scope(spans, &self.resource);
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let sent = self.agent.post(&self.url).content_type("application/x-protobuf").send(&body[..]);
        let mut answer = sent.map_err(|error| match error {
            Error::Timeout(_) => "no answer in time".to_owned(),
            Error::Io(error) => error.kind().to_string(),
            other => other.to_string(),
        })?;
        // What it says does not matter, and whether it says it to the end.
        drop(answer.body_mut().with_config().limit(MOST_OF_AN_ANSWER).read_to_vec());
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(format!("status {}", answer.status().as_u16()))
        }
    }

    /// In the log when it changes, not for each batch, and not each time for one that comes and goes.
    fn tell(&self, sent: &Result<(), String>) {
        // Nothing in there is half done when a thread panics.
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let dropped = self.backlog.dropped();
        let state = match sent {
            Err(_) => State::Away,
            Ok(()) if dropped > told.dropped => State::Slow,
            Ok(()) => State::Fine,
        };
        told.dropped = dropped;
        let just_told = told.at.is_some_and(|at| at.elapsed() < TELL_AT_MOST_EVERY);
        if state == told.state || just_told {
            return;
        }
        (told.state, told.at) = (state, Some(Instant::now()));
        match (state, sent) {
            (State::Away, Err(error)) => tracing::warn!(
                %error,
                "the collector of telemetry.otlp_endpoint does not take traces: they are dropped until it does"
            ),
            (State::Slow, _) => {
                tracing::warn!(
                    dropped,
                    "the collector of telemetry.otlp_endpoint is too slow: spans are dropped"
                );
            }
            _ => tracing::info!("the collector of telemetry.otlp_endpoint takes traces again"),
        }
    }
}

/// Mozilla's, and more if there are any. ureq takes certificates, where rustls has enough with their names and keys.
fn roots(more: &MoreRoots) -> RootCerts {
    if more.certificates().is_empty() {
        return RootCerts::WebPki;
    }
    let all = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().chain(more.certificates());
    RootCerts::from(all.map(|certificate| Certificate::from_der(certificate).to_owned()))
}

impl SpanExporter for Collector {
    fn export(&self, spans: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        self.backlog.takes(spans.len());
        let sent = self.send(spans);
        self.tell(&sent);
        ready(sent.map_err(OTelSdkError::InternalFailure))
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}
