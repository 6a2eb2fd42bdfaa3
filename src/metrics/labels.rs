//! The values that labels can have: every one is in an `enum` or a list here, so that none is made of input.

/// How a `/qos` request ended: one vocabulary for metric and log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// From the cache, fresh.
    Hit,
    /// From the cache, stale.
    Stale,
    /// Fetched from Zoom for this request.
    Miss,
    /// Waited for another request's flight.
    Collapsed,
    /// The caller has it already.
    NotModified,
    /// Turned down by this service: bad input, a spent budget, a full queue, a drain.
    Refused,
    /// Zoom refused or failed, or did not answer in time.
    Failed,
}

impl Outcome {
    /// The word itself.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::NotModified => "not_modified",
            Self::Collapsed => "collapsed",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Why a connection was ended by us, though its peer wanted more of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectionRefusal {
    /// What came is no HTTP request, or one that can be read in two ways.
    Malformed,
    /// The head of a request was too long.
    HeadTooLong,
    /// A head, or a request's body, was not whole in time.
    HeadTimeout,
    /// An answer made no progress.
    WriteTimeout,
}

impl ConnectionRefusal {
    /// All of them.
    pub(super) const ALL: [Self; 4] =
        [Self::Malformed, Self::HeadTooLong, Self::HeadTimeout, Self::WriteTimeout];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::HeadTooLong => "head_too_long",
            Self::HeadTimeout => "head_timeout",
            Self::WriteTimeout => "write_timeout",
        }
    }
}

/// How a call to Zoom ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallResult {
    /// A whole page.
    Ok,
    /// No such meeting, a webinar, too old.
    NotFound,
    /// A page token that Zoom no longer takes.
    PageTokenRefused,
    /// A 429.
    RateLimited,
    /// The access token, its scopes or the plan.
    Unauthorized,
    /// No answer in time.
    TimedOut,
    /// No connection, or an answer that broke off or is none.
    NotReached(Cause),
    /// A server error, a refusal of another kind, or an answer that is not a page.
    Failed,
}

/// Why Zoom could not be reached, or did not answer as HTTP demands; one vocabulary for metric, log and status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The host's name has no address.
    Name,
    /// No address accepts a connection.
    Refused,
    /// No connection within `zoom.connect_timeout`.
    Timeout,
    /// The TLS handshake failed, or the certificate is refused.
    Tls,
    /// The proxy cannot be reached, or does not let us through.
    Proxy,
    /// The connection broke, or what came over it is no whole answer.
    Broken,
}

impl Cause {
    /// The word itself.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Proxy => "proxy",
            Self::Broken => "broken",
        }
    }
}

/// Whether an access token could be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RenewalResult {
    /// A new one.
    Ok,
    /// Another replica's.
    Shared,
    /// The credentials are refused.
    Refused,
    /// No usable answer.
    Failed,
}

/// What was read from Redis, is out of bounds, and counts as not there; one vocabulary for metric and log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RedisValue {
    /// A field of the shared budget or of a replica in it.
    Budget,
    /// A claim, or the number of a claim, a record or a purge.
    Fence,
    /// A record: too large, torn, or with something in it that cannot be.
    Record,
    /// A message of another replica.
    Event,
    /// The answer of a script.
    Reply,
    /// What the server or a Sentinel says of itself: time, run id, address.
    Server,
}

impl RedisValue {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Budget, Self::Fence, Self::Record, Self::Event, Self::Reply, Self::Server];

    /// The word itself.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::Fence => "fence",
            Self::Record => "record",
            Self::Event => "event",
            Self::Reply => "reply",
            Self::Server => "server",
        }
    }
}

impl CallResult {
    /// All of them.
    pub(super) const ALL: [Self; 13] = [
        Self::Ok,
        Self::NotFound,
        Self::PageTokenRefused,
        Self::RateLimited,
        Self::Unauthorized,
        Self::TimedOut,
        Self::NotReached(Cause::Name),
        Self::NotReached(Cause::Refused),
        Self::NotReached(Cause::Timeout),
        Self::NotReached(Cause::Tls),
        Self::NotReached(Cause::Proxy),
        Self::NotReached(Cause::Broken),
        Self::Failed,
    ];

    /// The word itself.
    #[must_use]
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

impl RenewalResult {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Shared => "shared",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// The statuses that `/qos` answers with.
pub(super) fn status_text(status: u16) -> &'static str {
    match status {
        200 => "200",
        304 => "304",
        400 => "400",
        401 => "401",
        404 => "404",
        405 => "405",
        410 => "410",
        429 => "429",
        499 => "499",
        500 => "500",
        502 => "502",
        503 => "503",
        504 => "504",
        _ => "other",
    }
}
