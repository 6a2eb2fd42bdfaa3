//! A connection for awc. awc reads only canonical responses from it, each to the request that was sent before.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use actix_rt::net::{ActixStream, Ready, TcpStream};
use bytes::{Buf as _, BytesMut};
use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::answer::AnswerReader;

/// The maximum number of bytes that one read takes.
const READ: usize = 4 * 1024;

/// Bytes arrived without a request, or the peer has closed the connection. The next request was not written, because
/// it could get a response meant for another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection was closed, or sent a response without a request, while it was idle")]
pub(crate) struct InDoubt;

/// A TCP connection, with or without TLS.
pub(super) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

pub(crate) struct ZoomConnection {
    stream: Stream,
    reader: AnswerReader,
    /// Bytes from the wire that are not parsed yet.
    input: BytesMut,
    /// Parsed bytes that awc has not read yet.
    output: BytesMut,
    /// Whether the connection has carried a request.
    is_used: bool,
}

impl ZoomConnection {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            reader: AnswerReader::default(),
            input: BytesMut::new(),
            output: BytesMut::new(),
            is_used: false,
        }
    }

    /// Checks right before a request is written that no byte has arrived, because awc would take it for the response.
    fn begin(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        // On a new TLS connection, the kernel may hold session tickets.
        let is_settled = self.is_used || matches!(self.stream, Stream::Left(_));
        let has_input = is_settled && self.has_input();
        if has_input || !self.poll_quiet(context) {
            return Err(self.doubt());
        }
        self.is_used = true;
        self.reader.begin();
        Ok(())
    }

    fn tcp(&self) -> &TcpStream {
        match &self.stream {
            Stream::Left(tcp) => tcp,
            Stream::Right(tls) => tls.get_ref().0,
        }
    }

    /// Returns whether the kernel has bytes to read, or the peer has closed. The runtime notices that only when it next
    /// polls for events.
    fn has_input(&self) -> bool {
        let peeked = rustix::net::recv(self.tcp(), &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        !matches!(peeked, Err(rustix::io::Errno::AGAIN))
    }

    /// Returns whether no byte has arrived, and the peer has not closed.
    fn poll_quiet(&mut self, context: &mut Context<'_>) -> bool {
        let mut byte = [0];
        self.reader.is_idle()
            && self.input.is_empty()
            && self.output.is_empty()
            && Pin::new(&mut self.stream).poll_read(context, &mut ReadBuf::new(&mut byte)).is_pending()
    }

    fn doubt(&mut self) -> io::Error {
        self.reader.close();
        io::Error::new(io::ErrorKind::NotConnected, InDoubt)
    }

    /// Frees the buffers after a response. Hundreds of connections may be idle in the pool, and their memory is not counted.
    fn free_buffers(&mut self) {
        self.output = BytesMut::new();
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    /// Reads once. Returns false at the end of the stream.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut space = [0; READ];
        let mut space = ReadBuf::new(&mut space);
        let read = Pin::new(&mut self.stream).poll_read(context, &mut space);
        read.map_ok(|()| {
            self.input.extend_from_slice(space.filled());
            !space.filled().is_empty()
        })
    }
}

impl AsyncRead for ZoomConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.output.is_empty() {
                let some = this.output.split_to(this.output.len().min(buffer.remaining()));
                buffer.put_slice(some.chunk());
                if this.output.is_empty() && !this.reader.is_reading() {
                    this.free_buffers();
                }
                return Poll::Ready(Ok(()));
            }
            if this.reader.is_idle() || this.reader.is_closed() {
                // awc polls an idle connection to learn whether it is still usable.
                let quiet = this.poll_quiet(context);
                return if quiet { Poll::Pending } else { Poll::Ready(Err(this.doubt())) };
            }
            let more = match std::task::ready!(this.poll_fill(context)) {
                Ok(more) => more,
                Err(error) => {
                    this.reader.close();
                    return Poll::Ready(Err(error));
                }
            };
            let read = if more {
                this.reader.read(&mut this.input, &mut this.output)
            } else {
                this.reader.end(&this.input, &mut this.output)
            };
            if let Err(malformed) = read {
                // awc must not see the head that may have been half written.
                this.output.clear();
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, malformed)));
            }
        }
    }
}

impl AsyncWrite for ZoomConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.reader.is_idle() {
            self.begin(context)?;
        } else if self.reader.is_closed() {
            return Poll::Ready(Err(self.doubt()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.reader.close();
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// awc requires this trait, but calls neither method.
impl ActixStream for ZoomConnection {
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_read_ready(self.tcp(), context)
    }

    fn poll_write_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        ActixStream::poll_write_ready(self.tcp(), context)
    }
}

/// awc requires this trait. The output contains no byte from the wire.
impl fmt::Debug for ZoomConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZoomConnection").field("reader", &self.reader).finish_non_exhaustive()
    }
}
