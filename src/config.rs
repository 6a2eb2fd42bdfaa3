//! The configuration. Reads built-in defaults, files and environment variables into one struct for each part of the
//! service.
//!
//! Later layers override earlier ones: first `config/default.toml` (built in), then each `--config` file in turn, then
//! the environment (`QOS_PROXY__SECTION__KEY`). All values are read and checked before problems are reported.
//! [`Problems`] has one line for each problem, with the key or the file, the origin of the value, and usually what to
//! do. A wrong value is a problem even if a later layer overrides it, because the later layer may be removed.
//!
//! `config` and `figment` do not work like this: they deserialize with serde, which stops at the first problem of a
//! layer.
//!
//! - Nothing is guessed: a duration without its unit, a typo and an unknown key are problems.
//! - No problem, no warning and no line of [`Config::effective`] contains the value of a key for a secret.
//! - Files of secrets, certificates and callers are read here, to report problems at start. docs/OPERATIONS.md lists
//!   the files that are read again while the service runs. A change of any other file takes effect at the next
//!   start.

mod access;
mod egress;
mod keys;
mod layers;
mod limits;
mod problem;
mod reader;
mod redis;
mod rules;
mod sections;

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

pub use self::problem::Problems;
use self::{layers::Layers, reader::Reader, redis::cluster};
use crate::{
    cache::CacheConfig,
    callers::{CallersFile, OperatorsKey},
    cluster::ClusterConfig,
    fetcher::FetcherConfig,
    hiding::HiddenFields,
    quota::QuotaConfig,
    server::ServerConfig,
    snapshot::FreshnessConfig,
    telemetry::TelemetryConfig,
    trace::TraceConfig,
    view::summary::SummaryLimits,
    zoom::ZoomConfig,
};

/// The complete and valid configuration, with the settings of each part in one field.
pub struct Config {
    /// The listeners, their limits and timeouts.
    pub server: ServerConfig,
    /// How long callers wait, and the bounds of queue and memory.
    pub fetcher: FetcherConfig,
    /// Zoom's addresses and the account's credentials.
    pub zoom: ZoomConfig,
    /// The limits for calls to Zoom.
    pub quota: QuotaConfig,
    /// How long snapshots are fresh.
    pub freshness: FreshnessConfig,
    /// The size of the cache, how long failures are kept, and the use of stale snapshots.
    pub cache: CacheConfig,
    /// The callers and their keys; `None` if requests need no key.
    pub callers: Option<CallersFile>,
    /// The fields that are hidden from the anonymous caller.
    pub anonymous_hide: HiddenFields,
    /// The key that purges require; `None` if they require no key.
    pub operators_key: Option<OperatorsKey>,
    /// The limits that summaries compare measurements with.
    pub summary: SummaryLimits,
    /// Redis; `None` for a single process.
    pub cluster: Option<ClusterConfig>,
    /// The settings of the log.
    pub telemetry: TelemetryConfig,
    /// The collector to which spans are sent, and how to reach it.
    pub trace: TraceConfig,
    /// The output of `check-config`: TOML with every key, its effective value and its origin. Secrets are redacted.
    pub effective: String,
}

impl Config {
    /// Reads the files and the given environment. Returns the configuration and the warnings for the log.
    ///
    /// # Errors
    /// Returns all problems that were found.
    pub fn load(
        files: &[PathBuf],
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(Self, Vec<String>), Problems> {
        Self::read(reader(files, environment))
    }

    fn read(mut reader: Reader) -> Result<(Self, Vec<String>), Problems> {
        let server = sections::server(&mut reader);
        let proxies = egress::environment_proxies(&mut reader);
        let roots = egress::environment_roots(&mut reader);
        let zoom = sections::zoom(&mut reader, &proxies, &roots);
        let freshness = sections::freshness(&mut reader);
        let mut quota = limits::quota(&mut reader, &freshness);
        let fetcher = FetcherConfig {
            wait: reader.positive_duration("server.wait"),
            max_queued: usize::try_from(reader.integer("limits.max_queued", &(1..=u32::MAX)))
                .unwrap_or(usize::MAX),
            max_fetch_bytes: reader.size("limits.max_fetch_bytes"),
        };
        let cache = sections::cache(&mut reader);
        let anonymous_hide = access::anonymous_hide(&mut reader);
        let callers = access::callers(&mut reader, &proxies, server.listen);
        let operators_key = access::operators_key(&mut reader);
        let summary = sections::summary(&mut reader);
        let cluster = cluster(&mut reader, zoom.as_ref(), &mut quota, &freshness);
        let telemetry = sections::telemetry(&mut reader);
        let trace = sections::trace(&mut reader, &proxies, roots);
        let (effective, warnings) = reader.finish()?;
        // This cannot be `None`: a missing value was reported, so `finish` has returned the problems.
        let Some(zoom) = zoom else { return Err(Problems::new(Vec::new())) };
        let config = Self {
            server,
            fetcher,
            zoom,
            quota,
            freshness,
            cache,
            callers,
            anonymous_hide,
            operators_key,
            summary,
            cluster,
            telemetry,
            trace,
            effective,
        };
        Ok((config, warnings))
    }

    /// Reads the files and this process's environment, like [`Self::load`].
    ///
    /// # Errors
    /// Returns all problems that were found.
    pub fn from_process(files: &[PathBuf]) -> Result<(Self, Vec<String>), Problems> {
        Self::load(files, std::env::vars_os())
    }

    /// Like [`Self::from_process`], but also checks the files of issuers. If `files_may_be_missing`, a missing file of
    /// secrets, certificates, callers or issuers is only a warning: it may be mounted where the service runs, but not
    /// where its configuration is checked.
    pub(crate) fn check_process(
        files: &[PathBuf],
        files_may_be_missing: bool,
    ) -> Result<(Self, Vec<String>), Problems> {
        let mut reader = reader(files, std::env::vars_os());
        reader.check_files(files_may_be_missing);
        Self::read(reader)
    }

    /// Reads only `server.ops_listen`, for the health check. A container runs this check without the service's command
    /// line, so the files with the other keys may be missing.
    pub(crate) fn ops_listen_from_process(files: &[PathBuf]) -> Result<SocketAddr, Problems> {
        let mut reader = reader(files, std::env::vars_os());
        let listen = reader.address("server.ops_listen");
        reader.finish().map(|_| listen)
    }

    /// Reads only `callers.file`, for the `callers` commands. The file need not exist, and the other keys need not
    /// be set.
    pub(crate) fn callers_file_from_process(files: &[PathBuf]) -> Result<Option<PathBuf>, Problems> {
        let mut reader = reader(files, std::env::vars_os());
        let path = access::callers_path(&mut reader);
        reader.finish().map(|_| path)
    }
}

fn reader(files: &[PathBuf], environment: impl IntoIterator<Item = (OsString, OsString)>) -> Reader {
    let mut layers = Layers::default();
    layers.add_defaults(include_str!("../config/default.toml"));
    for file in files {
        layers.add_file(file);
    }
    layers.add_environment(environment);
    Reader::new(layers)
}
