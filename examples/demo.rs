//! Service and simulator in one process, to try things by hand: `make demo`.
//!
//! The service runs the same code as `main`; only its configuration comes from elsewhere.
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a demo prints to a terminal")]

use std::{error::Error, ffi::OsString, process::ExitCode, time::Duration};

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use zoom_qos_proxy::{
    app::{App, StartError},
    config::Config,
    telemetry,
};
use zoom_sim::{Sim, SimConfig, demo_meetings};

/// Roughly Zoom's latency for a page, so that a hit is visibly faster than a miss.
const LATENCY: Duration = Duration::from_millis(150);
/// One of the demo meetings. Its UUID looks like a path, and is percent-encoded in URLs, once or twice.
const BEGINS_WITH_A_SLASH: &str = "/ajXp112QmuoKj48548750==";

/// zoom-qos-proxy and an imitation of Zoom in one process.
#[derive(Parser)]
struct Arguments {
    /// The callers' port; 0 for any free port.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The operators' port; 0 for any free port.
    #[arg(long, default_value_t = 9090)]
    ops_port: u16,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match actix_rt::System::new().block_on(demo(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            if error.downcast_ref().is_some_and(|error| matches!(error, StartError::Bind { .. })) {
                eprintln!("for example: make demo PORT=18080 OPS_PORT=19090");
            }
            ExitCode::FAILURE
        }
    }
}

async fn demo(arguments: &Arguments) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let sim = Sim::start_with_control(SimConfig { latency: LATENCY, ..SimConfig::default() })?;
    for meeting in demo_meetings() {
        sim.add_meeting(meeting);
    }
    let (config, _) = Config::load(&[], environment(arguments, &sim))?;
    let logs = telemetry::start(&config.telemetry)?;
    let app = App::bind(config)?;
    print!("{}", commands_to_try(&app, &sim));
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    app.run(stop, None).await?;
    // Writes the last lines of the log, so that "stopped" comes after them.
    drop(logs);
    println!("stopped");
    Ok(())
}

/// The variables that a deployment would set.
fn environment(arguments: &Arguments, sim: &Sim) -> Vec<(OsString, OsString)> {
    let SimConfig { account_id, client_id, client_secret, .. } = SimConfig::default();
    let keys = [
        ("SERVER__LISTEN", format!("127.0.0.1:{}", arguments.port)),
        ("SERVER__OPS_LISTEN", format!("127.0.0.1:{}", arguments.ops_port)),
        // A demo has no load balancer that needs time to notice the stop.
        ("SERVER__DRAIN_DELAY", "0s".to_owned()),
        ("SERVER__SHUTDOWN_TIMEOUT", "1s".to_owned()),
        ("ZOOM__API_BASE_URL", sim.api_base_url()),
        ("ZOOM__OAUTH_URL", sim.oauth_url()),
        ("ZOOM__ACCOUNT_ID", account_id),
        ("ZOOM__CLIENT_ID", client_id),
        ("ZOOM__CLIENT_SECRET", client_secret),
        ("TELEMETRY__LOG_FORMAT", "text".to_owned()),
        ("TELEMETRY__LOG_LEVEL", "warn".to_owned()),
    ];
    keys.into_iter().map(|(key, value)| (format!("QOS_PROXY__{key}").into(), value.into())).collect()
}

fn commands_to_try(app: &App, sim: &Sim) -> String {
    let (service, operators, zoom) = (app.listen(), app.ops_listen(), sim.addr());
    let slashed = BEGINS_WITH_A_SLASH.replace('/', "%2F").replace('=', "%3D");
    format!(
        r"
Open in a browser: http://{service}/meetings/98765432101?type=past

zoom-qos-proxy    http://{service}    operators: http://{operators}/status, /metrics, /readyz
imitation of Zoom http://{zoom}   the calls it received: /_sim/calls

Try in another terminal, each twice: the second answer comes from the cache (`cache-status: …; hit`).

  # the meeting of Zoom's documentation, with the headers
  curl -si 'http://{service}/qos/85746065432?type=past'

  # a meeting UUID that begins with a slash, percent-encoded; only the first part of it
  curl -s 'http://{service}/qos/{slashed}?type=past' | head -c 900; echo

  # a meeting of 120 participants, twelve calls to Zoom: how long it takes
  curl -so /dev/null -w '%{{http_code}}: %{{size_download}} bytes in %{{time_total}} s\n' 'http://{service}/qos/98765432101?type=past'

Ctrl-C stops.

"
    )
}
