//! The simulator as a program, for demos and experiments with `curl`.
//!
//! It prints one line with its URL, and stops at SIGINT or SIGTERM.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use zoom_sim::{Sim, SimConfig, TokenParameters, demo_meetings};

/// A simulator of Zoom's `QoS` endpoints, with a set of demo meetings.
///
/// Control it with `GET` and `DELETE /_sim/calls` (the recorded requests), `POST` and `DELETE /_sim/faults`
/// ({"kind":"hang","times":2,"meeting":"…","page":0,"endpoint":"token"}), and `POST /_sim/meetings`
/// ({"id":"…","uuid":"…","participants":30,"samples":20,"webinar":true}).
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
    /// The account of the OAuth app.
    #[arg(long, default_value = "sim-account")]
    account_id: String,
    /// The OAuth app's id.
    #[arg(long, default_value = "sim-client")]
    client_id: String,
    /// The OAuth app's secret.
    #[arg(long, default_value = "sim-secret")]
    client_secret: String,
    /// Lifetime of an access token, in seconds.
    #[arg(long, default_value_t = 3_600)]
    access_token_life_s: u64,
    /// Lifetime of a page token, in seconds.
    #[arg(long, default_value_t = 900)]
    page_token_life_s: u64,
    /// A new access token invalidates the earlier ones.
    #[arg(long)]
    new_token_kills_old: bool,
    /// Where the token endpoint reads its parameters.
    #[arg(long, value_enum, default_value = "form")]
    token_parameters: TokenParameters,
    /// Compress JSON for clients that accept gzip.
    #[arg(long)]
    gzip: bool,
    /// Omit `X-RateLimit-*` and `Retry-After` from 429s, as Zoom sometimes does.
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
            token_parameters: self.token_parameters,
            gzip: self.gzip,
            rate_headers: !self.no_rate_headers,
        }
    }
}

#[expect(clippy::print_stderr, reason = "the program must say why it cannot start")]
fn main() -> ExitCode {
    match run(Arguments::parse().config()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("zoom-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, reason = "the line with the URL")]
fn run(config: SimConfig) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Handle signals before printing the line, because its reader may send one immediately.
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
