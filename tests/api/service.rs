//! The service as a process of its own, a client that can misbehave, and what both saw.

use std::{
    collections::HashSet,
    io::{BufRead as _, BufReader, Read, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use zoom_sim::{Call, Sim, SimConfig};

/// Longer than anything here takes; a test that gets there has failed.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Settings under which a call to Zoom may take a second.
pub const QUICK: [(&str, &str); 2] = [("zoom.connect_timeout", "1s"), ("zoom.request_timeout", "1s")];

/// Announced failures whose cause the log may tell, too.
const FAILURES: [&str; 3] = ["flight failed", "access token", "token endpoint"];

/// A simulator with the given limits, and headroom to make mistakes visible.
pub fn sim(adjust: impl FnOnce(&mut SimConfig)) -> Sim {
    let mut config = SimConfig::default();
    adjust(&mut config);
    Sim::start(config).expect("the simulator starts")
}

/// A running service.
pub struct Service {
    child: Child,
    output: Arc<Output>,
    readers: Vec<thread::JoinHandle<()>>,
    pub addr: SocketAddr,
    pub ops: SocketAddr,
    finished: bool,
}

#[derive(Default)]
struct Output {
    lines: Mutex<Vec<String>>,
}

impl Output {
    fn collect(self: &Arc<Self>, from: impl Read + Send + 'static) -> thread::JoinHandle<()> {
        let output = Arc::clone(self);
        thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                output.lines.lock().unwrap().push(line);
            }
        })
    }
}

/// The command with which the service is started against `sim`; settings as in `("limits.heavy_per_second", "40")`.
pub fn command(sim: &Sim, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zoom-qos-proxy"));
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (api, oauth) = (sim.api_base_url(), sim.oauth_url());
    let defaults = [
        ("server.listen", "127.0.0.1:0"),
        ("server.ops_listen", "127.0.0.1:0"),
        ("server.drain_delay", "0s"),
        ("zoom.api_base_url", &api),
        ("zoom.oauth_url", &oauth),
        ("zoom.account_id", "sim-account"),
        ("zoom.client_id", "sim-client"),
        ("zoom.client_secret", "sim-secret"),
    ];
    for (key, value) in defaults.iter().chain(settings) {
        command.env(variable(key), value);
    }
    // A secret given as a file replaces the one above.
    for (key, _) in settings {
        if let Some(inline) = key.strip_suffix("_file") {
            command.env_remove(variable(inline));
        }
    }
    command
}

fn variable(key: &str) -> String {
    format!("QOS_PROXY__{}", key.replace('.', "__").to_uppercase())
}

impl Service {
    /// Starts the real binary and waits until it listens.
    pub fn start(sim: &Sim, settings: &[(&str, &str)]) -> Self {
        Self::started(command(sim, settings))
    }

    /// The same through another program, which is given the service's path as its last argument.
    pub fn start_by(sim: &Sim, settings: &[(&str, &str)], by: &[&str]) -> Self {
        Self::started(Self::command_by(sim, settings, by))
    }

    /// The same; gives status and lines of one that ends instead of listening.
    pub fn try_start_by(
        sim: &Sim,
        settings: &[(&str, &str)],
        by: &[&str],
    ) -> Result<Self, (ExitStatus, Vec<String>)> {
        Self::try_started(Self::command_by(sim, settings, by))
    }

