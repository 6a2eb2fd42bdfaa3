//! Where lines of the log wait for the thread that writes them: no request waits for a pipe.
//!
//! The thread gathers for a moment and writes what has come in one go. To wake it up for each line, and to write each by
//! itself, costs a busy worker as much as to make the line. A line that finds no room is lost, and counted.

use std::{
    io::{self, Write},
    mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

/// So long lines are gathered. If the process is killed, those are what is missing.
const GATHERED_FOR: Duration = Duration::from_millis(10);
/// Some 30,000 lines: a pipe that nobody reads takes no more memory than that.
const ROOM: usize = 8 << 20;
/// What stays allocated when a burst is over.
const KEPT: usize = 256 << 10;
/// At the end the lines that are left get so long to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Takes lines; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// There is a line, or the end.
    changed: Condvar,
    /// The thread is done.
    written: Condvar,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    lines: Vec<u8>,
    ended: bool,
    written: bool,
}

/// Counts lines that were lost because the output was too slow.
#[derive(Clone)]
pub struct DroppedLines(Lines);

impl DroppedLines {
    /// Lines lost since the start.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.0.dropped.load(Ordering::Relaxed)
    }
}

/// Has the last lines written when it is dropped.
pub(super) struct Writer(Lines);

impl Lines {
    /// Starts the thread that writes to `output`.
    pub(super) fn to(output: impl Write + Send + 'static) -> io::Result<(Self, Writer)> {
        let lines = Self::default();
        let of_thread = lines.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || of_thread.write_all_to(output))?;
        Ok((lines.clone(), Writer(lines)))
    }

    pub(super) fn dropped(&self) -> DroppedLines {
        DroppedLines(self.clone())
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing in there is half done when a thread panics.
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, line: &[u8]) {
        let mut waiting = self.waiting();
        if waiting.lines.len() + line.len() > ROOM {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let is_first = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        if is_first {
            self.0.changed.notify_one();
        }
    }

    fn write_all_to(&self, mut output: impl Write) {
        let mut taken = Vec::new();
        loop {
            let quiet = |waiting: &mut Waiting| waiting.lines.is_empty() && !waiting.ended;
            let waiting = self.0.changed.wait_while(self.waiting(), quiet);
            let waiting = waiting.unwrap_or_else(PoisonError::into_inner);
            // More lines do not end the gathering; the end does.
            let gathered = self.0.changed.wait_timeout_while(waiting, GATHERED_FOR, |waiting| !waiting.ended);
            let (mut waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
            mem::swap(&mut waiting.lines, &mut taken);
            let ended = waiting.ended;
            drop(waiting);
            // Nobody is left to be told: this is the log.
            output.write_all(&taken).and_then(|()| output.flush()).ok();
            taken.clear();
            taken.shrink_to(KEPT);
            if ended {
                self.waiting().written = true;
                self.0.written.notify_all();
                return;
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let Lines(shared) = &self.0;
        let mut waiting = self.0.waiting();
        waiting.ended = true;
        shared.changed.notify_all();
        drop(shared.written.wait_timeout_while(waiting, LAST_LINES, |waiting| !waiting.written));
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// Each write is a whole line.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Instant};

    use super::*;

    /// An output that a test reads; nothing is read as long as the test does not.
    struct Pipe(mpsc::SyncSender<Vec<u8>>);

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_written_soon_and_all_that_come_meanwhile_with_it() {
        let (sender, written) = mpsc::sync_channel(0);
        let (lines, _writer) = Lines::to(Pipe(sender)).unwrap();
        lines.put(b"one\n");
        assert!(written.recv_timeout(Duration::from_secs(10)).unwrap().starts_with(b"one\n"));
        for number in 0..100 {
            lines.put(format!("{number}\n").as_bytes());
        }
        let (mut all, mut writes) = (Vec::new(), 0);
        while !all.ends_with(b"99\n") {
            all.extend(written.recv_timeout(Duration::from_secs(10)).unwrap());
            writes += 1;
        }
        assert_eq!(String::from_utf8(all).unwrap().lines().count(), 100);
        assert!(writes < 100, "{writes}");
    }

    #[test]
    fn the_last_lines_are_written_at_the_end() {
        let (sender, written) = mpsc::sync_channel(9);
        let (lines, writer) = Lines::to(Pipe(sender)).unwrap();
        lines.put(b"last\n");
        drop(writer);
        assert_eq!(written.try_iter().flatten().collect::<Vec<_>>(), b"last\n");
    }

    #[test]
    fn an_output_that_takes_nothing_costs_lines_and_neither_waiting_nor_memory() {
        let (sender, written) = mpsc::sync_channel(0);
        let (lines, writer) = Lines::to(Pipe(sender)).unwrap();
        let line = vec![b'x'; 1 << 20];
        for _ in 0..100 {
            lines.put(&line);
        }
        // What one write holds is not waiting any more.
        assert!((80..=92).contains(&lines.dropped().count()), "{}", lines.dropped().count());
        let began = Instant::now();
        drop(writer);
        assert!(began.elapsed() < 5 * LAST_LINES, "the end does not wait for ever");
        drop(written);
    }
}
