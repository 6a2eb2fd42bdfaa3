//! What actix is given to read of a connection: one request at a time, and nothing while an answer is owed.
//!
//! actix decodes ahead whatever it can read, without an end to it, and encodes an answer in the manner of the request that it decoded
//! last. Here it reads the head of a request and pauses; the body, exactly; and the next head only when the answer is out.
//! Whatever is in doubt is the connection's end.

mod reading;
#[cfg(test)]
mod tests;

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::{Duration, Instant, SystemTime},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    deadline::Timer,
    framing::Framing,
    head::HeadScan,
    link::{Arrived, Link},
    meter::Meter,
    socket::Socket,
};
use crate::metrics::ConnectionRefusal;

/// How long a connection may be of no use.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From a head's first byte to its last; and from there to the last byte of the request's body.
    pub head: Duration,
    /// Without a request.
    pub idle: Duration,
    /// Without progress in an answer.
    pub write: Duration,
}

/// A connection, as actix sees it.
pub(super) struct Guard<S> {
    socket: S,
    link: Rc<Link>,
    meter: Meter,
    timeouts: Timeouts,
    timer: Timer,
    phase: Phase,
    scan: HeadScan,
    /// Was read, and belongs to a head that is not whole yet, or behind what may be handed over now.
    pending: BytesMut,
    /// A request was handed over whose answer is not out.
    owes: bool,
    /// When the connection was opened, or its last answer was out.
    idle_since: Instant,
    /// When the first byte of the present head came, if that is not whole.
    head_began: Option<Instant>,
    /// There is a body now, and actix was not told yet.
    begins_body: bool,
    /// When the present body has to be whole.
    body_until: Instant,
    /// Set while the peer takes nothing of an answer.
    write_until: Option<Instant>,
}

/// What may be handed over.
#[derive(Debug)]
enum Phase {
    /// The next head, once it is whole.
    Head,
    /// So many bytes of `pending`: the rest of a head.
    RestOfHead(usize),
    /// Nothing: actix has a head, and has yet to say what it is.
    Handed,
    /// The body of its request.
    Body(Framing),
    /// Nothing: it has a whole request.
    Whole,
    /// Nothing any more, ever.
    Ended,
}

impl<S: Socket> Guard<S> {
    pub(super) fn new(socket: S, timeouts: Timeouts, meter: Meter) -> Self {
        let now = Instant::now();
        Self {
            socket,
            link: Rc::default(),
            meter,
            timeouts,
            timer: Timer::new(now + timeouts.idle),
            phase: Phase::Head,
            scan: HeadScan::default(),
            pending: BytesMut::new(),
            owes: false,
            idle_since: now,
            head_began: None,
            begins_body: false,
            body_until: now,
            write_until: None,
        }
    }

    pub(super) fn socket(&self) -> &S {
        &self.socket
    }

    pub(super) fn link(&self) -> Rc<Link> {
        Rc::clone(&self.link)
    }

    /// Hears what actix made of the head that it was given.
    fn hear(&mut self) {
        if !matches!(self.phase, Phase::Handed) {
            return;
        }
        if let Some(Arrived { body }) = self.link.take_request() {
            self.owes = true;
            self.phase = Phase::Whole;
            if let Some(framing) = body {
                self.phase = Phase::Body(framing);
                self.begins_body = true;
                self.body_until = Instant::now() + self.timeouts.head;
            }
        }
    }

    /// The answer is out: the next request may come.
    fn expect_request(&mut self, context: &mut Context<'_>) {
        self.phase = Phase::Head;
        self.idle_since = Instant::now();
        self.head_began = (!self.pending.is_empty()).then_some(self.idle_since);
        self.go_on_reading(context);
    }

    /// actix was told that there is nothing to read, and reads again only when it is woken up.
    fn go_on_reading(&mut self, context: &mut Context<'_>) {
        if !self.pending.is_empty()
            || self.socket.poll_read_ready(context).is_ready()
            || self.has_waited_too_long(context)
        {
            context.waker().wake_by_ref();
        }
    }

    /// For the peer to send what it has to send next.
    fn has_waited_too_long(&mut self, context: &mut Context<'_>) -> bool {
        let until = match (&self.phase, self.head_began) {
            (Phase::Body(_), _) => self.body_until,
            (_, Some(began)) => began + self.timeouts.head,
            (_, None) => self.idle_since + self.timeouts.idle,
        };
        self.timer.has_come(until, context)
    }

    /// Answers in actix's place to what is not going to be a request.
    fn refuse(&mut self, status: &str, reason: ConnectionRefusal) {
        self.meter.refused(reason);
        let date = httpdate::fmt_http_date(SystemTime::now());
        let answer =
            format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\ndate: {date}\r\n\r\n");
        // Nothing is on its way to the peer: either the system takes it, or the peer is gone.
        drop(self.socket.write_now(answer.as_bytes()));
        self.phase = Phase::Ended;
    }

    fn end(&mut self) -> Poll<io::Result<()>> {
        self.phase = Phase::Ended;
        Poll::Ready(Ok(()))
    }

    /// The peer takes nothing.
    fn wait_for_room(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let until = *self.write_until.get_or_insert_with(|| Instant::now() + self.timeouts.write);
        if !self.timer.has_come(until, context) {
            return Poll::Pending;
        }
        // The system says that there is room again only when there is much. Any at all is progress.
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
        guard.hear();
        match guard.phase {
            Phase::Head => guard.poll_head(context, out),
            Phase::RestOfHead(rest) => {
                guard.hand_over_rest(rest, out);
                Poll::Ready(Ok(()))
            }
            Phase::Body(_) => guard.poll_body(context, out),
            // The flush that ends the answer goes on from here.
            Phase::Handed | Phase::Whole => Poll::Pending,
            Phase::Ended => Poll::Ready(Ok(())),
        }
    }
}

impl<S: Socket> AsyncWrite for Guard<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let guard = self.get_mut();
        guard.hear();
        if matches!(guard.phase, Phase::Handed) {
            // An answer without a request: actix refuses the head, and closes the connection.
            guard.meter.refused(ConnectionRefusal::Malformed);
            guard.phase = Phase::Ended;
        }
        let Poll::Ready(written) = Pin::new(&mut guard.socket).poll_write(context, bytes) else {
            return guard.wait_for_room(context, bytes);
        };
        guard.write_until = None;
        Poll::Ready(written)
    }

    /// actix flushes when it has nothing left to write, and after each look at what it has read.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        ready!(Pin::new(&mut guard.socket).poll_flush(context))?;
        guard.hear();
        if matches!(guard.phase, Phase::Handed) {
            // A whole head, and neither a request nor an answer: it takes the head for a part of one.
            guard.meter.refused(ConnectionRefusal::Malformed);
            guard.phase = Phase::Ended;
            context.waker().wake_by_ref();
        }
        if guard.owes && !guard.link.is_answering() {
            guard.owes = false;
            if matches!(guard.phase, Phase::Whole) {
                guard.expect_request(context);
            }
        }
        // Once: from then on actix reads when it has room, and is woken when something comes.
        if std::mem::take(&mut guard.begins_body) {
            guard.go_on_reading(context);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}
