//! Opens a tunnel through an HTTP proxy: `CONNECT`.

use std::io;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The maximum length of the head of a proxy's response, in bytes.
const LONGEST_HEAD: usize = 16 * 1024;

/// Asks the proxy for a connection to `target`, as `host:port`. After that, the connection carries only our bytes.
///
/// # Errors
/// There is no tunnel. The error is a message for operators.
pub(super) async fn open(
    proxy: &mut TcpStream,
    target: &str,
    authorization: Option<&str>,
) -> Result<(), String> {
    let broken = |error: io::Error| format!("it does not answer CONNECT: {}", error.kind());
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(authorization) = authorization {
        request.extend(["Proxy-Authorization: ", authorization, "\r\n"]);
    }
    request.push_str("\r\n");
    proxy.write_all(request.as_bytes()).await.map_err(broken)?;
    let head = read_head(proxy).await.map_err(broken)?;
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let status = response.parse(&head).ok().and(response.code);
    match status {
        Some(200..=299) => Ok(()),
        // tinyproxy responds with 401, as if it were the origin.
        Some(status @ (401 | 407)) if authorization.is_some() => {
            Err(format!("it refuses our user or password ({status})"))
        }
        Some(status @ (401 | 407)) => Err(format!("it demands a user and password ({status})")),
        Some(status) => Err(format!("it refuses a tunnel to {target} ({status})")),
        None => Err("it does not answer as an HTTP proxy".to_owned()),
    }
}

/// Reads byte by byte, because the bytes after the head belong to the target.
async fn read_head(proxy: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == LONGEST_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        head.push(proxy.read_u8().await?);
    }
    Ok(head)
}
