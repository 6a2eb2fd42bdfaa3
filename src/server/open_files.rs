//! Raises the limit of open files, and derives the maximum number of callers' connections from it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The open files for each connection of a caller: the socket, the handle that detects a disconnect, and a copy of
/// that handle while a request waits.
const FILES_PER_CONNECTION: u64 = 3;
/// The open files for everything else: the operators' listener, Zoom, Redis, files, the runtimes.
const RESERVED: u64 = 320;

/// Raises the limit of open files as far as the system allows. Returns the maximum number of callers' connections:
/// `wanted`, or fewer if that would leave too few files for probes and for Zoom.
pub(super) fn reserve_for(wanted: u32) -> usize {
    let files = raise_limit();
    let most = most_connections(wanted, files);
    if most < wanted {
        tracing::warn!(
            files,
            wanted,
            connections = most,
            "server.max_connections exceeds the limit of open files: accepting fewer connections at a time"
        );
    }
    usize::try_from(most).unwrap_or(usize::MAX)
}

/// Raises the soft limit, and returns it. Shells and service managers start processes with a limit of 1,024, because
/// programs that use `select` cannot handle more. Other programs are expected to raise the limit.
fn raise_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the open-file limit");
            current
        }
    }
}

/// Returns the maximum number of callers' connections with this limit of open files; `files` is `None` if there is no
/// limit. Example: 1,024 files leave 704 for callers, which are enough for 234 connections.
fn most_connections(wanted: u32, files: Option<u64>) -> u32 {
    let Some(files) = files else { return wanted };
    // With very few files, half are reserved, so that callers can have some connections.
    let most = (files - RESERVED.min(files / 2)) / FILES_PER_CONNECTION;
    u32::try_from(most).unwrap_or(u32::MAX).clamp(1, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_everything_else() {
        for (wanted, files, most) in [
            (2048, None, 2048),
            (2048, Some(1_048_576), 2048),
            (2048, Some(4096), 1258),
            (2048, Some(1024), 234),
            (100, Some(1024), 100),
            (2048, Some(64), 10),
            (2048, Some(0), 1),
            (1, Some(1024), 1),
        ] {
            assert_eq!(most_connections(wanted, files), most, "{wanted} wanted, {files:?} files");
        }
    }
}
