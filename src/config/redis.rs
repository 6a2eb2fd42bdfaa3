//! `[redis]`: the server that replicas share, and its use.

use std::{num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use super::{egress::MAX_CERTIFICATES_BYTES, reader::Reader, rules::text::file_path};
use crate::{
    cluster::{ClusterConfig, address::Address, bounds::AHEAD_AT_MOST, cipher::RecordCipher, namespace},
    quota::QuotaConfig,
    regular_file,
    snapshot::FreshnessConfig,
    zoom::{
        ZoomConfig,
        secret::{Secret, SecretSource},
    },
};

/// The maximum of `redis.replicas`. A larger number is probably a typo.
const MAX_REPLICAS: u32 = 1_000;
/// The maximum of `redis.timeout`. It is below 1.5 s, after which a replica without a heartbeat counts as missing.
const MAX_TIMEOUT: Duration = Duration::from_secs(1);

const CA_FILE: &str = "redis.ca_file";
const ENCRYPTION_KEY: &str = "redis.encryption_key";
const ENCRYPTION_KEY_FILE: &str = "redis.encryption_key_file";

/// Reads `[redis]`. Returns `None` if no URL is set, or after reporting a problem or a missing file. If a URL is set,
/// the day's count is kept in Redis instead of the state file.
pub(super) fn cluster(
    reader: &mut Reader,
    zoom: Option<&ZoomConfig>,
    quota: &mut QuotaConfig,
    freshness: &FreshnessConfig,
) -> Option<ClusterConfig> {
    let url = reader.optional_secret("redis.url", "redis.url_file");
    let replicas = reader.integer("redis.replicas", &(1..=MAX_REPLICAS));
    let timeout = reader.positive_duration("redis.timeout");
    let ca_file = reader.optional(CA_FILE, file_path);
    let cipher = cipher(reader);
    if timeout > MAX_TIMEOUT {
        reader.reject(
            "redis.timeout",
            "must be 1s at most: a replica that is silent for longer counts as gone",
        );
    }
    let Some(key) = reader.first_set(["redis.url", "redis.url_file"]) else {
        for key in [CA_FILE, ENCRYPTION_KEY, ENCRYPTION_KEY_FILE] {
            if reader.is_set(key) {
                reader.reject(key, "has no effect without redis.url; set redis.url, or remove this key");
            }
        }
        return None;
    };
    let source = url?;
    // A file that cannot be read has already been reported.
    let address = address(reader, key, &source.read().ok()?, ca_file.as_ref())?;
    if quota.state_file.take().is_some() {
        reader.annotate("limits.state_file", "not used: with redis.url, the day's count is kept in Redis");
    }
    let account = zoom?.account_id.read().ok()?;
    Some(ClusterConfig {
        address,
        address_now: Arc::new(move || read_address(&source, ca_file.as_ref())),
        timeout,
        replicas: NonZeroU32::new(replicas)?,
        namespace: namespace(zoom?.api_base_url.as_str(), account.expose()),
        cipher,
        per_second: quota.per_second,
        per_day: quota.per_day,
        fresh_at_most: freshness.at_most(quota.max_stretch).max(AHEAD_AT_MOST),
    })
}

/// Parses `url`, the value of `key`. Returns `None` after reporting a problem or a missing CA file.
fn address(reader: &mut Reader, key: &str, url: &Secret, ca_file: Option<&PathBuf>) -> Option<Address> {
    if ca_file.is_some() && !url.expose().starts_with("rediss") {
        reader.reject(
            CA_FILE,
            format!("has no effect without TLS; write rediss:// in {key}, or remove this key"),
        );
        return None;
    }
    if ca_file.is_some_and(|path| reader.skip_missing_file(CA_FILE, path)) {
        return None;
    }
    let ca = match ca_file.map(|path| regular_file::read(path, MAX_CERTIFICATES_BYTES)).transpose() {
        Ok(ca) => ca,
        Err(error) => {
            reader.reject(CA_FILE, format!("the file cannot be read: {error}"));
            return None;
        }
    };
    match Address::parse(url.expose(), ca.as_deref()) {
        Ok(address) => {
            reader.annotate(key, &format!("server: {}", address.host()));
            if address.shows_password() {
                reader.warn(key, "redis sends the password unencrypted to another machine; use rediss");
            }
            Some(address)
        }
        Err(error) => {
            reader.reject(key, error.to_string());
            None
        }
    }
}

/// Reads the address again, for a new connection.
fn read_address(source: &SecretSource, ca_file: Option<&PathBuf>) -> Option<Address> {
    let ca = ca_file.map(|path| regular_file::read(path, MAX_CERTIFICATES_BYTES)).transpose().ok()?;
    Address::parse(source.read().ok()?.expose(), ca.as_deref()).ok()
}

/// Returns the cipher of records; `None` without a usable key. A problem with the key is reported.
fn cipher(reader: &mut Reader) -> Option<Arc<RecordCipher>> {
    let source = reader.optional_secret(ENCRYPTION_KEY, ENCRYPTION_KEY_FILE)?;
    let key = reader.first_set([ENCRYPTION_KEY, ENCRYPTION_KEY_FILE])?;
    // A file that cannot be read has already been reported.
    let cipher = RecordCipher::new(source.read().ok()?.expose());
    cipher.map_err(|error| reader.reject(key, error.to_string())).ok().map(Arc::new)
}
