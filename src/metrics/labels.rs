//! The values of labels that belong to no other module.

vocabulary! {
    /// How a `/qos` request ended, in metrics and logs.
    pub enum Outcome {
        /// A fresh snapshot from the cache.
        Hit = "hit",
        /// A stale snapshot from the cache.
        Stale = "stale",
        /// Fetched from Zoom for this request.
        Miss = "miss",
        /// Waited for another request's flight.
        Collapsed = "collapsed",
        /// The caller already has it.
        NotModified = "not_modified",
        /// Rejected by this service: bad input, a used-up budget, a full queue, a drain.
        Refused = "refused",
        /// Zoom refused, failed or did not answer in time.
        Failed = "failed",
    }
}

vocabulary! {
    /// Why we closed a connection although its peer was not done with it.
    pub enum ConnectionRefusal {
        /// The bytes are not an HTTP request, or an ambiguous one.
        Malformed = "malformed",
        /// The head of a request was too long.
        HeadTooLong = "head_too_long",
        /// A head, or a request's body, was not complete in time.
        HeadTimeout = "head_timeout",
        /// The peer did not read the response in time.
        WriteTimeout = "write_timeout",
    }
}

vocabulary! {
    /// Why Zoom could not be reached, or sent no whole response, in metrics, logs and status.
    pub enum Cause {
        /// The host's name has no address.
        Name = "name",
        /// No address accepts a connection.
        Refused = "refused",
        /// No connection within `zoom.connect_timeout`.
        Timeout = "timeout",
        /// The TLS handshake failed, or the certificate is not trusted.
        Tls = "tls",
        /// The proxy cannot be reached, or refuses the tunnel.
        Proxy = "proxy",
        /// The connection broke, or the response was malformed or cut.
        Broken = "broken",
    }
}

vocabulary! {
    /// The outcome of an attempt to get an access token.
    pub enum RenewalResult {
        /// A new one from Zoom.
        Ok = "ok",
        /// Another replica's.
        Shared = "shared",
        /// Zoom refuses the credentials.
        Refused = "refused",
        /// No usable response.
        Failed = "failed",
    }
}

vocabulary! {
    /// A kind of value from Redis that can be out of bounds and is then ignored, in metrics and logs.
    pub enum RedisValue {
        /// A field of the shared budget, or of a replica in it.
        Budget = "budget",
        /// A claim, or the number of a claim, a record or a purge.
        Fence = "fence",
        /// A record that is too large, corrupt or inconsistent.
        Record = "record",
        /// A message of another replica.
        Event = "event",
        /// The reply of a script.
        Reply = "reply",
        /// The time, run id or address of the server or a Sentinel.
        Server = "server",
    }
}

/// How a call to Zoom ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallResult {
    /// A whole page.
    Ok,
    /// No such meeting, a webinar, or too old.
    NotFound,
    /// Zoom no longer accepts a page token.
    PageTokenRefused,
    /// A 429.
    RateLimited,
    /// Zoom refuses the access token, its scopes or the plan.
    Unauthorized,
    /// No response in time.
    TimedOut,
    /// No connection, or no whole response.
    NotReached(Cause),
    /// A server error, any other error, or a response that is not a page.
    Failed,
}

impl CallResult {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let others = [
            Self::Ok,
            Self::NotFound,
            Self::PageTokenRefused,
            Self::RateLimited,
            Self::Unauthorized,
            Self::TimedOut,
            Self::Failed,
        ];
        others.into_iter().chain(Cause::ALL.map(Self::NotReached))
    }

    /// The value's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotFound => "not_found",
            Self::PageTokenRefused => "page_token_refused",
            Self::RateLimited => "rate_limited",
            Self::Unauthorized => "unauthorized",
            Self::TimedOut => "timed_out",
            Self::NotReached(cause) => cause.as_str(),
            Self::Failed => "failed",
        }
    }
}
