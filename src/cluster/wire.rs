//! Opens one connection to a node. The client library does not open it, so that replies are measured before the library
//! buffers them.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use redis::{
    AsyncConnectionConfig, ConnectionAddr, ErrorKind, RedisConnectionInfo, RedisError,
    aio::MultiplexedConnection,
};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    task::AbortHandle,
};
use tokio_rustls::TlsConnector;

use super::{address::Address, meter::ReplyMeter};

/// Ends a connection's task when it is dropped, even if bytes keep arriving.
pub(super) struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Connects and logs in. A reply larger than `largest` bytes ends the connection.
pub(super) async fn connect(
    address: &Address,
    node: &ConnectionAddr,
    login: &RedisConnectionInfo,
    largest: usize,
    config: AsyncConnectionConfig,
) -> Result<(MultiplexedConnection, Driver), RedisError> {
    match node {
        ConnectionAddr::Tcp(host, port) => drive(dial(host, *port).await?, login, largest, config).await,
        ConnectionAddr::TcpTls { host, port, .. } => {
            let name = ServerName::try_from(host.as_str()).map_err(io::Error::other)?.to_owned();
            let tls = TlsConnector::from(Arc::new(address.tls()));
            let stream = tls.connect(name, dial(host, *port).await?).await?;
            drive(stream, login, largest, config).await
        }
        // `Address` makes no other kinds.
        _ => Err((ErrorKind::InvalidClientConfig, "not an address on the network").into()),
    }
}

async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn drive(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    login: &RedisConnectionInfo,
    largest: usize,
    config: AsyncConnectionConfig,
) -> Result<(MultiplexedConnection, Driver), RedisError> {
    let stream = Measured { stream, meter: ReplyMeter::new(largest) };
    let (connection, driver) = MultiplexedConnection::new_with_config(login, stream, config).await?;
    Ok((connection, Driver(actix_rt::spawn(driver).abort_handle())))
}

/// A stream whose reads fail as soon as a reply is too large or malformed.
struct Measured<S> {
    stream: S,
    meter: ReplyMeter,
}

impl<S: AsyncRead + Unpin> AsyncRead for Measured<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        let new = buffer.filled().get(before..).unwrap_or_default();
        Poll::Ready(this.meter.read(new).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Measured<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
