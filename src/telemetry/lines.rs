//! Where lines of the log wait for the thread that writes them: no request waits for a pipe.
//!
//! Each thread that logs has a place of its own, and no lock is on the way there. The thread that writes is told, lets lines
//! gather for a moment, and takes what has come to all places. To wake it up for each line, and to write each by itself,
//! costs a busy worker as much as to make the line. A line that finds no room is lost, and counted.
//!
//! Of one thread the lines are in order; of two that log within the same moment either may be first.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, Thread},
    time::Duration,
};

use crossbeam_utils::atomic::AtomicCell;
use thread_local::ThreadLocal;
use tracing_subscriber::fmt::MakeWriter;

/// So long lines are gathered. If the process is killed, those are what is missing.
const GATHERED_FOR: Duration = Duration::from_millis(10);
/// Some 15,000 lines of each thread: a pipe that nobody reads takes no more memory than that.
const ROOM: usize = 4 << 20;
/// What a thread takes for its first lines; a busy one comes to some hundred kilobytes in a few steps.
const FIRST_ROOM: usize = 4 << 10;
/// At the end the lines that are left get so long to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Takes lines; cheap to clone.
#[derive(Clone)]
pub(super) struct Lines {
    shared: Arc<Shared>,
    writer: Thread,
}

#[derive(Default)]
struct Shared {
    places: ThreadLocal<Place>,
    ended: AtomicBool,
    dropped: AtomicU64,
}

/// One thread's lines; empty-handed is who finds none, because there are none or because the other one has them just now.
type Place = AtomicCell<Option<Box<Vec<u8>>>>;

/// Counts lines that were lost because the output was too slow.
#[derive(Clone)]
pub struct DroppedLines(Arc<Shared>);

impl DroppedLines {
    /// Lines lost since the start.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

/// Has the last lines written when it is dropped.
pub(super) struct Writer {
    lines: Lines,
    done: mpsc::Receiver<()>,
}

impl Lines {
    /// Starts the thread that writes to `output`.
    pub(super) fn to(output: impl Write + Send + 'static) -> io::Result<(Self, Writer)> {
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        let (is_done, done) = mpsc::channel();
        let write = move || {
            of_thread.write_all_to(output);
            // Whoever waited for it may have given up.
            is_done.send(()).ok();
        };
        let thread = thread::Builder::new().name("log".to_owned()).spawn(write)?;
        let lines = Self { shared, writer: thread.thread().clone() };
        Ok((lines.clone(), Writer { lines, done }))
    }

    pub(super) fn dropped(&self) -> DroppedLines {
        DroppedLines(Arc::clone(&self.shared))
    }

    /// Has one whole line written behind those that wait.
    pub(super) fn put(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let place = self.shared.places.get_or_default();
        let mut lines = place.take().unwrap_or_else(|| Box::new(Vec::with_capacity(FIRST_ROOM)));
        let before = lines.len();
        write(&mut lines);
        if lines.len() > ROOM {
            lines.truncate(before);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
        place.store(Some(lines));
        // After that, or it might look too early. While it gathers or writes this sets a flag, and wakes nobody.
        self.writer.unpark();
    }
}

impl Shared {
    fn write_all_to(&self, mut output: impl Write) {
        loop {
            // Until there is a line, or the end, since it last returned.
            thread::park();
            if !self.ended.load(Ordering::Acquire) {
                #[expect(clippy::disallowed_methods, reason = "this thread does nothing else")]
                thread::sleep(GATHERED_FOR);
            }
            // Looked at before the places are: what was put there before the end is written.
            let ended = self.ended.load(Ordering::Acquire);
            for lines in self.places.iter().filter_map(AtomicCell::take) {
                // Nobody is left to be told: this is the log.
                output.write_all(&lines).ok();
            }
            output.flush().ok();
            if ended {
                return;
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.lines.shared.ended.store(true, Ordering::Release);
        self.lines.writer.unpark();
        self.done.recv_timeout(LAST_LINES).ok();
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
        self.put(|lines| lines.extend_from_slice(line));
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
        lines.put(|line| line.extend_from_slice(b"one\n"));
        assert!(written.recv_timeout(Duration::from_secs(10)).unwrap().starts_with(b"one\n"));
        for number in 0..100 {
            lines.put(|line| line.extend_from_slice(format!("{number}\n").as_bytes()));
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
    fn of_many_threads_every_line_is_written_once_and_whole_and_each_ones_in_order() {
        // There is room for each line by itself.
        let (sender, written) = mpsc::sync_channel(80_000);
        let (lines, writer) = Lines::to(Pipe(sender)).unwrap();
        let threads = ["a", "b", "c", "d"].map(|name| {
            let lines = lines.clone();
            thread::spawn(move || {
                for number in 0..20_000 {
                    lines.put(|line| writeln!(line, "{name} {number}").unwrap());
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        drop(writer);
        let all = String::from_utf8(written.try_iter().flatten().collect()).unwrap();
        for name in ["a", "b", "c", "d"] {
            let numbers = all.lines().filter_map(|line| line.strip_prefix(name)?.trim().parse::<u32>().ok());
            assert!(numbers.eq(0..20_000), "{name}");
        }
        assert_eq!((all.lines().count(), lines.dropped().count()), (80_000, 0));
    }

    #[test]
    fn the_last_lines_are_written_at_the_end() {
        let (sender, written) = mpsc::sync_channel(9);
        let (lines, writer) = Lines::to(Pipe(sender)).unwrap();
        lines.put(|line| line.extend_from_slice(b"last\n"));
        drop(writer);
        assert_eq!(written.try_iter().flatten().collect::<Vec<_>>(), b"last\n");
    }

    #[test]
    fn an_output_that_takes_nothing_costs_lines_and_neither_waiting_nor_memory() {
        let (sender, written) = mpsc::sync_channel(0);
        let (lines, writer) = Lines::to(Pipe(sender)).unwrap();
        let line = vec![b'x'; 1 << 20];
        for _ in 0..100 {
            lines.put(|waiting| waiting.extend_from_slice(&line));
        }
        // What one write holds is not waiting any more.
        assert!((88..=96).contains(&lines.dropped().count()), "{}", lines.dropped().count());
        let began = Instant::now();
        drop(writer);
        assert!(began.elapsed() < 5 * LAST_LINES, "the end does not wait for ever");
        drop(written);
    }
}
