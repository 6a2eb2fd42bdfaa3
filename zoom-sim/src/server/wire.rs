//! Reads requests from a connection, and writes answers to it: whole, slowly, in half or not at all.

use std::io;
use std::time::Duration;

use jiff::Timestamp;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Request;
use crate::reply::{Delivery, Reply};

/// The most that is sent of a body before a reset, in bytes. A reset discards bytes that the kernel has not sent yet,
/// so the amount must be small enough to be sent immediately.
const BEFORE_RESET: usize = 16 * 1024;

pub(crate) struct Connection {
    stream: TcpStream,
    /// Bytes that were read but not parsed yet.
    buffer: Vec<u8>,
}

/// How the end of a body is marked.
#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
    Close,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Self {
        // Without TCP_NODELAY, a small write waits for the client's delayed acknowledgement. If setting it fails, answers are
        // only slower.
        drop(stream.set_nodelay(true));
        Self { stream, buffer: Vec::new() }
    }

    /// The next request; `None` once the client has closed the connection.
    pub(crate) async fn request(&mut self) -> io::Result<Option<Request>> {
        loop {
            if let Some(request) = Request::take(&mut self.buffer)? {
                return Ok(Some(request));
            }
            // A reset counts as closing the connection.
            if !matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..)) {
                return Ok(None);
            }
        }
    }

    /// Returns when the client has closed or reset the connection.
    pub(crate) async fn gone(&mut self) {
        while let Ok(1..) = self.stream.read_buf(&mut self.buffer).await {}
    }

    /// Writes an answer. Returns whether the connection stays open.
    pub(crate) async fn deliver(
        &mut self,
        reply: Reply,
        tracking: &str,
        keep_alive: bool,
    ) -> io::Result<bool> {
        let body = reply.body.as_slice();
        let (half, _) = body.split_at(body.len() / 2);
        let whole = Framing::Length(body.len());
        let head = |framing, keep_alive| head(&reply, framing, tracking, keep_alive);
        match &reply.delivery {
            Delivery::Whole => {
                self.write(head(whole, keep_alive), body).await?;
                return if keep_alive { Ok(true) } else { self.close().await };
            }
            Delivery::Drip { chunk, every } => {
                self.write(head(whole, keep_alive), b"").await?;
                self.drip(body, *chunk, *every).await?;
                return if keep_alive { Ok(true) } else { self.close().await };
            }
            Delivery::Hang => self.gone().await,
            Delivery::HangInBody => {
                self.write(head(whole, true), half).await?;
                self.gone().await;
            }
            Delivery::ResetBeforeAnswer => return self.reset(),
            Delivery::ResetInBody => {
                let sent = half.get(..BEFORE_RESET).unwrap_or(half);
                self.write(head(whole, true), sent).await?;
                return self.reset();
            }
            Delivery::CloseBeforeAnswer => {}
            Delivery::Truncated => self.write(head(whole, true), half).await?,
            Delivery::TruncatedChunked => {
                self.write(head(Framing::Chunked, true), format!("{:x}\r\n", half.len()).as_bytes()).await?;
                self.stream.write_all(half).await?;
                self.stream.write_all(b"\r\n").await?;
            }
            Delivery::Overannounced(more) => {
                self.write(head(Framing::Length(body.len() + more), true), body).await?;
            }
            Delivery::CloseDelimited => self.write(head(Framing::Close, false), body).await?,
        }
        self.close().await
    }

    async fn write(&mut self, head: String, body: &[u8]) -> io::Result<()> {
        self.stream.write_all(head.as_bytes()).await?;
        self.stream.write_all(body).await
    }

    async fn drip(&mut self, body: &[u8], chunk: usize, every: Duration) -> io::Result<()> {
        for part in body.chunks(chunk.max(1)) {
            self.stream.write_all(part).await?;
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = self.gone() => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        Ok(())
    }

    /// Sends FIN.
    async fn close(&mut self) -> io::Result<bool> {
        self.stream.shutdown().await?;
        Ok(false)
    }

    /// Makes the later drop of the connection send RST. A FIN would look like a clean end.
    fn reset(&self) -> io::Result<bool> {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
        Ok(false)
    }
}

fn head(reply: &Reply, framing: Framing, tracking: &str, keep_alive: bool) -> String {
    let mut lines = vec![
        format!("HTTP/1.1 {} {}", reply.status, reason(reply.status)),
        format!("content-type: {}", reply.content_type),
    ];
    let is_ours = |ours: &str| reply.headers.iter().all(|(name, _)| *name != ours);
    if is_ours("date") {
        lines.push(format!("date: {}", Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT")));
    }
    if !reply.bare {
        if is_ours("x-zm-trackingid") {
            lines.push(format!("x-zm-trackingid: {tracking}"));
        }
        lines.push("cache-control: no-store, no-cache, must-revalidate".to_owned());
        lines.push("set-cookie: _zm_page_auth=us06_c_sim; Max-Age=7200; Path=/; Secure; HttpOnly".to_owned());
        lines.push("set-cookie: cred=51B0; Path=/; Secure; HttpOnly".to_owned());
    }
    lines.extend(reply.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    match framing {
        Framing::Length(length) => lines.push(format!("content-length: {length}")),
        Framing::Chunked => lines.push("transfer-encoding: chunked".to_owned()),
        Framing::Close => {}
    }
    if !keep_alive {
        lines.push("connection: close".to_owned());
    }
    lines.join("\r\n") + "\r\n\r\n"
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        300 => "Multiple Choices",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}
