//! Where lines of the log wait for the thread that writes them: no request waits for a pipe.
//!
//! Each thread that logs has a place of its own, and no lock is on the way there. The thread that writes is told, lets lines
//! gather for a moment, and takes what has come to all places. To wake it up for each line, and to write each by itself,
//! costs a busy worker as much as to make the line.
//!
//! No library does this: `tracing-appender` wakes its thread for each line and writes each by itself.
//!
//! A line that finds no room is lost, and so is one that the output refuses: a full disk, a pipe that nobody reads any more.
//! Every lost line is counted, whatever the reason.
//!
//! Of one thread the lines are in order; of two that log within the same moment either may be first.

use std::{
    io::{self, ErrorKind, Write},
    panic::{self, AssertUnwindSafe},
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
type Place = AtomicCell<Option<Waiting>>;

/// Lines that wait in a place: boxed, as that is swapped without a lock.
type Waiting = Box<Vec<u8>>;

/// Counts lines that were lost: the output was too slow, or could not be written to.
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
        let mut line = Line::begin(&self.shared);
        if let Some(lines) = &mut line.lines {
            write(lines);
            line.is_whole = true;
        }
        drop(line);
        // After that, or it might look too early. While it gathers or writes this sets a flag, and wakes nobody.
        self.writer.unpark();
    }
}

/// A line that is being added to its thread's lines, which are back in their place when this is dropped: also by a panic of
/// what makes the line.
struct Line<'a> {
    shared: &'a Shared,
    place: &'a Place,
    /// Until they are back in their place.
    lines: Option<Waiting>,
    /// The length without this line.
    before: usize,
    is_whole: bool,
}

impl<'a> Line<'a> {
    fn begin(shared: &'a Shared) -> Self {
        let place = shared.places.get_or_default();
        let lines = place.take().unwrap_or_else(|| Box::new(Vec::with_capacity(FIRST_ROOM)));
        Self { shared, place, before: lines.len(), lines: Some(lines), is_whole: false }
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let Some(mut lines) = self.lines.take() else { return };
        if !self.is_whole || lines.len() > ROOM {
            lines.truncate(self.before);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
        // A value that logs while it is written into a line has made lines of its own meanwhile.
        if let Some(inner) = self.place.swap(Some(lines)) {
            let mut lines = self.place.take().unwrap_or_default();
            lines.extend_from_slice(&inner);
            self.place.store(Some(lines));
        }
    }
}

impl Shared {
    /// Returns when all has ended. A panic of the output costs the lines in hand, and no later ones.
    fn write_all_to(&self, output: impl Write) {
        let mut output = Output { output, is_at_line_start: true };
        while panic::catch_unwind(AssertUnwindSafe(|| self.write_until_end(&mut output))).is_err() {}
    }

    fn write_until_end(&self, output: &mut Output<impl Write>) {
        loop {
            // Until there is a line, or the end, since it last returned.
            if !self.ended.load(Ordering::Acquire) {
                thread::park();
            }
            if !self.ended.load(Ordering::Acquire) {
                wait_a_moment();
            }
            // Looked at before the places are: what was put there before the end is written.
            let ended = self.ended.load(Ordering::Acquire);
            for lines in self.places.iter().filter_map(AtomicCell::take) {
                output.write(&mut InHand { lines: &lines, dropped: &self.dropped });
            }
            if ended {
                return;
            }
        }
    }
}

/// Lines that are being written. Those that are left when this is dropped are lost.
struct InHand<'a> {
    lines: &'a [u8],
    dropped: &'a AtomicU64,
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        let lost = memchr::memchr_iter(b'\n', self.lines).count() as u64;
        self.dropped.fetch_add(lost, Ordering::Relaxed);
    }
}

struct Output<W> {
    output: W,
    /// Not after a part of a line, the rest of which was lost.
    is_at_line_start: bool,
}

