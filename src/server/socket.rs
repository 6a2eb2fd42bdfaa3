//! The socket operations that the guard needs besides reading and writing.

use std::{
    io,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + 'static {
    /// Ready if there may be something to read. Otherwise the task is woken when there is.
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Writes what the kernel accepts now, even if the socket was last reported as full.
    fn write_now(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Makes a drop reset the connection, so that the kernel discards what it has not sent.
    fn reset_when_dropped(&self);
}

impl Socket for TcpStream {
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_read_ready(self, context)
    }

    fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(self, bytes)?)
    }

    fn reset_when_dropped(&self) {
        // If this fails, the kernel only keeps trying to send for a while.
        drop(self.set_zero_linger());
    }
}
