//! The limit of open files, and how many connections of callers it leaves room for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A caller's connection, the handle by which its hang-up is noticed, and the copy of that which is watched while it waits.
const FOR_A_CONNECTION: u64 = 3;
/// For everything else: the ops listener and its connections, Zoom, Redis, files, the runtimes.
const RESERVED: u64 = 320;

/// Takes all the files that the process may open, and says how many connections callers may have: those that are wanted, or as
/// many as leave enough files for probes and for Zoom.
pub(super) fn connections(wanted: u32) -> usize {
    let files = take_all();
    let most = most_connections(wanted, files);
    if most < wanted {
        tracing::warn!(
            files,
            wanted,
            connections = most,
            "server.max_connections does not fit into the limit of open files: fewer connections are accepted at a time"
        );
    }
    usize::try_from(most).unwrap_or(usize::MAX)
}

/// Shells and service managers start a process with 1,024, for the sake of programs that use `select`, and leave it to the
/// others to take what they may have.
fn take_all() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files");
            current
        }
    }
}

/// `files`: `None` is without a limit.
fn most_connections(wanted: u32, files: Option<u64>) -> u32 {
    let Some(files) = files else { return wanted };
    // Of very few files half are kept back: better few callers than none.
    let room = (files - RESERVED.min(files / 2)) / FOR_A_CONNECTION;
    u32::try_from(room).unwrap_or(u32::MAX).clamp(1, wanted)
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
