//! The service as its own process, and what it printed.

use std::{
    env,
    io::{BufRead as _, BufReader, Read},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use zoom_sim::Sim;

use crate::{
    client::{Answer, request},
    wait::{pause, wait_for},
};

/// Settings that make a call fail after about a second if Zoom does not respond.
pub const QUICK: [(&str, &str); 2] = [("zoom.connect_timeout", "1s"), ("zoom.request_timeout", "1s")];

/// A test that announces one of these failures also accepts the warning that Zoom cannot be reached.
const FAILURES: [&str; 3] = ["flight failed", "access token", "token endpoint"];

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

/// The path of the service's binary.
pub fn program() -> PathBuf {
    let program = env::var_os("CARGO_BIN_EXE_zoom-qos-proxy");
    program.expect("cargo sets CARGO_BIN_EXE_zoom-qos-proxy for the tests that it runs").into()
}

/// The command that starts the service against `sim`; settings are like `("limits.heavy_per_second", "40")`.
pub fn command(sim: &Sim, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program());
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
    // A secret given as a file replaces the inline default above.
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

    /// Like [`Self::start`], but through another program, which gets the service's path as its last argument.
    pub fn start_by(sim: &Sim, settings: &[(&str, &str)], by: &[&str]) -> Self {
        Self::started(Self::command_by(sim, settings, by))
    }

    /// Like [`Self::start_by`], but returns the exit status and the lines if the process exits instead of listening.
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
            // The wait ends when the service listens or has exited.
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

    /// Sends a `GET` to the callers' listener.
    pub fn get(&self, path: &str) -> Answer {
        safe_to_show(request(self.addr, "GET", path, &[]))
    }

    /// Sends a `GET` with these headers to the callers' listener.
    pub fn get_with_headers(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        request(self.addr, "GET", path, headers)
    }

    /// Sends a `GET` to the ops listener.
    pub fn ops_get(&self, path: &str) -> Answer {
        safe_to_show(request(self.ops, "GET", path, &[]))
    }

    /// Purges the entire cache.
    pub fn ops_purge(&self) {
        assert_eq!(request(self.ops, "DELETE", "/cache", &[]).status, 204);
    }

    /// The value of a metric, by its full name with labels; 0 if it does not exist yet.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.ops_get("/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Returns whether the service is ready and answers this path with 200. A broken connection counts as no.
    pub fn is_ready_and_serves(&self, path: &str) -> bool {
        let is_ok = |to, path| {
            std::panic::catch_unwind(|| request(to, "GET", path, &[]))
                .is_ok_and(|answer| answer.status == 200)
        };
        is_ok(self.ops, "/readyz") && is_ok(self.addr, path)
    }

    /// Waits until no flight is in progress.
    pub fn wait_until_nothing_flies(&self) {
        wait_for(|| (self.metric("zoom_qos_proxy_flights_active") == 0.0).then_some(()));
    }

    /// Waits until `/readyz` has this status.
    pub fn wait_until_ready(&self, status: u16) -> Answer {
        wait_for(|| Some(self.ops_get("/readyz")).filter(|answer| answer.status == status))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The resident memory, in bytes.
    pub fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The peak of the resident memory, in bytes.
    pub fn most_resident(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// The kernel's figure with this name in `/proc/PID/status`, in bytes.
    fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Measures over 1.5 s what fraction of a processor the service uses.
    pub fn load_at_rest(&self) -> f64 {
        const SPAN: Duration = Duration::from_millis(1_500);
        let (before, began) = (self.cpu_ticks(), Instant::now());
        pause(SPAN);
        let ticks = u32::try_from(self.cpu_ticks() - before).unwrap();
        f64::from(ticks) / 100.0 / began.elapsed().as_secs_f64()
    }

    /// The processor time used so far, in clock ticks: hundredths of a second.
    pub fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // The process name may contain spaces, so the fields are counted from the parenthesis that closes it.
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// The number of open file descriptors.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// All lines printed so far.
    pub fn printed(&self) -> Vec<String> {
        self.output.lines.lock().unwrap().clone()
    }

    /// Sends the signal with this name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let killed =
            Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status().unwrap();
        assert!(killed.success());
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.finished = true;
        let status = wait_for(|| self.child.try_wait().unwrap());
        // The last lines may still be in the pipe.
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        status
    }

    /// Ends the service with SIGKILL, like a crash.
    pub fn crash(mut self) {
        self.signal("KILL");
        self.wait();
    }

    /// Sends SIGTERM, expects exit 0, and fails on a warning or error unless the line contains one of the announced
    /// texts.
    pub fn finish(self, announced: &[&str]) -> Vec<String> {
        self.signal("TERM");
        self.finish_stopped(announced)
    }

    /// Like [`Self::finish`], for a service that was already asked to stop.
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

/// Asserts that the answer forbids browsers to guess another content type.
fn safe_to_show(answer: Answer) -> Answer {
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer:?}");
    answer
}
