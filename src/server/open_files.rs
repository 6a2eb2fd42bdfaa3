//! Raises the limit of open files, and derives from it how many connections callers may have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A caller's connection, the handle that detects its disconnect, and the copy of that handle while the caller waits.
const FILES_PER_CONNECTION: u64 = 3;
/// For everything else: the operators' listener, Zoom, Redis, files, the runtimes.
const RESERVED: u64 = 320;

/// Raises the limit of open files as far as the system allows. Returns how many connections callers may have: `wanted`, or fewer
/// if that would leave too few files for probes and for Zoom.
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

/// Shells and service managers start processes with a soft limit of 1,024, because programs that use `select` cannot handle
/// more. Others are expected to raise it.
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

/// Example: 1,024 files leave 704 for callers, or 234 connections. `files`: `None` is no limit.
fn most_connections(wanted: u32, files: Option<u64>) -> u32 {
    let Some(files) = files else { return wanted };
    // If there are very few, half are reserved: better few connections than none.
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
