//! Composition root.

use std::{net::SocketAddr, time::Duration};

/// The listeners, and how they stop.
pub struct ServerConfig {
    /// Callers' listener.
    pub listen: SocketAddr,
    /// Health, metrics, status.
    pub ops_listen: SocketAddr,
    /// HTTP worker threads.
    pub workers: usize,
    /// After SIGTERM: how long new connections are still answered.
    pub drain_delay: Duration,
    /// After the drain: how long requests under way may take.
    pub shutdown_timeout: Duration,
}
