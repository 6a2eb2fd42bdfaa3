//! Logs.

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// One readable line.
    Text,
}

/// What is logged, and how it looks.
pub struct TelemetryConfig {
    /// The look of a line.
    pub log_format: LogFormat,
    /// An `EnvFilter` directive, already checked.
    pub log_level: String,
}
