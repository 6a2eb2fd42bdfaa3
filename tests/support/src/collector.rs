//! An OTLP/HTTP collector on a real socket that accepts spans, rejects them, or never answers.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::span::SpanKind,
};
use prost::Message as _;

use crate::wait::pause;

/// How a collector answers a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    Taken,
    Refused,
    /// Accepts the batch after two seconds, but does not record its spans.
    Late,
    Never,
}

/// A span as received, its ids in hexadecimal.
#[derive(Debug, Clone)]
pub struct Span {
    pub name: String,
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub kind: SpanKind,
    pub failed: bool,
    pub links: Vec<String>,
    pub attributes: HashMap<String, String>,
    pub resource: HashMap<String, String>,
    pub nanos: u64,
}

impl Span {
    pub fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
    spans: Vec<Span>,
    /// The number of batches received, accepted or not.
    offered: usize,
    /// Connections that never get an answer. Kept here, because dropping a stream closes it.
    hanging: Vec<TcpStream>,
}

pub struct Collector {
    address: std::net::SocketAddr,
    answers: Arc<Mutex<Answers>>,
    received: Arc<Mutex<Received>>,
}

impl Collector {
    pub fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let collector = Self {
            address: listener.local_addr().unwrap(),
            answers: Arc::new(Mutex::new(answers)),
            received: Arc::default(),
        };
        let (answers, received) = (Arc::clone(&collector.answers), Arc::clone(&collector.received));
        // This thread runs until the test process ends.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let answers = *answers.lock().unwrap();
                serve(stream, answers, &received);
            }
        });
        collector
    }

    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.address
    }

    pub fn now(&self, answers: Answers) {
        *self.answers.lock().unwrap() = answers;
    }

    pub fn spans(&self) -> Vec<Span> {
        self.received.lock().unwrap().spans.clone()
    }

    pub fn offered(&self) -> usize {
        self.received.lock().unwrap().offered
    }

    /// All accepted batches as lossy UTF-8, in which the strings of the spans are readable.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.received.lock().unwrap().bytes).into_owned()
    }
}

fn serve(stream: TcpStream, answers: Answers, received: &Mutex<Received>) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap_or_default();
    if line.is_empty() {
        return;
    }
    assert_eq!(line, "POST /v1/traces HTTP/1.1\r\n");
    let (mut length, mut kind) = (0, String::new());
    loop {
        line.clear();
        reader.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "content-type" => value.clone_into(&mut kind),
            _ => {}
        }
    }
    assert_eq!(kind, "application/x-protobuf");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let mut received = received.lock().unwrap();
    received.offered += 1;
    let mut stream = reader.into_inner();
    let status = match answers {
        Answers::Never => return received.hanging.push(stream),
        Answers::Refused => "503 Service Unavailable",
        Answers::Late | Answers::Taken => "200 OK",
    };
    if answers == Answers::Taken {
        received.spans.extend(decoded(&body));
        received.bytes.extend(&body);
    }
    drop(received);
    if answers == Answers::Late {
        pause(Duration::from_secs(2));
    }
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    // The service may have disconnected.
    stream.write_all(answer.as_bytes()).ok();
}

fn decoded(body: &[u8]) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(body).expect("OTLP in protobuf");
    let mut spans = Vec::new();
    for of_resource in request.resource_spans {
        let resource = texts(of_resource.resource.map(|resource| resource.attributes).unwrap_or_default());
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Span {
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                kind: span.kind(),
                failed: span.status.as_ref().is_some_and(|status| status.code == 2),
                links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
                nanos: span.end_time_unix_nano - span.start_time_unix_nano,
                name: span.name,
                attributes: texts(span.attributes),
                resource: resource.clone(),
            });
        }
    }
    spans
}

fn texts(attributes: Vec<KeyValue>) -> HashMap<String, String> {
    let text = |attribute: KeyValue| {
        let value = match attribute.value.and_then(|value| value.value) {
            Some(Value::StringValue(text)) => text,
            Some(Value::IntValue(number)) => number.to_string(),
            other => panic!("{}: {other:?}", attribute.key),
        };
        (attribute.key, value)
    };
    attributes.into_iter().map(text).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
