//! An upstream that sends scripted bytes, including those that no correct server sends. Access tokens still come from
//! the simulator.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::json;

use crate::wait::{PATIENCE, pause};

/// One step of a response.
#[derive(Debug, Clone)]
pub enum Step {
    Send(Vec<u8>),
    /// Sends nothing for this long: a slow upstream.
    Pause(Duration),
    /// Closes the connection with a FIN.
    Close,
    /// Closes the connection with a reset.
    Reset,
    /// Shuts down the sending side, and continues to read.
    HalfClose,
    /// Sends these bytes repeatedly until the service disconnects, with this pause after each time.
    Repeat(Vec<u8>, Duration),
    /// Sends nothing more, and counts the connection if the service sends another request on it. See
    /// [`RawZoom::asked_in_doubt`].
    Doubt,
}

/// A received request: the head line by line, and its connection.
#[derive(Debug, Clone)]
pub struct Asked {
    pub head: Vec<String>,
    /// The number of the connection, from 0 in the order of acceptance.
    pub connection: usize,
}

impl Asked {
    pub fn is_for(&self, meeting: &str) -> bool {
        self.head[0].contains(meeting)
    }
}

/// A request that arrives this soon after unsolicited bytes may have been sent before those bytes reached the service.
const CROSSED: Duration = Duration::from_millis(500);

/// An upstream that runs until the test process ends.
pub struct RawZoom {
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    asked: Mutex<Vec<Asked>>,
    in_doubt: AtomicUsize,
}

impl RawZoom {
    /// Answers each request with the steps that the script returns for it.
    pub fn start(script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    /// Like [`Self::start`], but on a socket that the test opened.
    pub fn start_on(
        listener: TcpListener,
        script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::start_greeting(listener, |_| Vec::new(), script)
    }

    /// Like [`Self::start_on`], but begins each connection with the steps that `greeting` returns for the connection's
    /// number, before it reads a request.
    pub fn start_greeting(
        listener: TcpListener,
        greeting: impl Fn(usize) -> Vec<Step> + Send + Sync + 'static,
        script: impl Fn(&Asked) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let zoom = Self { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let (seen, script) = (Arc::clone(&zoom.seen), Arc::new(script));
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().map_while(Result::ok).enumerate() {
                let (seen, script, greeting) = (Arc::clone(&seen), Arc::clone(&script), greeting(connection));
                thread::spawn(move || serve(stream, connection, greeting, &seen, &*script));
            }
        });
        zoom
    }

    /// The value for `zoom.api_base_url`.
    pub fn api_base_url(&self) -> String {
        format!("http://{}/v2", self.address)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.seen.asked.lock().unwrap().clone()
    }

    /// Forgets the requests received so far, and returns their number.
    pub fn forget(&self) -> usize {
        std::mem::take(&mut *self.seen.asked.lock().unwrap()).len()
    }

    /// On how many connections the service sent another request after [`Step::Doubt`]. Requests within the first 500 ms
    /// do not count.
    pub fn asked_in_doubt(&self) -> usize {
        self.seen.in_doubt.load(Ordering::Relaxed)
    }
}

fn serve(
    stream: TcpStream,
    connection: usize,
    greeting: Vec<Step>,
    seen: &Seen,
    script: &(impl Fn(&Asked) -> Vec<Step> + ?Sized),
) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream);
    let mut steps = greeting;
    loop {
        for step in steps {
            if !take(&step, &mut reader, seen) {
                return;
            }
        }
        let Some(head) = read_head(&mut reader) else { return };
        let request = Asked { head, connection };
        steps = script(&request);
        seen.asked.lock().unwrap().push(request);
    }
}

/// Takes this step, and returns whether the connection continues.
fn take(step: &Step, reader: &mut BufReader<TcpStream>, seen: &Seen) -> bool {
    let stream = reader.get_mut();
    match step {
        // The service may have disconnected.
        Step::Send(bytes) => stream.write_all(bytes).unwrap_or_default(),
        Step::Pause(time) => pause(*time),
        Step::Close => stream.shutdown(Shutdown::Both).unwrap_or_default(),
        Step::HalfClose => stream.shutdown(Shutdown::Write).unwrap_or_default(),
        Step::Reset => socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).unwrap(),
        Step::Repeat(bytes, between) => {
            while stream.write_all(bytes).is_ok() {
                pause(*between);
            }
            return false;
        }
        Step::Doubt => {
            pause(CROSSED);
            let mut bytes = [0; 4_096];
            stream.set_nonblocking(true).unwrap();
            while stream.read(&mut bytes).is_ok_and(|count| count > 0) {}
            stream.set_nonblocking(false).unwrap();
            if stream.read(&mut bytes).is_ok_and(|count| count > 0) {
                seen.in_doubt.fetch_add(1, Ordering::Relaxed);
            }
            return false;
        }
    }
    !matches!(step, Step::Close | Step::Reset)
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

/// The only page of a meeting with one participant, who has this name.
pub fn page(user_name: &str) -> String {
    let participant = json!({ "user_id": "1", "user_name": user_name, "user_qos": [] });
    json!({ "next_page_token": "", "total_records": 1, "participants": [participant] }).to_string()
}

/// A complete response, delimited by its length.
pub fn answer(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
