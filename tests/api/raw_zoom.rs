//! An upstream that answers with scripted bytes: what no well-behaved server sends. Access tokens still come from the
//! simulator.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::json;

use crate::service::PATIENCE;

/// One step of an answer.
#[derive(Debug, Clone)]
pub enum Step {
    Send(Vec<u8>),
    /// This slowness is what is imitated.
    Pause(Duration),
    /// Ends the connection, in order.
    Close,
    /// Ends it with a reset.
    Reset,
}

/// What came: the head, line by line, and which connection it came on.
#[derive(Debug, Clone)]
pub struct Asked {
    pub head: Vec<String>,
    /// Counted from 0 in the order of acceptance.
    pub connection: usize,
}

impl Asked {
    /// Whether the request is for this meeting.
    pub fn is_for(&self, meeting: &str) -> bool {
        self.head[0].contains(meeting)
    }
}

/// A server on a socket of its own. Its threads end with the test's process.
pub struct RawZoom {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl RawZoom {
    /// Answers each request with the steps that the script has for it.
    pub fn start(script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    /// The same on a socket of the test's own.
    pub fn start_on(
        listener: TcpListener,
        script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let zoom = Self { address: listener.local_addr().unwrap(), asked: Arc::default() };
        let (asked, script) = (Arc::clone(&zoom.asked), Arc::new(script));
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let (asked, script) = (Arc::clone(&asked), Arc::clone(&script));
                thread::spawn(move || serve(stream, connection, &asked, &*script));
            }
        });
        zoom
    }

    /// Value for `zoom.api_base_url`.
    pub fn api_base_url(&self) -> String {
        format!("http://{}/v2", self.address)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(
    stream: TcpStream,
    connection: usize,
    asked: &Mutex<Vec<Asked>>,
    script: &(impl Fn(&Asked) -> Vec<Step> + ?Sized),
) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream);
    while let Some(head) = read_head(&mut reader) {
        let request = Asked { head, connection };
        let steps = script(&request);
        asked.lock().unwrap().push(request);
        let stream = reader.get_mut();
        for step in steps {
            // A service that has hung up meanwhile does not mind.
            match step {
                Step::Send(bytes) => stream.write_all(&bytes).unwrap_or_default(),
                Step::Pause(time) => thread::park_timeout(time),
                Step::Close => return stream.shutdown(Shutdown::Both).unwrap_or_default(),
                Step::Reset => {
                    socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).unwrap();
                    return;
                }
            }
        }
    }
}

fn read_head(reader: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or_default() == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let length =
        lines.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or_default()];
    reader.read_exact(&mut body).ok()?;
    Some(lines)
}

/// The last page of a meeting with one participant of this name.
pub fn page(user_name: &str) -> String {
    let participant = json!({ "user_id": "1", "user_name": user_name, "user_qos": [] });
    json!({ "next_page_token": "", "total_records": 1, "participants": [participant] }).to_string()
}

/// A whole answer that is delimited by its length.
pub fn answer(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
