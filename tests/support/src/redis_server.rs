//! A real `redis-server` for one test, separate from any other on this machine.

use std::{
    io::{BufRead as _, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// An installed server is preferred to the one that `scripts/prepare redis-server` unpacked.
const PROGRAMS: [&str; 3] = [
    "redis-server",
    "valkey-server",
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/debian/bin/redis-server"),
];
const SENTINEL: &str = "--sentinel";
const READY_WITHIN: Duration = Duration::from_secs(20);

/// A server that is stopped when dropped.
pub struct Server {
    process: Option<Child>,
    pub port: u16,
    folder: TempDir,
    arguments: Vec<String>,
}

impl Server {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts a server with these command line options.
    pub fn with(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut server = Self { process: None, port: 0, folder: tempfile::tempdir().unwrap(), arguments };
        // Another program may take the port between the check and the start.
        for _ in 0..5 {
            server.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if server.try_start() {
                return server;
            }
        }
        panic!("no redis-server could be started: see above");
    }

    /// Starts a Sentinel with this configuration file, which Sentinel rewrites.
    pub fn sentinel(file: &std::path::Path) -> Self {
        Self::with(&[SENTINEL, file.to_str().unwrap()])
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub fn id(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// Ends the server with SIGKILL.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().ok();
            process.wait().unwrap();
        }
    }

    /// Starts the server again on the same port, without data.
    pub fn start_again(&mut self) {
        assert!(self.try_start(), "redis-server does not start again on port {}", self.port);
    }

    /// Sends a signal, given as an option of `kill`, such as `-STOP`.
    pub fn signal(&self, signal: &str) {
        signal_to(self.id(), signal);
    }

    /// Returns whether the server executes this command without an error.
    pub fn tries(&self, words: &[&str]) -> bool {
        self.try_command::<redis::Value>(words).is_ok()
    }

    /// Returns whether the reply to this command contains `what`.
    pub fn says(&self, words: &[&str], what: &str) -> bool {
        self.try_command::<String>(words).is_ok_and(|said| said.contains(what))
    }

    /// Sends one command on its own connection. Panics on an error reply.
    pub fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_command(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    fn try_command<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        command.query(&mut self.try_connection()?)
    }

    /// Opens a connection for many commands.
    pub fn connection(&self) -> redis::Connection {
        self.try_connection().unwrap()
    }

    fn try_connection(&self) -> redis::RedisResult<redis::Connection> {
        redis::Client::open(self.url())?.get_connection()
    }

    fn try_start(&mut self) -> bool {
        let port = self.port.to_string();
        let folder = self.folder.path().to_str().unwrap();
        let given = self.arguments.iter().map(String::as_str);
        let arguments: Vec<&str> = match self.arguments.as_slice() {
            [sentinel, file] if sentinel == SENTINEL => vec![file, "--port", &port, "--sentinel"],
            _ => ["--port", &port, "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
                .into_iter()
                .chain(given)
                .collect(),
        };
        let started = PROGRAMS.iter().find_map(|program| {
            let mut command = Command::new(program);
            command.args(&arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().ok()
        });
        let mut process =
            started.expect("redis-server is missing: `scripts/prepare redis-server` installs it");
        let said = BufReader::new(process.stdout.take().unwrap());
        let begun = Instant::now();
        let mut lines = said.lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| {
            if line.contains("# ") {
                println!("redis-server: {line}");
            }
            assert!(begun.elapsed() < READY_WITHIN, "redis-server does not start");
            line.contains("Ready to accept connections") || line.contains("Sentinel ID is")
        });
        // Keep reading, or the server would block on the full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        if ready {
            self.process = Some(process);
        } else {
            process.kill().ok();
            process.wait().unwrap();
        }
        ready && TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

pub fn signal_to(process: u32, signal: &str) {
    let done = Command::new("kill").args([signal, &process.to_string()]).status().unwrap();
    assert!(done.success(), "kill {signal} {process}");
}
