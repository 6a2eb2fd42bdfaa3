//! What the guard needs of a connection besides reading and writing.

use std::{
    io,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + 'static {
    /// Ready when there may be something to read; otherwise the task is woken then.
    fn poll_read_ready(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Writes what the system takes at this moment, whatever it said last.
    fn write_now(&self, bytes: &[u8]) -> io::Result<usize>;

    /// From now on a drop resets the connection, and the system lets go of what it has not sent.
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
        // Without it the system goes on by itself for a while; nothing worse.
        drop(self.set_zero_linger());
    }
}
