//! Sends spans to a collector with OTLP over HTTP, as protobuf. This runs on the library's batch thread, which may
//! block.
//!
//! Spans that the collector does not accept are lost, because there are no retries. Changes in the collector's state
//! are logged, but not more often than [`LOG_INTERVAL`] permits.

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
use ureq::{Agent, Error, tls::TlsConfig};
use url::Url;

use super::dropped::DropCounter;
use crate::egress::{MoreRoots, Proxy};

/// The maximum time to send one batch. The queue can fill in this time. When it is full, spans are dropped.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The minimum interval between two log lines about the collector's state.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// Up to this many bytes of a response body are read, because an unread body would prevent reuse of the connection.
const MAX_RESPONSE_BYTES: u64 = 64 * 1024;
/// The path for traces below the base URL: <https://opentelemetry.io/docs/specs/otlp/#otlphttp-request>.
const PATH: &str = "/v1/traces";

#[derive(Debug)]
pub(super) struct Collector {
    agent: Agent,
    url: String,
    resource: ResourceAttributesWithSchema,
    drops: DropCounter,
    reported: Mutex<Reported>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum CollectorState {
    #[default]
    Healthy,
    /// The collector accepts batches, but spans were dropped since the last batch because the queue was full.
    Slow,
    Failing,
}

/// The state in the last log line, the time of that line, and the number of spans that were dropped up to the last
/// batch.
#[derive(Debug, Default)]
struct Reported {
    state: CollectorState,
    at: Option<Instant>,
    dropped: u64,
}

impl Collector {
    /// Makes a collector. `base` is the base URL, with or without [`PATH`].
    pub(super) fn new(base: &Url, proxy: Option<&Proxy>, more_roots: &MoreRoots, drops: DropCounter) -> Self {
        let base = base.as_str().trim_end_matches('/');
        let agent = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            // Without this, ureq would take the proxy from the environment. `ureq::Proxy` accepts every URL that
            // `Proxy::parse` accepts.
            .proxy(proxy.and_then(|proxy| ureq::Proxy::new(proxy.expose_url()).ok()))
            .tls_config(TlsConfig::builder().root_certs(more_roots.for_ureq()).build())
            .user_agent(concat!("zoom-qos-proxy/", env!("CARGO_PKG_VERSION")));
        Self {
            agent: agent.build().new_agent(),
            url: format!("{}{PATH}", base.trim_end_matches(PATH)),
            resource: ResourceAttributesWithSchema::default(),
            drops,
            reported: Mutex::default(),
        }
    }

    fn send(&self, spans: Vec<SpanData>) -> Result<(), String> {
        let resource_spans = group_spans_by_resource_and_scope(spans, &self.resource);
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let sent = self.agent.post(&self.url).content_type("application/x-protobuf").send(&body[..]);
        let mut response = sent.map_err(|error| match error {
            Error::Timeout(_) => "no answer in time".to_owned(),
            Error::Io(error) => error.kind().to_string(),
            other => other.to_string(),
        })?;
        // Only the status matters. The body is read so that the connection can be used again.
        drop(response.body_mut().with_config().limit(MAX_RESPONSE_BYTES).read_to_vec());
        if response.status().is_success() {
            Ok(())
        } else {
            Err(format!("status {}", response.status().as_u16()))
        }
    }

    /// Logs the state if it has changed, but at most once in [`LOG_INTERVAL`].
    fn report(&self, sent: &Result<(), String>) {
        // No code that holds the lock can panic halfway through a change.
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let dropped = self.drops.dropped();
        let state = match sent {
            Err(_) => CollectorState::Failing,
            Ok(()) if dropped > reported.dropped => CollectorState::Slow,
            Ok(()) => CollectorState::Healthy,
        };
        reported.dropped = dropped;
        let is_recent = reported.at.is_some_and(|at| at.elapsed() < LOG_INTERVAL);
        if state == reported.state || is_recent {
            return;
        }
        (reported.state, reported.at) = (state, Some(Instant::now()));
        match (state, sent) {
            (CollectorState::Failing, Err(error)) => tracing::warn!(
                %error,
                "the collector of telemetry.otlp_endpoint does not accept traces: they are dropped until it does"
            ),
            (CollectorState::Slow, _) => {
                tracing::warn!(
                    dropped,
                    "the collector of telemetry.otlp_endpoint is too slow: spans are dropped"
                );
            }
            _ => tracing::info!("the collector of telemetry.otlp_endpoint accepts traces again"),
        }
    }
}

impl SpanExporter for Collector {
    fn export(&self, spans: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        self.drops.record_sent(spans.len());
        let sent = self.send(spans);
        self.report(&sent);
        ready(sent.map_err(OTelSdkError::InternalFailure))
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}
