//! `[redis]`: what replicas have in common, and over which server.

use std::{num::NonZeroU32, sync::Arc};

use super::{
    egress::LARGEST_BUNDLE,
    reader::Reader,
    rules::{Count, FilePath, Span},
};
use crate::{
    cluster::{SharedConfig, address::Address, bounds::AHEAD_AT_MOST, namespace, seal::Sealer},
    quota::QuotaConfig,
    regular_file,
    snapshot::FreshnessConfig,
    zoom::ZoomConfig,
};

/// More processes than this is a slip of the hand.
const MOST_REPLICAS: u32 = 1_000;
/// The server takes a replica for missing that it does not hear of for longer.
const LONGEST_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(1);

const ENCRYPTION_KEY: &str = "redis.encryption_key";
const ENCRYPTION_KEY_FILE: &str = "redis.encryption_key_file";

/// `None` without `redis.url`, or when something is wrong: then that is noted. With it the day's count lives in Redis, and no
/// state file is kept.
pub(super) fn shared(
    reader: &mut Reader,
    zoom: Option<&ZoomConfig>,
    quota: Option<&mut QuotaConfig>,
    freshness: Option<&FreshnessConfig>,
) -> Option<SharedConfig> {
    let url = reader.optional_secret("redis.url", "redis.url_file");
    let replicas = reader.required("redis.replicas", &Count(1..=MOST_REPLICAS));
    let timeout = reader.required("redis.timeout", &Span::Positive);
    let ca_file = reader.optional("redis.ca_file", &FilePath);
    let sealer = sealer(reader);
    if let (Some(timeout), Some(at)) = (timeout, reader.origin("redis.timeout"))
        && timeout > LONGEST_TIMEOUT
    {
        let what = "must be 1s at most: a replica that is silent for longer counts as missing".to_owned();
        reader.problem("redis.timeout", &at, what);
    }
    let Some((key, at)) = reader.first_set(["redis.url", "redis.url_file"]) else {
        for key in ["redis.ca_file", ENCRYPTION_KEY, ENCRYPTION_KEY_FILE] {
            if let Some(at) = reader.origin(key) {
                let what = "does nothing without redis.url; set that, or remove this".to_owned();
                reader.problem(key, &at, what);
            }
        }
        return None;
    };
    let source = url?;
    // An unreadable file is noted already.
    let url = source.read().ok()?;
    let ca = match (&ca_file, reader.origin("redis.ca_file")) {
        (Some(path), Some(ca_at)) => match regular_file::read(path, LARGEST_BUNDLE) {
            _ if !url.expose().starts_with("rediss") => {
                let what = format!("does nothing without TLS; write rediss:// in {key}, or remove this");
                reader.problem("redis.ca_file", &ca_at, what);
                return None;
            }
            Ok(ca) => Some(ca),
            Err(error) => {
                reader.problem("redis.ca_file", &ca_at, format!("the file cannot be read: {error}"));
                return None;
            }
        },
        _ => None,
    };
    let address = match Address::parse(url.expose(), ca.as_deref()) {
        Ok(address) => address,
        Err(wrong) => {
            reader.problem(key, &at, wrong.to_string());
            return None;
        }
    };
    reader.remark(key, &format!("server: {}", address.host()));
    if address.shows_password() {
        let what = "redis sends the password unencrypted to another machine; use rediss".to_owned();
        reader.warn(key, &at, what);
    }
    let (zoom, quota, freshness) = (zoom?, quota?, freshness?);
    if quota.state_file.take().is_some() {
        reader.remark("limits.state_file", "not used: with Redis the day's count is kept there");
    }
    let account = zoom.account_id.read().ok()?;
    let address_now = move || {
        let ca = ca_file.as_ref().map(|path| regular_file::read(path, LARGEST_BUNDLE)).transpose().ok()?;
        Address::parse(source.read().ok()?.expose(), ca.as_deref()).ok()
    };
    Some(SharedConfig {
        address,
        address_now: Arc::new(address_now),
        timeout: timeout?,
        replicas: NonZeroU32::new(replicas?)?,
        namespace: namespace(zoom.api_base_url.as_str(), account.expose()),
        sealer,
        per_second: quota.per_second,
        per_day: quota.per_day,
        fresh_at_most: freshness.at_most(quota.max_stretch).max(AHEAD_AT_MOST),
    })
}

/// What encrypts records; `None` without a key, or when it is none: then that is noted, without the key.
fn sealer(reader: &mut Reader) -> Option<Arc<Sealer>> {
    let source = reader.optional_secret(ENCRYPTION_KEY, ENCRYPTION_KEY_FILE)?;
    let (key, at) = reader.first_set([ENCRYPTION_KEY, ENCRYPTION_KEY_FILE])?;
    // An unreadable file is noted already.
    match Sealer::new(source.read().ok()?.expose()) {
        Ok(sealer) => Some(Arc::new(sealer)),
        Err(wrong) => {
            reader.problem(key, &at, wrong.to_string());
            None
        }
    }
}
