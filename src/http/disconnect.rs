//! Detects that a caller disconnects while it waits for Zoom.
//!
//! A closed connection and a half-closed one look the same to this service: the caller sends no more. actix can be
//! configured to drop the request in both cases. Here it is configured to detect neither. This file only reports
//! that the caller sends no more. The response is still written, because a caller that closed only its own direction
//! reads it.

use std::{
    io::ErrorKind,
    net,
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use actix_web::{HttpRequest, dev::Extensions, rt::net::TcpStream};
use tokio::io::Interest;

use super::context::RequestContext;

/// A caller that stops sending within this time is assumed to read the response: some clients close their own direction
/// right after the request. A caller that gives up normally does so later.
const HALF_CLOSE_GRACE: Duration = Duration::from_millis(20);

/// A second handle on a caller's connection, because actix does not share its own.
struct ConnectionHandle(net::TcpStream);

/// Attaches a second handle to a new connection, so that its requests can detect a disconnect.
pub fn watch_connection(stream: &TcpStream, extensions: &mut Extensions) {
    // If the process has no file descriptor left, disconnects go undetected on this connection.
    if let Ok(handle) = stream.as_fd().try_clone_to_owned() {
        extensions.insert(ConnectionHandle(handle.into()));
    }
}

/// Completes when the caller stops sending. Never completes if the caller stays connected, stopped sending within
/// [`HALF_CLOSE_GRACE`], or cannot be watched.
pub(super) async fn disconnected(request: &HttpRequest, context: &RequestContext) {
    let began = Instant::now();
    let handle = request.conn_data::<ConnectionHandle>().and_then(|handle| handle.0.try_clone().ok());
    // Registered with the runtime only while a caller waits, because every arriving byte wakes this task.
    let watched = handle.and_then(|handle| TcpStream::from_std(handle).ok());
    if let Some(watched) = watched {
        while let Ok(ready) = watched.ready(Interest::READABLE).await {
            if ready.is_read_closed() {
                if began.elapsed() < HALF_CLOSE_GRACE {
                    break;
                }
                context.disconnected.set(true);
                return;
            }
            // The caller has sent its next request. Reporting "would block" clears the readiness without reading any
            // of it.
            drop(watched.try_io(Interest::READABLE, || Err::<(), _>(ErrorKind::WouldBlock.into())));
        }
    }
    std::future::pending::<()>().await;
}
