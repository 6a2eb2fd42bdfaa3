//! Sends requests at planned times, or as soon after them as a connection is free. A latency counts from the planned time.
//! If a server stops for 20 ms, all requests that are due in this time count as late. wrk would not have sent most of them.
//!
//! `open_loop PORT PATH REQUESTS_PER_SECOND SECONDS CONNECTIONS [NAME:VALUE…]` prints one JSON object. `late_p99` is
//! the 99th percentile of the generator's own delays. If it is large, the measurement says nothing about the server.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::format_collect,
    clippy::print_stdout,
    reason = "a bench fails by panicking, and prints"
)]

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
};

/// How long responses may take after the last request was due.
const PATIENCE: Duration = Duration::from_secs(10);

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (fixed, headers) = arguments.split_at(5);
    let [port, path, rate, seconds, connections] = fixed else { panic!("missing arguments") };
    let rate: f64 = rate.parse().unwrap();
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").into_bytes();
    let mut load = Load {
        connections: (0..connections.parse().unwrap())
            .map(|_| Connection::open(port.parse().unwrap(), &request))
            .collect(),
        request,
        idle: (0..connections.parse().unwrap()).collect(),
        due: VecDeque::new(),
        latencies: Vec::new(),
        late: Vec::new(),
        failed: 0,
    };
    let began = Instant::now();
    let end = began + Duration::from_secs_f64(seconds.parse().unwrap());
    load.run(began, end, rate);
    load.print(began.elapsed());
}

struct Load {
    request: Vec<u8>,
    connections: Vec<Connection>,
    /// Numbers of the connections that wait for no response.
    idle: Vec<usize>,
    /// Planned times of requests that have not been sent yet.
    due: VecDeque<Instant>,
    latencies: Vec<Duration>,
    late: Vec<Duration>,
    failed: u32,
}

impl Load {
    fn run(&mut self, began: Instant, end: Instant, rate: f64) {
        let ready = epoll::create(epoll::CreateFlags::empty()).unwrap();
        for (number, connection) in (0_u64..).zip(&self.connections) {
            epoll::add(&ready, &connection.stream, epoll::EventData::new_u64(number), epoll::EventFlags::IN)
                .unwrap();
        }
        let mut next = began;
        let mut events = Vec::with_capacity(self.connections.len());
        loop {
            let now = Instant::now();
            while next <= now && next < end {
                self.due.push_back(next);
                self.late.push(now - next);
                // Independent callers send requests at exponentially distributed intervals.
                next += Duration::from_secs_f64(-(1.0 - fastrand::f64()).ln() / rate);
            }
            self.send();
            let is_done = next >= end && self.due.is_empty() && self.idle.len() == self.connections.len();
            if is_done {
                return;
            }
            assert!(
                now < end + PATIENCE,
                "{} responses are missing",
                self.connections.len() - self.idle.len()
            );
            let until = if next < end { next } else { end + PATIENCE };
            let wait = Timespec::try_from(until.saturating_duration_since(Instant::now())).unwrap();
            epoll::wait(&ready, spare_capacity(&mut events), Some(&wait)).unwrap();
            for event in events.drain(..) {
                self.receive(usize::try_from(event.data.u64()).unwrap());
            }
        }
    }

    fn send(&mut self) {
        while !self.due.is_empty()
            && let Some(number) = self.idle.pop()
        {
            let connection = self.connections.get_mut(number).unwrap();
            connection.planned = self.due.pop_front();
            // The socket's buffer is empty, so it has room for a request.
            connection.stream.write_all(&self.request).unwrap();
        }
    }

    fn receive(&mut self, number: usize) {
        let connection = self.connections.get_mut(number).unwrap();
        if let Some(is_success) = connection.read() {
            self.latencies.push(connection.planned.take().unwrap().elapsed());
            self.failed += u32::from(!is_success);
            self.idle.push(number);
        }
    }

    fn print(&mut self, took: Duration) {
        let requests = self.latencies.len();
        let micros = |times: &mut Vec<Duration>, percent: usize| {
            times.sort_unstable();
            let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
            times.get(at).map_or(0, Duration::as_micros)
        };
        let [p50, p90, p99, max] = [50, 90, 99, 100].map(|percent| micros(&mut self.latencies, percent));
        let late = micros(&mut self.late, 99);
        println!(
            r#"{{"requests":{requests},"us":{},"p50":{p50},"p90":{p90},"p99":{p99},"max":{max},"late_p99":{late},"failed":{}}}"#,
            took.as_micros(),
            self.failed
        );
    }
}

struct Connection {
    stream: TcpStream,
    /// The planned time of the request in flight.
    planned: Option<Instant>,
    /// The head of the response so far.
    head: Vec<u8>,
    /// Bytes of the body that have not arrived; `None` before the end of the head.
    left: Option<usize>,
}

impl Connection {
    /// Connects and gets a first response, so that no measured request waits until the server accepts its connection.
    /// Accepting 64 connections takes 5 ms, and half a percent of a second's requests are due in that time.
    fn open(port: u16, request: &[u8]) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request).unwrap();
        let mut connection = Self { stream, planned: None, head: Vec::new(), left: None };
        assert_eq!(connection.read(), Some(true), "the first response is not a success");
        connection.stream.set_nonblocking(true).unwrap();
        connection
    }

    /// Reads what has arrived. Returns whether the response is a success, once it is complete.
    fn read(&mut self) -> Option<bool> {
        let mut room = [0; 16 * 1024];
        loop {
            let read = match self.stream.read(&mut room) {
                Ok(0) => panic!("a connection was closed"),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => panic!("{error}"),
            };
            let arrived = room.get(..read).unwrap();
            self.left = if let Some(left) = self.left {
                Some(left.checked_sub(read).expect("more than the body"))
            } else {
                self.head.extend_from_slice(arrived);
                let Some(end) = memchr::memmem::find(&self.head, b"\r\n\r\n") else { continue };
                Some(body_length(self.head.get(..end).unwrap()) - (self.head.len() - end - 4))
            };
            if self.left == Some(0) {
                self.left = None;
                let is_success = self.head.starts_with(b"HTTP/1.1 200");
                self.head.clear();
                return Some(is_success);
            }
        }
    }
}

fn body_length(head: &[u8]) -> usize {
    let head = head.to_ascii_lowercase();
    let at = memchr::memmem::find(&head, b"content-length: ").expect("a length") + 16;
    let digits: String =
        head.iter().skip(at).take_while(|byte| byte.is_ascii_digit()).map(|byte| char::from(*byte)).collect();
    digits.parse().unwrap()
}