impl<W: Write> Output<W> {
    /// Writes what can be written.
    fn write(&mut self, lines: &mut InHand<'_>) {
        if !self.is_at_line_start && self.output.write(b"\n").is_ok_and(|written| written == 1) {
            self.is_at_line_start = true;
        }
        while !lines.lines.is_empty() {
            match self.output.write(lines.lines) {
                Ok(written) if written > 0 => {
                    let (done, left) = lines.lines.split_at(written.min(lines.lines.len()));
                    self.is_at_line_start = done.ends_with(b"\n");
                    lines.lines = left;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Somebody else who has the same pipe made it one that does not wait. Lines find no room meanwhile.
                Err(error) if error.kind() == ErrorKind::WouldBlock => wait_a_moment(),
                // Nobody is left to be told: this is the log.
                Ok(_) | Err(_) => return,
            }
        }
    }
}

fn wait_a_moment() {
    #[expect(clippy::disallowed_methods, reason = "the thread that writes the log does nothing else")]
    thread::sleep(GATHERED_FOR);
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

    type OneWrite = fn(&[u8]) -> io::Result<usize>;

    /// An output that does one after the other with what it is given, and then takes everything.
    struct Doing {
        steps: Vec<OneWrite>,
        begun: mpsc::Sender<()>,
        written: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Doing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.begun.send(()).map_err(io::Error::other)?;
            let count = if self.steps.is_empty() { bytes.len() } else { self.steps.remove(0)(bytes)? };
            self.written.send(bytes.get(..count).unwrap().to_vec()).map_err(io::Error::other)?;
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What comes out of three lines, and how many of them are counted as lost.
    fn written_by(steps: Vec<OneWrite>) -> (String, u64) {
        let ((begun, begins), (sender, written)) = (mpsc::channel(), mpsc::channel());
        let (lines, writer) = Lines::to(Doing { steps, begun, written: sender }).unwrap();
        lines.put(|line| line.extend_from_slice(b"one\ntwo\n"));
        // The third one is not written together with them.
        begins.recv_timeout(Duration::from_secs(10)).unwrap();
        lines.put(|line| line.extend_from_slice(b"three\n"));
        drop(writer);
        (String::from_utf8(written.try_iter().flatten().collect()).unwrap(), lines.dropped().count())
    }

    #[test]
    fn lines_that_the_output_refuses_are_counted_and_later_ones_are_whole() {
        let full = |_: &[u8]| Err(ErrorKind::StorageFull.into());
        assert_eq!(written_by(vec![full]), ("three\n".to_owned(), 2));
        assert_eq!(written_by(vec![full, full]), (String::new(), 3));
        assert_eq!(written_by(vec![|_| Ok(0)]), ("three\n".to_owned(), 2));
        assert_eq!(written_by(vec![|_| Ok(5), full]), ("one\nt\nthree\n".to_owned(), 1));
        assert_eq!(written_by(vec![|_| panic!("a broken output")]), ("three\n".to_owned(), 2));
        let later: Vec<OneWrite> =
            vec![|_| Err(ErrorKind::WouldBlock.into()), |_| Err(ErrorKind::Interrupted.into()), |_| Ok(1)];
        assert_eq!(written_by(later), ("one\ntwo\nthree\n".to_owned(), 0));
    }

    #[test]
    fn a_panic_in_the_making_of_a_line_costs_that_line_alone() {
        let (sender, written) = mpsc::sync_channel(9);
        let (lines, writer) = Lines::to(Pipe(sender)).unwrap();
        lines.put(|line| line.extend_from_slice(b"one\n"));
        let broken = panic::catch_unwind(AssertUnwindSafe(|| {
            lines.put(|line| {
                line.extend_from_slice(b"half of");
                panic!("a value that cannot be shown");
            });
        }));
        assert!(broken.is_err());
        lines.put(|line| {
            lines.put(|inner| inner.extend_from_slice(b"in between\n"));
            line.extend_from_slice(b"two\n");
        });
        drop(writer);
        let all = String::from_utf8(written.try_iter().flatten().collect()).unwrap();
        assert_eq!((all.as_str(), lines.dropped().count()), ("one\ntwo\nin between\n", 1));
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
