//! Whether a caller who waits for Zoom has hung up.
//!
//! A closed connection and one that is closed in one direction look the same from here: no more is sent to us. actix
//! would cut off both, or (as it is set up) notice neither. Here it is only said that it happened; the answer is written
//! all the same, to whoever may be left to read it.

use std::{
    io::ErrorKind,
    net,
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use actix_web::{HttpRequest, dev::Extensions, rt::net::TcpStream};
use tokio::io::Interest;

use super::access_log::Notes;

/// Some clients close their own direction with the request and listen on. Who means to go away does so later.
const CLOSES_WITH_THE_REQUEST: Duration = Duration::from_millis(20);

/// A second handle on a caller's connection: actix keeps the first to itself.
struct Connection(net::TcpStream);

/// For each new connection.
pub fn watch_for(stream: &TcpStream, extensions: &mut Extensions) {
    // Without a handle left it cannot be told, and nobody counts as gone.
    if let Ok(handle) = stream.as_fd().try_clone_to_owned() {
        extensions.insert(Connection(handle.into()));
    }
}

/// Returns when this caller sends no more, and never while it might.
pub(super) async fn hang_up(request: &HttpRequest, notes: &Notes) {
    let began = Instant::now();
    let handle = request.conn_data::<Connection>().and_then(|connection| connection.0.try_clone().ok());
    // Registered only while somebody waits: it wakes up with everything that arrives.
    let watched = handle.and_then(|handle| TcpStream::from_std(handle).ok());
    if let Some(watched) = watched {
        while let Ok(ready) = watched.ready(Interest::READABLE).await {
            if ready.is_read_closed() {
                if began.elapsed() < CLOSES_WITH_THE_REQUEST {
                    break;
                }
                notes.hung_up.set(true);
                return;
            }
            // The next request, already. It is left unread; this is how to say that there was nothing to be read.
            drop(watched.try_io(Interest::READABLE, || Err::<(), _>(ErrorKind::WouldBlock.into())));
        }
    }
    std::future::pending::<()>().await;
}
