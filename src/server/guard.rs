//! The layer between a connection and actix, which gives actix one request at a time.
//!
//! actix decodes ahead without a limit, and encodes a response by the properties of the request that it decoded
//! last. The guard therefore hands over the head of one request, then exactly its body, and the next head only after
//! the response is written. If the end of a request is in doubt, the guard ends the connection.

mod reading;
#[cfg(test)]
pub(super) mod tests;

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Instant, SystemTime},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    deadline::{Timeouts, Timer},
    framing::BodyFraming,
    head::HeadScan,
    link::GuardLink,
    meter::ConnectionMeter,
    socket::Socket,
};
use crate::metrics::ConnectionRefusal;

/// A connection, as actix sees it.
pub(super) struct Guard<S> {
    pub(super) socket: S,
    pub(super) link: Rc<GuardLink>,
    meter: ConnectionMeter,
    timeouts: Timeouts,
    timer: Timer,
    phase: Phase,
    scan: HeadScan,
    /// The bytes that were read but not handed over, such as an incomplete head, or the bytes after the current request.
    pending: BytesMut,
    /// Whether a request was handed over and its response is not written yet.
    owes_response: bool,
    /// When the wait for a request began: at the start of the connection, or when the last request and its response
    /// were complete.
    idle_since: Instant,
    /// The time from which the timeout of an incomplete head counts; `None` if no byte of a head has arrived.
    head_began: Option<Instant>,
    /// Whether a body begins, and actix has not been woken to read it yet.
    begins_body: bool,
    /// The deadline of the current body.
    body_until: Instant,
    /// The deadline of a write; `None` unless the peer has stopped accepting bytes.
    write_until: Option<Instant>,
}

/// The bytes that may be handed over next.
#[derive(Debug)]
enum Phase {
    /// The next head, once it is complete.
    Head,
    /// This many bytes of `pending`: the rest of a head that did not fit into actix's buffer.
    RestOfHead(usize),
    /// Nothing yet: actix has a head, and has not reported the request.
    Handed,
    /// The body of the request.
    Body(BodyFraming),
    /// Nothing until the response is written: actix has the complete request.
    Whole,
    /// Nothing, because the connection ends.
    Ended,
}

impl<S: Socket> Guard<S> {
    pub(super) fn new(socket: S, timeouts: Timeouts, meter: ConnectionMeter) -> Self {
        let now = Instant::now();
        Self {
            socket,
            link: Rc::new(GuardLink::new(meter.open())),
            meter,
            timeouts,
            timer: Timer::new(now + timeouts.idle),
            phase: Phase::Head,
            scan: HeadScan::default(),
            pending: BytesMut::new(),
            owes_response: false,
            idle_since: now,
            head_began: None,
            begins_body: false,
            body_until: now,
            write_until: None,
        }
    }

    /// Enters the phase of the body if actix has parsed the head.
    fn take_parsed_request(&mut self) {
        if !matches!(self.phase, Phase::Handed) {
            return;
        }
        if let Some(body) = self.link.parsed.take() {
            self.owes_response = true;
            self.phase = Phase::Whole;
            if body != BodyFraming::Length(0) {
                self.phase = Phase::Body(body);
                self.begins_body = true;
                self.body_until = Instant::now() + self.timeouts.head;
            }
        }
    }

    /// Expects the next request, after the response is written.
    fn expect_request(&mut self, context: &mut Context<'_>) {
        self.phase = Phase::Head;
        self.idle_since = Instant::now();
        self.head_began = (!self.pending.is_empty()).then_some(self.idle_since);
        self.resume_reading(context);
    }

    /// Wakes actix if there may be something to read, because actix does not repeat a read that was pending.
    fn resume_reading(&mut self, context: &mut Context<'_>) {
        if !self.pending.is_empty()
            || self.socket.poll_read_ready(context).is_ready()
            || self.poll_read_timeout(context).is_ready()
        {
            context.waker().wake_by_ref();
        }
    }

    /// Returns `Ready` when the head or the body is late, or when the connection was idle for too long.
    fn poll_read_timeout(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let until = match (&self.phase, self.head_began) {
            (Phase::Body(_), _) => self.body_until,
            (_, Some(began)) => began + self.timeouts.head,
            (_, None) => self.idle_since + self.timeouts.idle,
        };
        self.timer.poll_until(until, context)
    }

    /// Responds in place of actix, and ends the connection.
    fn refuse(&mut self, status: &str, reason: ConnectionRefusal) {
        self.meter.refused(reason);
        let date = httpdate::fmt_http_date(SystemTime::now());
        let response =
            format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\ndate: {date}\r\n\r\n");
        // No other response is being written, so the kernel nearly always has room for this one.
        drop(self.socket.write_now(response.as_bytes()));
        self.phase = Phase::Ended;
    }

    fn end(&mut self) -> Poll<io::Result<()>> {
        self.phase = Phase::Ended;
        Poll::Ready(Ok(()))
    }

    /// Waits for a peer that accepts no bytes, until the deadline of the write.
    fn poll_stalled_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let until = *self.write_until.get_or_insert_with(|| Instant::now() + self.timeouts.write);
        ready!(self.timer.poll_until(until, context));
        // The kernel reports a socket as writable only if much of its buffer is free. Here one free byte counts as progress.
        if let Ok(written @ 1..) = self.socket.write_now(bytes) {
            self.write_until = None;
            return Poll::Ready(Ok(written));
        }
        self.meter.refused(ConnectionRefusal::WriteTimeout);
        self.socket.reset_when_dropped();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: Socket> AsyncRead for Guard<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        guard.take_parsed_request();
        match guard.phase {
            Phase::Head => guard.poll_head(context, out),
            Phase::RestOfHead(rest) => {
                guard.hand_over_rest(rest, out);
                Poll::Ready(Ok(()))
            }
            Phase::Body(_) => guard.poll_body(context, out),
            // The flush after the response wakes the task.
            Phase::Handed | Phase::Whole => Poll::Pending,
            Phase::Ended => Poll::Ready(Ok(())),
        }
    }
}

impl<S: Socket> AsyncWrite for Guard<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let guard = self.get_mut();
        guard.take_parsed_request();
        if matches!(guard.phase, Phase::Handed) {
            // actix responds but has not reported a request, so it has rejected the head, and will close the
            // connection.
            guard.meter.refused(ConnectionRefusal::Malformed);
            guard.phase = Phase::Ended;
        }
        let Poll::Ready(written) = Pin::new(&mut guard.socket).poll_write(context, bytes) else {
            return guard.poll_stalled_write(context, bytes);
        };
        guard.write_until = None;
        Poll::Ready(written)
    }

    /// actix flushes when it has nothing left to write, and after each attempt to decode what it has read.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        ready!(Pin::new(&mut guard.socket).poll_flush(context))?;
        guard.take_parsed_request();
        if matches!(guard.phase, Phase::Handed) {
            // There is neither a request nor a response after a complete head, so actix considers the head incomplete.
            guard.meter.refused(ConnectionRefusal::Malformed);
            guard.phase = Phase::Ended;
            context.waker().wake_by_ref();
        }
        if guard.owes_response && !guard.link.answering.get() {
            guard.owes_response = false;
            if matches!(guard.phase, Phase::Whole) {
                guard.expect_request(context);
            }
        }
        // actix must be woken once for each body. After that, it reads when it has room, and is woken when bytes
        // arrive.
        if std::mem::take(&mut guard.begins_body) {
            guard.resume_reading(context);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}
