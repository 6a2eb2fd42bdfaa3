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
    /// Returns `Ready` if there may be something to read. Otherwise the task is woken when there is.
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Writes as many bytes as the kernel accepts now, even if it last reported the socket as full.
    fn write_now(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Makes a drop reset the connection, so that the kernel discards unsent bytes.
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
        // If this fails, the kernel keeps trying to send the bytes for a while.
        drop(self.set_zero_linger());
    }
}
