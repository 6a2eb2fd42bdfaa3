//! The guard's reading side: hands over one complete head, or the bytes that belong to a body.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::{Buf as _, BytesMut};
use tokio::io::ReadBuf;

use super::{Guard, Phase};
use crate::metrics::ConnectionRefusal;
use crate::server::{
    framing::Taken,
    head::{HeadScan, leading_empty_lines},
    socket::Socket,
};

/// The maximum length of a head, in bytes: four times the longest signed token.
const LONGEST_HEAD: usize = 64 * 1024;

impl<S: Socket> Guard<S> {
    pub(super) fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.take_pending_head(out) {
                return Poll::Ready(Ok(()));
            }
            let before = out.filled().len();
            match Pin::new(&mut self.socket).poll_read(context, out) {
                Poll::Pending => return self.poll_head_timeout(context),
                Poll::Ready(read) => read?,
            }
            let read = out.filled_mut().get_mut(before..).unwrap_or_default();
            let Some(first) = read.first() else { return self.end() };
            // Nearly every head arrives complete and alone. Such a head is not copied.
            if self.pending.is_empty() && !matches!(first, b'\r' | b'\n') {
                match self.scan.scan(read) {
                    Some(end) if end == read.len() => {
                        self.handed_over();
                        return Poll::Ready(Ok(()));
                    }
                    Some(_) => self.scan = HeadScan::default(),
                    None => {}
                }
            }
            self.head_began.get_or_insert_with(Instant::now);
            self.pending.extend_from_slice(read);
            out.set_filled(before);
        }
    }

    /// Hands over a complete head from `pending`, or refuses one that is too long. Returns false if the head is incomplete.
    fn take_pending_head(&mut self, out: &mut ReadBuf<'_>) -> bool {
        let empty = leading_empty_lines(&self.pending);
        if empty > 0 {
            self.pending.advance(empty);
            self.scan = HeadScan::default();
        }
        if let Some(end) = self.scan.scan(&mut self.pending) {
            self.hand_over_rest(end, out);
            return true;
        }
        if self.pending.len() > LONGEST_HEAD {
            self.refuse("431 Request Header Fields Too Large", ConnectionRefusal::HeadTooLong);
            return true;
        }
        false
    }

    pub(super) fn hand_over_rest(&mut self, rest: usize, out: &mut ReadBuf<'_>) {
        let here = rest.min(out.remaining());
        self.hand_over_pending(here, out);
        if here == rest {
            self.handed_over();
        } else {
            self.phase = Phase::RestOfHead(rest - here);
        }
    }

    fn hand_over_pending(&mut self, length: usize, out: &mut ReadBuf<'_>) {
        out.put_slice(self.pending.get(..length).unwrap_or_default());
        self.pending.advance(length);
        if self.pending.is_empty() {
            self.pending = BytesMut::new();
        }
    }

    fn handed_over(&mut self) {
        self.link.handed_over.set(true);
        self.phase = Phase::Handed;
        self.scan = HeadScan::default();
        self.head_began = None;
    }

    fn poll_head_timeout(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_read_timeout(context));
        if self.head_began.is_some() {
            self.refuse("408 Request Timeout", ConnectionRefusal::HeadTimeout);
        }
        self.end()
    }

    pub(super) fn poll_body(
        &mut self,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        if self.pending.is_empty() {
            match Pin::new(&mut self.socket).poll_read(context, out) {
                Poll::Pending => {
                    ready!(self.poll_read_timeout(context));
                    self.meter.refused(ConnectionRefusal::HeadTimeout);
                    return self.end();
                }
                Poll::Ready(read) => read?,
            }
        } else {
            self.hand_over_pending(self.pending.len().min(out.remaining()), out);
        }
        let read = out.filled().get(before..).unwrap_or_default();
        if read.is_empty() {
            return self.end();
        }
        let Phase::Body(framing) = &mut self.phase else { return self.end() };
        let (body, next) = match framing.take(read) {
            Taken::All => return Poll::Ready(Ok(())),
            Taken::Whole(length) => (length, Phase::Whole),
            Taken::Broken(length) => {
                self.meter.refused(ConnectionRefusal::Malformed);
                (length, Phase::Ended)
            }
        };
        self.put_back(body, before, out);
        self.phase = next;
        if matches!(self.phase, Phase::Whole) && !self.owes_response {
            self.expect_request(context);
        }
        Poll::Ready(Ok(()))
    }

    /// Moves the bytes after the body from `out` to `pending`.
    fn put_back(&mut self, body: usize, before: usize, out: &mut ReadBuf<'_>) {
        let behind = out.filled().get(before + body..).unwrap_or_default();
        if !behind.is_empty() {
            let mut pending = BytesMut::from(behind);
            pending.extend_from_slice(&self.pending);
            self.pending = pending;
            out.set_filled(before + body);
        }
    }
}