    fn command_by(sim: &Sim, settings: &[(&str, &str)], by: &[&str]) -> Command {
        let direct = command(sim, settings);
        let mut command = Command::new(by[0]);
        command.args(&by[1..]).arg(direct.get_program()).env_clear();
        command.envs(direct.get_envs().filter_map(|(key, value)| Some((key, value?))));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn started(command: Command) -> Self {
        let started = Self::try_started(command);
        started.unwrap_or_else(|(status, lines)| panic!("the service does not listen: {status}, {lines:?}"))
    }

    fn try_started(mut command: Command) -> Result<Self, (ExitStatus, Vec<String>)> {
        let mut child = command.spawn().expect("the service starts");
        let output = Arc::new(Output::default());
        let readers =
            vec![output.collect(child.stdout.take().unwrap()), output.collect(child.stderr.take().unwrap())];
        let addresses = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            let address = |key: &str| line[key].as_str()?.parse().ok();
            Some((address("listen")?, address("ops_listen")?))
        };
        let listening = wait_for(|| {
            let found = output.lines.lock().unwrap().iter().find_map(|line| addresses(line));
            // Ended already, or listening: either is an answer.
            if found.is_some() || child.try_wait().unwrap().is_some() { Some(found) } else { None }
        });
        let Some((addr, ops)) = listening else {
            for reader in readers {
                reader.join().unwrap();
            }
            let lines = output.lines.lock().unwrap().clone();
            return Err((child.wait().unwrap(), lines));
        };
        Ok(Self { child, output, readers, addr, ops, finished: false })
    }

    /// `GET` on the callers' listener.
    pub fn get(&self, path: &str) -> Answer {
        request(self.addr, "GET", path, &[])
    }

    /// `GET` on the ops listener.
    pub fn ops_get(&self, path: &str) -> Answer {
        request(self.ops, "GET", path, &[])
    }

    /// Forgets all that is cached.
    pub fn ops_purge(&self) {
        assert_eq!(request(self.ops, "DELETE", "/cache", &[]).status, 204);
    }

    /// The value of a metric, by its whole name with labels; 0 when it is not there yet.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.ops_get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Whether it says that it is ready, and answers this path with 200. A connection that breaks is no answer.
    pub fn is_ready_and_serves(&self, path: &str) -> bool {
        let is_ok = |to, path| {
            std::panic::catch_unwind(|| request(to, "GET", path, &[]))
                .is_ok_and(|answer| answer.status == 200)
        };
        is_ok(self.ops, "/readyz") && is_ok(self.addr, path)
    }

    /// Waits until `/readyz` answers this.
    pub fn wait_until_ready(&self, status: u16) -> Answer {
        wait_for(|| Some(self.ops_get("/readyz")).filter(|answer| answer.status == status))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of memory that are really its own now.
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most that this ever was.
    pub fn most_resident(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// In bytes, what the kernel says under this name.
    fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// The processor time of a span of time in which nothing has to be done, as a part of it.
    pub fn load_at_rest(&self) -> f64 {
        const SPAN: Duration = Duration::from_millis(1_500);
        let (before, began) = (self.cpu_ticks(), Instant::now());
        thread::park_timeout(SPAN);
        let ticks = u32::try_from(self.cpu_ticks() - before).unwrap();
        f64::from(ticks) / 100.0 / began.elapsed().as_secs_f64()
    }

    /// Processor time that it has used so far, in clock ticks: hundredths of a second.
    fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // The name before it may hold anything.
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Descriptors that it has open.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// All that it printed so far.
    pub fn printed(&self) -> Vec<String> {
        self.output.lines.lock().unwrap().clone()
    }

    /// Sends a signal, by its name.
    pub fn signal(&self, name: &str) {
        let killed =
            Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status().unwrap();
        assert!(killed.success());
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.finished = true;
        let status = wait_for(|| self.child.try_wait().unwrap());
        // What it printed last is still on its way.
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        status
    }

    /// Ends it with SIGKILL, as a crash would.
    pub fn crash(mut self) {
        self.signal("KILL");
        self.wait();
    }

    /// Asks it to stop, expects exit 0, and fails on a warning or error that the test did not announce by a part of its line.
    pub fn finish(self, announced: &[&str]) -> Vec<String> {
        self.signal("TERM");
        self.finish_stopped(announced)
    }

    /// The same of one that was asked to stop already.
    pub fn finish_stopped(mut self, announced: &[&str]) -> Vec<String> {
        let status = self.wait();
        let lines = self.printed();
        assert!(status.success(), "exit {status}: {lines:#?}");
        for line in &lines {
            let parsed: Value =
                serde_json::from_str(line).unwrap_or_else(|_| panic!("not a JSON line: {line}"));
            let level = parsed["level"].as_str().unwrap_or_default();
            let cause = line.contains("Zoom cannot be reached")
                && announced.iter().any(|part| FAILURES.contains(part));
            let expected = cause || announced.iter().any(|part| line.contains(part));
            assert!(expected || !matches!(level, "WARN" | "ERROR"), "unannounced: {line}");
        }
        lines
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if !self.finished {
            self.child.kill().ok();
            self.child.wait().ok();
            if thread::panicking() {
                let lines = self.printed();
                let last = lines.len().saturating_sub(40);
                println!("the service printed last: {:#?}", &lines[last..]);
            } else {
                panic!("a test ends with finish() or crash()");
            }
        }
    }
}

/// Asks again until there is an answer: a condition, not a sleep.
pub fn wait_for<T>(mut condition: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < until, "waited in vain");
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// An answer as it came over the wire.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value; panics when it is there twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let first = values.next();
        assert!(values.next().is_none(), "{name} is there twice");
        first.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The `code` of a problem, having checked that it is one in every respect.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let json = self.json();
        let code = json["code"].as_str().expect("a code").to_owned();
        assert_eq!(json["type"], format!("urn:zoom-qos-proxy:problem:{code}"));
        assert_eq!(json["status"], self.status);
        assert_eq!(json["request_id"].as_str(), self.header("x-request-id"));
        for key in ["title", "detail"] {
            assert!(json[key].as_str().is_some_and(|text| !text.is_empty()), "{key} of {json}");
        }
        if let Some(seconds) = self.header("retry-after") {
            assert!(seconds.parse::<u64>().is_ok_and(|seconds| seconds > 0), "Retry-After: {seconds}");
        }
        code
    }

