//! The imitation of Zoom as a program: for demos, and for trials by hand with `curl`.
//!
//! Prints one line with its URL, and stops at SIGINT or SIGTERM.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use zoom_sim::{Sim, SimConfig, demo_meetings};

/// An imitation of Zoom's `QoS` endpoint, with a set of demo meetings.
///
/// By hand: `GET` and `DELETE /_sim/calls` (what was asked), `POST` and `DELETE /_sim/faults` (what goes wrong:
/// {"kind":"hang","times":2,"meeting":"…","page":0,"endpoint":"token"}), `POST /_sim/meetings`
/// ({"id":"…","participants":30,"samples":20}).
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// Calls admitted in any second.
    #[arg(long, default_value_t = 40)]
    per_second: u32,
    /// Calls admitted in one UTC day.
    #[arg(long, default_value_t = 60_000)]
    per_day: u64,
    /// Milliseconds before each `QoS` answer.
    #[arg(long, default_value_t = 150)]
    latency_ms: u64,
    /// The account to ask an access token for.
    #[arg(long, default_value = "sim-account")]
    account_id: String,
    /// The OAuth app's id.
    #[arg(long, default_value = "sim-client")]
    client_id: String,
    /// The OAuth app's secret.
    #[arg(long, default_value = "sim-secret")]
    client_secret: String,
    /// Seconds that an access token is good.
    #[arg(long, default_value_t = 3_600)]
    access_token_life_s: u64,
    /// Seconds that a page token is good.
    #[arg(long, default_value_t = 900)]
    page_token_life_s: u64,
    /// A new access token makes the earlier ones invalid.
    #[arg(long)]
    new_token_kills_old: bool,
    /// Gzip JSON for those who accept it.
    #[arg(long)]
    gzip: bool,
    /// Refuse without `X-RateLimit-*` and `Retry-After`, as Zoom sometimes does.
    #[arg(long)]
    no_rate_headers: bool,
}

impl Arguments {
    fn config(self) -> SimConfig {
        SimConfig {
            listen: self.listen,
            account_id: self.account_id,
            client_id: self.client_id,
            client_secret: self.client_secret,
            per_second: self.per_second,
            per_day: self.per_day,
            access_token_life: Duration::from_secs(self.access_token_life_s),
            page_token_life: Duration::from_secs(self.page_token_life_s),
            latency: Duration::from_millis(self.latency_ms),
            new_token_kills_old: self.new_token_kills_old,
            gzip: self.gzip,
            rate_headers: !self.no_rate_headers,
        }
    }
}

#[expect(clippy::print_stderr, reason = "a program says why it cannot start")]
fn main() -> ExitCode {
    match run(Arguments::parse().config()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zoom-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the one line that tells where it listens")]
fn run(config: SimConfig) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before the line is printed, so that whoever reads it may already send a signal.
    let (mut interrupt, mut terminate) = runtime.block_on(async {
        Ok::<_, io::Error>((signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    })?;
    let sim = Sim::start_with_control(config)?;
    for meeting in demo_meetings() {
        sim.add_meeting(meeting);
    }
    println!("zoom-sim listens on http://{}", sim.addr());
    runtime.block_on(async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    Ok(())
}
