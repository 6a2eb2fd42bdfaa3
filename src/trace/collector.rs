//! Sends spans to a collector: OTLP over HTTP, in protobuf. Runs on the thread of the library's batches, which may block.
//!
//! Nothing is sent twice: what a collector does not take is lost, and the log says so once until it takes some again.

use std::{
    future::ready,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
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
use ureq::{Agent, Error};
use url::Url;

/// For a whole batch. The queue fills meanwhile, and when it is full spans are dropped.
const TIMEOUT: Duration = Duration::from_secs(3);
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
    /// Whether the last batch was not taken.
    is_away: AtomicBool,
}

impl Collector {
    /// At this base; its path may be there already.
    pub(super) fn at(base: &Url) -> Self {
        let base = base.as_str().trim_end_matches('/');
        let config = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            // It would be taken from the environment.
            .proxy(None)
            .user_agent(concat!("zoom-qos-proxy/", env!("CARGO_PKG_VERSION")));
        Self {
            agent: config.build().new_agent(),
            url: format!("{}{PATH}", base.trim_end_matches(PATH)),
            resource: ResourceAttributesWithSchema::default(),
            is_away: AtomicBool::new(false),
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

    /// In the log when it changes, not for each batch.
    fn tell(&self, sent: &Result<(), String>) {
        let was_away = self.is_away.swap(sent.is_err(), Ordering::Relaxed);
        match sent {
            Err(error) if !was_away => {
                tracing::warn!(
                    %error,
                    "the collector of telemetry.otlp_endpoint does not take traces: they are dropped until it does"
                );
            }
            Ok(()) if was_away => {
                tracing::info!("the collector of telemetry.otlp_endpoint takes traces again");
            }
            _ => {}
        }
    }
}

impl SpanExporter for Collector {
    fn export(&self, spans: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        let sent = self.send(spans);
        self.tell(&sent);
        ready(sent.map_err(OTelSdkError::InternalFailure))
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = resource.into();
    }
}
