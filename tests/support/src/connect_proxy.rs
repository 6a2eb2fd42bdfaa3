//! An HTTP proxy like those of corporate networks. The test decides which tunnels the proxy opens.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// A tunnel that a client requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    pub target: String,
    pub authorization: Option<String>,
}

/// A proxy that runs until the test process ends.
pub struct ConnectProxy {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Tunnel>>>,
}

/// Where the tunnel leads, or the status and reason with which the proxy refuses it.
pub type Verdict = Result<SocketAddr, &'static str>;

impl ConnectProxy {
    /// Opens tunnels as `judge` decides.
    pub fn start(judge: impl Fn(&Tunnel) -> Verdict + Send + Sync + 'static) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let proxy = Self { address: listener.local_addr().unwrap(), asked: Arc::default() };
        let (asked, judge) = (Arc::clone(&proxy.asked), Arc::new(judge));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, Arc::clone(&asked), Arc::clone(&judge)));
                }
            });
        });
        proxy
    }

    /// Opens every requested tunnel, but always to this address.
    pub fn to(address: SocketAddr) -> Self {
        Self::start(move |_| Ok(address))
    }

    /// The proxy's URL. `credentials` is empty or `user:password@`.
    pub fn url(&self, credentials: &str) -> String {
        format!("http://{credentials}{}", self.address)
    }

    pub fn asked(&self) -> Vec<Tunnel> {
        self.asked.lock().unwrap().clone()
    }

    /// The requested destinations, sorted and without duplicates.
    pub fn targets(&self) -> Vec<String> {
        let mut targets: Vec<_> = self.asked().into_iter().map(|tunnel| tunnel.target).collect();
        targets.sort();
        targets.dedup();
        targets
    }
}

async fn serve(
    mut stream: TcpStream,
    asked: Arc<Mutex<Vec<Tunnel>>>,
    judge: Arc<impl Fn(&Tunnel) -> Verdict>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    let Some(target) = target else { panic!("expected CONNECT: {head}") };
    let authorization = head.lines().find_map(|line| line.strip_prefix("Proxy-Authorization: "));
    let tunnel = Tunnel { target: target.to_owned(), authorization: authorization.map(str::to_owned) };
    let verdict = judge(&tunnel);
    asked.lock().unwrap().push(tunnel);
    match verdict {
        Ok(behind) => {
            stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n").await.unwrap();
            // If the target is unreachable or either end disconnects, the tunnel is closed.
            if let Ok(mut behind) = TcpStream::connect(behind).await {
                tokio::io::copy_bidirectional(&mut stream, &mut behind).await.ok();
            }
        }
        Err(status) => {
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 5\r\n\r\nsorry");
            stream.write_all(answer.as_bytes()).await.ok();
        }
    }
}
