//! The values of labels that belong to no other module.

vocabulary! {
    /// How a request for a meeting ended, in metrics and logs.
    pub enum Outcome {
        /// A fresh snapshot from the cache, or from another replica's record.
        Hit = "hit",
        /// A stale snapshot from the cache.
        Stale = "stale",
        /// A snapshot that was fetched for this request.
        Miss = "miss",
        /// A snapshot that was fetched for another request.
        Collapsed = "collapsed",
        /// A 304, because the caller already has the snapshot.
        NotModified = "not_modified",
        /// The request was rejected, for example because of invalid input, no valid key, a rate limit, a full queue or a
        /// shutdown.
        Refused = "refused",
        /// There was no usable answer, for example because Zoom has no such meeting, failed or did not respond in time,
        /// or because the caller disconnected.
        Failed = "failed",
    }
}

vocabulary! {
    /// Why the service ended a connection because of its peer.
    pub enum ConnectionRefusal {
        /// The bytes are not a valid HTTP request, or the request is ambiguous.
        Malformed = "malformed",
        /// The head of a request was too long.
        HeadTooLong = "head_too_long",
        /// The head or the body of a request was not complete in time.
        HeadTimeout = "head_timeout",
        /// The peer did not read the response in time.
        WriteTimeout = "write_timeout",
    }
}

vocabulary! {
    /// Why Zoom could not be reached, or its response was unusable, in metrics, logs and status.
    pub enum Cause {
        /// The host's name could not be resolved.
        Name = "name",
        /// No address accepted a connection.
        Refused = "refused",
        /// A step towards the connection took longer than `zoom.connect_timeout`.
        Timeout = "timeout",
        /// The TLS handshake failed, or the certificate is not trusted.
        Tls = "tls",
        /// The proxy could not be reached or refused the tunnel, or its file could not be read.
        Proxy = "proxy",
        /// Any other failure: for example, the connection broke, or the response was malformed or cut.
        Broken = "broken",
    }
}

vocabulary! {
    /// The outcome of an attempt to get an access token.
    pub enum RenewalResult {
        /// Zoom issued a new token.
        Ok = "ok",
        /// This replica uses another replica's token.
        Shared = "shared",
        /// Zoom rejected the credentials.
        Refused = "refused",
        /// There was no usable response.
        Failed = "failed",
    }
}

vocabulary! {
    /// A kind of value from Redis, in metrics and logs. A value that is out of bounds is ignored.
    pub enum RedisValue {
        /// A field of the shared quota, of a replica in it, or of a caller's calls.
        Quota = "budget",
        /// A claim, a list of purges, or the fencing number of a claim, a record or a purge.
        Fence = "fence",
        /// A record that is too large or corrupt, or has impossible content.
        Record = "record",
        /// An event of another replica.
        Event = "event",
        /// A reply of a script.
        Reply = "reply",
        /// The run id of the server.
        Server = "server",
    }
}

/// How a call to Zoom ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallResult {
    /// Zoom sent a complete page.
    Ok,
    /// There is no such meeting, its id is of the other kind, or its data is too old.
    NotFound,
    /// Zoom does not accept a page token.
    PageTokenRefused,
    /// Zoom sent a 429.
    RateLimited,
    /// Zoom rejected the access token, its scopes or the plan.
    Unauthorized,
    /// There was no response in time.
    TimedOut,
    /// There was no connection, or the response was incomplete.
    NotReached(Cause),
    /// Any other error: for example, a server error, a response that is not a page, or no memory for the response.
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

    /// Returns the value of the label.
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
