//! The server: a thread, a listener, and keep-alive connections.
//!
//! Raw TCP and `httparse` instead of a web framework, because tests need undecoded paths and answers that break off at a given
//! byte.

mod request;
mod wire;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

pub(crate) use request::Request;

use crate::control;
use crate::reply::Reply;
use crate::state::Shared;
use wire::Connection;

/// The running server; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Server {
    addr: SocketAddr,
    /// Dropped to stop the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves on its own thread, including `/_sim/` if `control` is set.
    pub(crate) fn start(listen: SocketAddr, shared: Arc<Shared>, control: bool) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("zoom-sim".to_owned()).spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    () = accept(listener, shared, control) => {}
                    // Dropping the sender stops the server.
                    _ = stopped => {}
                }
            });
            // Ends hanging and delayed calls, and does not wait for a page that is being compressed.
            runtime.shutdown_background();
        })?;
        Ok(Self { addr, stop: Some(stop), thread: Some(thread) })
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // If the thread panicked, it has already printed the message.
            drop(thread.join());
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, control: bool) {
    // This only fails outside a runtime.
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    let mut number = 0;
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Probably out of file descriptors. Try again soon: some may be free by then.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        number += 1;
        tokio::spawn(serve(Connection::new(stream), number, Arc::clone(&shared), control));
    }
}

/// Answers the requests of one connection in turn, until either side closes it.
async fn serve(mut connection: Connection, number: u64, shared: Arc<Shared>, control: bool) {
    loop {
        let request = match connection.request().await {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(_) => {
                let mut reply = Reply::text(400, "text/plain", "Bad request");
                reply.bare = true;
                // The connection ends here either way.
                drop(connection.deliver(reply, "", false).await);
                return;
            }
        };
        let keep_alive = request.keep_alive;
        let served = if control && request.target.starts_with(control::PREFIX) {
            let reply = control::answer(&shared, &request);
            connection.deliver(reply, "", keep_alive).await
        } else {
            exchange(&mut connection, number, &shared, request).await
        };
        if !matches!(served, Ok(true)) {
            return;
        }
    }
}

/// Records a request, decides its answer, waits, and sends the answer. Returns whether the connection stays open.
async fn exchange(
    connection: &mut Connection,
    number: u64,
    shared: &Shared,
    request: Request,
) -> io::Result<bool> {
    let keep_alive = request.keep_alive;
    let outcome = shared.receive(request, number);
    let (call, tracking_id) = (outcome.number, outcome.tracking_id.clone());
    if !outcome.delay.is_zero() {
        tokio::select! {
            () = tokio::time::sleep(outcome.delay) => {}
            () = connection.gone() => return Ok(false),
        }
    }
    // Compressing a large page here would delay the recorded arrival of other calls.
    let reply = if outcome.gzip {
        tokio::task::spawn_blocking(|| outcome.reply()).await.map_err(io::Error::other)?
    } else {
        outcome.reply()
    };
    if reply.delivery.answers() {
        // Record the answer before its first byte is sent, so that a client that has the answer also finds it in the record.
        shared.lock().record.answered(call, reply.status, reply.code);
    }
    connection.deliver(reply, &tracking_id, keep_alive).await
}
