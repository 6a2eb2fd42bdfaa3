//! The configuration: built-in defaults, files and environment become the small `Config` struct of each part.
//!
//! The layers, the later wins: `config/default.toml` (built in, the only place of defaults), each `--config` file
//! in turn, the environment (`QOS_PROXY__SECTION__KEY`). Everything is read and judged before anything is reported:
//! [`Problems`] has one line for each thing that is wrong, with the key, what to do, and where the value was set.
//! A wrong value is a problem even where a later layer overrides it: it would bite when the later one goes.
//!
//! No library does this: `config` and `figment` deserialize by serde, which stops at the first problem of a layer.
//!
//! What it deliberately does not do:
//! - guess. No number without its unit, no fallback for a typo, no unknown key ignored;
//! - repeat a secret, in a problem, a warning or [`Config::effective`];
//! - touch the world, but for reading the `--config` files and, once each, the files of the secrets, certificates and callers. Whether an
//!   address is free, Zoom answers, or the state file can be written is found by the part that needs it;
//! - keep watch: a changed file counts at the next start (files of secrets are read anew by `zoom`, that of callers by
//!   `callers`).

mod egress;
mod keys;
mod layers;
mod limits;
mod problem;
mod reader;
mod rules;
mod sections;
mod sharing;

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

pub use self::problem::{Problems, Warning};
use self::{layers::Layers, reader::Reader};
use crate::{
    cache::CacheConfig, callers::CallersConfig, cluster::SharedConfig, fetcher::FetcherConfig,
    quota::QuotaConfig, server::ServerConfig, snapshot::FreshnessConfig, telemetry::TelemetryConfig,
    trace::TraceConfig, zoom::ZoomConfig,
};

/// What an environment variable begins with to be ours.
const PREFIX: &str = "QOS_PROXY__";

/// The whole configuration, valid, one field for each part that owns it.
pub struct Config {
    /// The listeners, and how they stop.
    pub server: ServerConfig,
    /// How long callers wait, and how many calls may queue.
    pub fetcher: FetcherConfig,
    /// Where Zoom is, and who we are there.
    pub zoom: ZoomConfig,
    /// What may be spent.
    pub quota: QuotaConfig,
    /// How long snapshots are fresh.
    pub freshness: FreshnessConfig,
    /// How much is remembered.
    pub cache: CacheConfig,
    /// Who may ask.
    pub callers: CallersConfig,
    /// What replicas have in common, where they do.
    pub shared: Option<SharedConfig>,
    /// What is logged.
    pub telemetry: TelemetryConfig,
    /// Where spans go.
    pub trace: TraceConfig,
    effective: String,
}

impl Config {
    /// Reads the files and takes the environment as given.
    ///
    /// Returns the configuration with what the log should warn of.
    ///
    /// # Errors
    /// Everything that is wrong, together.
    pub fn load(
        files: &[PathBuf],
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(Self, Vec<Warning>), Problems> {
        Self::read(Reader::new(layers(files, environment)))
    }

    /// Reads the files and this process's environment.
    ///
    /// # Errors
    /// Everything that is wrong, together.
    pub fn from_process(files: &[PathBuf]) -> Result<(Self, Vec<Warning>), Problems> {
        Self::load(files, std::env::vars_os())
    }

    /// Only `server.ops_listen`, for the health check: an image's is run without the command line that the service was
    /// started with, and the rest may have come from there.
    ///
    /// # Errors
    /// Everything that is wrong with the files and with this key.
    pub fn ops_listen_from_process(files: &[PathBuf]) -> Result<SocketAddr, Problems> {
        let mut reader = Reader::new(layers(files, std::env::vars_os()));
        let at = sections::ops_listen(&mut reader);
        reader.finish().and_then(|_| at.ok_or_else(|| Problems::new(Vec::new())))
    }

    /// Only `callers.file`, for the command that changes it: it may be missing, and the rest need not be there.
    ///
    /// # Errors
    /// Everything that is wrong with the files and with this key.
    pub fn callers_file_from_process(files: &[PathBuf]) -> Result<Option<PathBuf>, Problems> {
        let mut reader = Reader::new(layers(files, std::env::vars_os()));
        let path = sections::callers_path(&mut reader);
        reader.finish().map(|_| path)
    }

    /// What `check-config` prints: TOML with every key, its effective value and where that comes from. Secrets are
    /// redacted.
    #[must_use]
    pub fn effective(&self) -> String {
        self.effective.clone()
    }

    fn read(mut reader: Reader) -> Result<(Self, Vec<Warning>), Problems> {
        let server = sections::server(&mut reader);
        let wait = sections::wait(&mut reader);
        let proxies = egress::environment_proxies(&mut reader);
        let roots = egress::environment_roots(&mut reader);
        let zoom = sections::zoom(&mut reader, &proxies, &roots);
        let freshness = sections::freshness(&mut reader);
        let mut quota = limits::quota(&mut reader, freshness.as_ref());
        let max_queued = limits::max_queued(&mut reader);
        let max_fetch_bytes = reader.size("limits.max_fetch_bytes");
        let cache = sections::cache(&mut reader);
        let callers = sections::callers(&mut reader);
        let shared = sharing::shared(&mut reader, zoom.as_ref(), quota.as_mut(), freshness.as_ref());
        let telemetry = sections::telemetry(&mut reader);
        let trace = sections::trace(&mut reader, &proxies, roots);
        let read = reader.finish()?;
        let config = || {
            Some(Self {
                server: server?,
                fetcher: FetcherConfig {
                    wait: wait?,
                    max_queued: max_queued?,
                    max_fetch_bytes: max_fetch_bytes?,
                },
                zoom: zoom?,
                quota: quota?,
                freshness: freshness?,
                cache: cache?,
                callers: callers?,
                shared,
                telemetry: telemetry?,
                trace,
                effective: read.effective,
            })
        };
        // `None` without a problem cannot be: a missing value is always noted.
        config().map(|config| (config, read.warnings)).ok_or_else(|| Problems::new(Vec::new()))
    }
}

fn layers(files: &[PathBuf], environment: impl IntoIterator<Item = (OsString, OsString)>) -> Layers {
    let mut layers = Layers::default();
    layers.add_defaults(include_str!("../config/default.toml"));
    for file in files {
        layers.add_file(file);
    }
    layers.add_environment(environment);
    layers
}