    /// How the cache came to this answer.
    pub fn cache_status(&self) -> &str {
        self.header("cache-status").unwrap_or_default()
    }

    /// Whole seconds of `Retry-After`.
    pub fn retry_after(&self) -> u64 {
        self.header("retry-after").expect("Retry-After").parse().unwrap()
    }
}

/// One request on a connection of its own.
pub fn request(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: service\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    raw(to, format!("{head}\r\n").as_bytes())
}

/// Any bytes at all, and the answer to them.
pub fn raw(to: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    read_answer(stream)
}

/// Reads an answer to its end.
pub fn read_answer(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {bytes:?}"));
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers =
        lines.map(|line| line.split_once(": ").unwrap()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let answer = Answer { status, headers, body: bytes[end + 4..].to_vec() };
    let length = answer.header("content-length").map(|length| length.parse::<usize>().unwrap());
    assert!(
        answer.body.is_empty() || length == Some(answer.body.len()),
        "{length:?} announced, {}",
        answer.body.len()
    );
    answer
}

/// The same `GET` from so many callers at once.
pub fn at_once(to: SocketAddr, paths: Vec<String>) -> Vec<Answer> {
    let callers: Vec<_> =
        paths.into_iter().map(|path| thread::spawn(move || request(to, "GET", &path, &[]))).collect();
    callers.into_iter().map(|caller| caller.join().unwrap()).collect()
}

/// The calls for one meeting.
pub fn calls_for(sim: &Sim, meeting: &str) -> Vec<Call> {
    let mut calls = sim.qos_calls();
    calls.retain(|call| call.meeting.as_deref() == Some(meeting));
    calls
}

/// Every secret there is between the service and this simulator, access tokens as used so far included.
pub fn secrets(sim: &Sim) -> Vec<String> {
    let header = |call: &Call| call.header("authorization").map(str::to_owned);
    let sent: HashSet<_> = sim.calls().iter().filter_map(header).collect();
    let sent = sent.iter().map(|value| value.split(' ').next_back().unwrap().to_owned());
    ["sim-secret", "sim-client", "sim-account"].map(str::to_owned).into_iter().chain(sent).collect()
}

impl Answer {
    /// Fails if anything is in this answer that is nobody's business: a secret, a URL, or the text of a Rust error.
    pub fn assert_discreet(&self, sim: &Sim) {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        let all = format!("{headers}\n{}", self.text());
        let rust = [
            "awc",
            "reqwest",
            "hyper",
            "panicked",
            "Os {",
            "os error",
            "SendRequest",
            "PayloadError",
            "Error(",
        ];
        let ours = ["://", "127.0.0.1", "localhost", "src/", ".rs"];
        for word in rust.into_iter().chain(ours) {
            assert!(!all.contains(word), "{word} in {all}");
        }
        for secret in secrets(sim) {
            assert!(!all.contains(&secret), "a secret in {all}");
        }
    }
}

/// One connection for several requests, kept alive between them.
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    pub fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    /// Sends any bytes at all.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    /// The same, where the service may have ended the connection.
    pub fn try_send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Whether anything of an answer comes within this time.
    pub fn has_answer(&mut self, within: Duration) -> bool {
        self.0.get_mut().set_read_timeout(Some(within)).unwrap();
        let has = self.0.fill_buf().is_ok_and(|bytes| !bytes.is_empty());
        self.0.get_mut().set_read_timeout(Some(PATIENCE)).unwrap();
        has
    }

    /// Whether the service ends the connection, and has sent nothing more before.
    pub fn is_closed(&mut self) -> bool {
        let mut more = Vec::new();
        // A reset is an end, too.
        self.0.read_to_end(&mut more).ok();
        more.is_empty()
    }

    /// Sends a request without waiting for its answer.
    pub fn send(&mut self, method: &str, path: &str) {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: service\r\n\r\n");
        self.0.get_mut().write_all(head.as_bytes()).unwrap();
    }

    /// The next answer; `bodiless` when it answers a `HEAD`.
    pub fn receive(&mut self, bodiless: bool) -> Answer {
        let mut line = || {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            line.strip_suffix("\r\n").unwrap_or_else(|| panic!("the connection ends: {line:?}")).to_owned()
        };
        let status = line().split(' ').nth(1).unwrap().parse().unwrap();
        let head: Vec<_> = std::iter::from_fn(|| Some(line()).filter(|line| !line.is_empty())).collect();
        let headers = head.iter().map(|line| line.split_once(": ").unwrap());
        let headers = headers.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        if !bodiless {
            let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
            answer.body = vec![0; length];
            self.0.read_exact(&mut answer.body).unwrap();
        }
        answer
    }

    pub fn ask(&mut self, method: &str, path: &str) -> Answer {
        self.send(method, path);
        self.receive(method == "HEAD")
    }

    /// The same, or `None` when the service has closed the connection instead.
    pub fn try_ask(&mut self, method: &str, path: &str) -> Option<Answer> {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: service\r\n\r\n");
        self.0.get_mut().write_all(head.as_bytes()).ok()?;
        let answered = self.0.fill_buf().is_ok_and(|bytes| !bytes.is_empty());
        answered.then(|| self.receive(method == "HEAD"))
    }
}

/// A process whose start or end is the subject; killed when dropped.
pub struct Process(pub Child);

/// How a process ended, and all that it printed.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().expect("the process starts"))
    }

    pub fn wait(&mut self) -> ExitStatus {
        wait_for(|| self.0.try_wait().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Runs a command that is expected to end by itself.
pub fn run_to_end(command: &mut Command) -> Ended {
    let mut process = Process::start(command);
    let (stdout, stderr) = (process.0.stdout.take().unwrap(), process.0.stderr.take().unwrap());
    let read = |mut from: Box<dyn Read + Send>| {
        thread::spawn(move || {
            let mut text = String::new();
            from.read_to_string(&mut text).unwrap();
            text
        })
    };
    let (stdout, stderr) = (read(Box::new(stdout)), read(Box::new(stderr)));
    let code = process.wait().code();
    Ended { code, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}
