//! Passes the lines of the log to the thread that writes them, so that no request waits for a slow output.
//!
//! Each thread that logs appends to a buffer of its own, without a lock. The writer thread is woken, waits for 10 ms
//! while lines gather, and then takes the contents of all buffers. Waking the writer for each line, and writing each
//! line separately, would cost a busy worker as much as formatting the line. `tracing-appender` has this cost: it wakes
//! its thread for each line and writes each line separately.
//!
//! A line is dropped and counted if its buffer is full, its formatting panics, or the output rejects it (a full disk).
//! Lines of one thread stay in order. If lines of two threads are written together, either thread's may come first.

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

/// How long lines gather before they are written. If the process is killed, lines that have not been written are lost.
const GATHER_TIME: Duration = Duration::from_millis(10);
/// The maximum size of a buffer, about 15,000 lines. It bounds the memory of each thread while the output is stuck.
const MAX_BUFFER_BYTES: usize = 4 << 20;
/// The initial size of a buffer. The buffer of a busy thread grows to several hundred kilobytes.
const INITIAL_BUFFER_BYTES: usize = 4 << 10;
/// The maximum time for writing the last lines at the end of the process.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Takes lines from any thread. It is cheap to clone.
#[derive(Clone)]
pub(super) struct NonBlockingWriter {
    shared: Arc<SharedBuffers>,
    thread: Thread,
}

#[derive(Default)]
struct SharedBuffers {
    buffers: ThreadLocal<ThreadBuffer>,
    is_ending: AtomicBool,
    dropped: AtomicU64,
}

/// The lines of one thread; `None` if there are none, or while the thread itself or the writer thread holds the buffer.
type ThreadBuffer = AtomicCell<Option<Buffer>>;

/// A boxed buffer, because only a pointer can be swapped without a lock.
type Buffer = Box<Vec<u8>>;

/// The number of lines that were dropped, for example because the output was too slow or rejected them.
#[derive(Clone)]
pub struct DroppedLines(Arc<SharedBuffers>);

impl DroppedLines {
    pub(crate) fn count(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

/// Writes the last lines when it is dropped. Keep it until the end of `main`.
#[must_use = "the last lines are lost if this is dropped early"]
pub struct Logs {
    writer: NonBlockingWriter,
    done: mpsc::Receiver<()>,
}

impl Logs {
    /// Returns the counter of dropped lines.
    pub fn dropped(&self) -> DroppedLines {
        self.writer.dropped()
    }
}

impl NonBlockingWriter {
    /// Starts the thread that writes to `output`.
    pub(super) fn start(output: impl Write + Send + 'static) -> io::Result<(Self, Logs)> {
        let shared = Arc::<SharedBuffers>::default();
        let (is_done, done) = mpsc::channel();
        let state = Arc::clone(&shared);
        let run = move || {
            state.write_all_to(output);
            // `Logs` may have stopped waiting.
            is_done.send(()).ok();
        };
        let thread = thread::Builder::new().name("log".to_owned()).spawn(run)?.thread().clone();
        let writer = Self { shared, thread };
        Ok((writer.clone(), Logs { writer, done }))
    }

    fn dropped(&self) -> DroppedLines {
        DroppedLines(Arc::clone(&self.shared))
    }

    /// Appends one complete line. `write` adds it to this thread's buffer.
    pub(super) fn append(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut line = LineGuard::begin(&self.shared);
        if let Some(buffer) = &mut line.buffer {
            write(buffer);
            line.is_whole = true;
        }
        drop(line);
        // The line is already in its place, so the woken thread finds it. `unpark` only flags an awake thread.
        self.thread.unpark();
    }
}

/// A line that is being added. Dropping it returns the buffer to its place, even if formatting the line panics.
struct LineGuard<'a> {
    shared: &'a SharedBuffers,
    place: &'a ThreadBuffer,
    /// The thread's buffer while the line is added; `None` only during the drop.
    buffer: Option<Buffer>,
    length_before: usize,
    is_whole: bool,
}

impl<'a> LineGuard<'a> {
    fn begin(shared: &'a SharedBuffers) -> Self {
        let place = shared.buffers.get_or_default();
        let buffer = place.take().unwrap_or_else(|| Box::new(Vec::with_capacity(INITIAL_BUFFER_BYTES)));
        Self { shared, place, length_before: buffer.len(), buffer: Some(buffer), is_whole: false }
    }
}

impl Drop for LineGuard<'_> {
    fn drop(&mut self) {
        let Some(mut buffer) = self.buffer.take() else { return };
        if !self.is_whole || buffer.len() > MAX_BUFFER_BYTES {
            buffer.truncate(self.length_before);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
        // If the formatting of a value logged a line, the place has a second buffer now. Append its lines.
        if let Some(inner) = self.place.swap(Some(buffer)) {
            let mut buffer = self.place.take().unwrap_or_default();
            buffer.extend_from_slice(&inner);
            self.place.store(Some(buffer));
        }
    }
}

impl SharedBuffers {
    fn write_all_to(&self, output: impl Write) {
        let mut output = LineOutput { output, is_at_line_start: true };
        // If the output panics, only the batch that is being written is lost.
        while panic::catch_unwind(AssertUnwindSafe(|| self.write_until_end(&mut output))).is_err() {}
    }

    fn write_until_end(&self, output: &mut LineOutput<impl Write>) {
        loop {
            // `park` returns if a line was added since the last call, or if the process is ending. The thread then
            // sleeps while more lines gather, except at the end.
            if !self.is_ending.load(Ordering::Acquire) {
                thread::park();
            }
            if !self.is_ending.load(Ordering::Acquire) {
                sleep();
            }
            // Read before the buffers are taken, so that every line from before the end is written.
            let is_ending = self.is_ending.load(Ordering::Acquire);
            for lines in self.buffers.iter().filter_map(AtomicCell::take) {
                output.write(&mut Batch { lines: &lines, dropped: &self.dropped });
            }
            if is_ending {
                return;
            }
        }
    }
}

/// Lines that are being written. Dropping the batch counts the remaining lines as dropped.
struct Batch<'a> {
    lines: &'a [u8],
    dropped: &'a AtomicU64,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let lost = memchr::memchr_iter(b'\n', self.lines).count() as u64;
        self.dropped.fetch_add(lost, Ordering::Relaxed);
    }
}

struct LineOutput<W> {
    output: W,
    /// Whether the last line was written completely.
    is_at_line_start: bool,
}

impl<W: Write> LineOutput<W> {
    /// Writes until the batch is empty or the output fails.
    fn write(&mut self, batch: &mut Batch<'_>) {
        if !self.is_at_line_start && self.output.write(b"\n").is_ok_and(|written| written == 1) {
            self.is_at_line_start = true;
        }
        while !batch.lines.is_empty() {
            match self.output.write(batch.lines) {
                Ok(written) if written > 0 => {
                    let (done, left) = batch.lines.split_at(written.min(batch.lines.len()));
                    self.is_at_line_start = done.ends_with(b"\n");
                    batch.lines = left;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Another process that shares the pipe made it nonblocking. Sleep; new lines wait in the buffers.
                Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(),
                // An error of the log's output cannot be logged.
                Ok(_) | Err(_) => return,
            }
        }
    }
}

fn sleep() {
    #[expect(clippy::disallowed_methods, reason = "the thread that writes the log does nothing else")]
    thread::sleep(GATHER_TIME);
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.writer.shared.is_ending.store(true, Ordering::Release);
        self.writer.thread.unpark();
        self.done.recv_timeout(FLUSH_TIMEOUT).ok();
    }
}

impl<'a> MakeWriter<'a> for NonBlockingWriter {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// `tracing-subscriber` formats each event into a buffer, and writes the complete line with one call.
impl Write for &NonBlockingWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.append(|buffer| buffer.extend_from_slice(line));
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

    /// An output that blocks until the test reads from it.
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
    fn lines_that_come_during_a_write_are_written_together() {
        let (sender, written) = mpsc::sync_channel(0);
        let (writer, _guard) = NonBlockingWriter::start(Pipe(sender)).unwrap();
        writer.append(|line| line.extend_from_slice(b"one\n"));
        assert!(written.recv_timeout(Duration::from_secs(10)).unwrap().starts_with(b"one\n"));
        for number in 0..100 {
            writer.append(|line| line.extend_from_slice(format!("{number}\n").as_bytes()));
        }
        let (mut all, mut count) = (Vec::new(), 0);
        while !all.ends_with(b"99\n") {
            all.extend(written.recv_timeout(Duration::from_secs(10)).unwrap());
            count += 1;
        }
        assert_eq!(String::from_utf8(all).unwrap().lines().count(), 100);
        assert!(count < 100, "{count}");
    }

    #[test]
    fn every_line_of_every_thread_is_written_once_whole_and_in_order() {
        // Room for 80,000 writes: one for each line.
        let (sender, written) = mpsc::sync_channel(80_000);
        let (writer, guard) = NonBlockingWriter::start(Pipe(sender)).unwrap();
        let threads = ["a", "b", "c", "d"].map(|name| {
            let writer = writer.clone();
            thread::spawn(move || {
                for number in 0..20_000 {
                    writer.append(|line| writeln!(line, "{name} {number}").unwrap());
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        drop(guard);
        let all = String::from_utf8(written.try_iter().flatten().collect()).unwrap();
        for name in ["a", "b", "c", "d"] {
            let numbers = all.lines().filter_map(|line| line.strip_prefix(name)?.trim().parse::<u32>().ok());
            assert!(numbers.eq(0..20_000), "{name}");
        }
        assert_eq!((all.lines().count(), writer.dropped().count()), (80_000, 0));
    }

    #[test]
    fn dropping_the_guard_writes_the_last_lines() {
        let (sender, written) = mpsc::sync_channel(9);
        let (writer, guard) = NonBlockingWriter::start(Pipe(sender)).unwrap();
        writer.append(|line| line.extend_from_slice(b"last\n"));
        drop(guard);
        assert_eq!(written.try_iter().flatten().collect::<Vec<_>>(), b"last\n");
    }

    type OneWrite = fn(&[u8]) -> io::Result<usize>;

    /// An output whose writes return the results of the steps, one after another. After the last step, it accepts
    /// everything.
    struct ScriptedOutput {
        steps: Vec<OneWrite>,
        begun: mpsc::Sender<()>,
        written: mpsc::Sender<Vec<u8>>,
    }

    impl Write for ScriptedOutput {
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

    /// Logs three lines to an output with these steps; returns what it received and the number of lost lines.
    fn written_by(steps: Vec<OneWrite>) -> (String, u64) {
        let ((begun, begins), (sender, written)) = (mpsc::channel(), mpsc::channel());
        let (writer, guard) =
            NonBlockingWriter::start(ScriptedOutput { steps, begun, written: sender }).unwrap();
        writer.append(|line| line.extend_from_slice(b"one\ntwo\n"));
        // Wait for the first write, so that the third line is not part of it.
        begins.recv_timeout(Duration::from_secs(10)).unwrap();
        writer.append(|line| line.extend_from_slice(b"three\n"));
        drop(guard);
        (String::from_utf8(written.try_iter().flatten().collect()).unwrap(), writer.dropped().count())
    }

    #[test]
    fn rejected_lines_are_counted_and_later_lines_are_whole() {
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
    fn a_panic_while_making_a_line_loses_only_that_line() {
        let (sender, written) = mpsc::sync_channel(9);
        let (writer, guard) = NonBlockingWriter::start(Pipe(sender)).unwrap();
        writer.append(|line| line.extend_from_slice(b"one\n"));
        let broken = panic::catch_unwind(AssertUnwindSafe(|| {
            writer.append(|line| {
                line.extend_from_slice(b"half of");
                panic!("a value that cannot be shown");
            });
        }));
        assert!(broken.is_err());
        writer.append(|line| {
            writer.append(|inner| inner.extend_from_slice(b"in between\n"));
            line.extend_from_slice(b"two\n");
        });
        drop(guard);
        let all = String::from_utf8(written.try_iter().flatten().collect()).unwrap();
        assert_eq!((all.as_str(), writer.dropped().count()), ("one\ntwo\nin between\n", 1));
    }

    #[test]
    fn a_stuck_output_loses_lines_but_blocks_nobody() {
        let (sender, written) = mpsc::sync_channel(0);
        let (writer, guard) = NonBlockingWriter::start(Pipe(sender)).unwrap();
        let line = vec![b'x'; 1 << 20];
        for _ in 0..100 {
            writer.append(|waiting| waiting.extend_from_slice(&line));
        }
        // The buffer holds about 4 of the lines, and the batch whose write is blocked can hold another 4.
        assert!((88..=96).contains(&writer.dropped().count()), "{}", writer.dropped().count());
        let began = Instant::now();
        drop(guard);
        assert!(began.elapsed() < 5 * FLUSH_TIMEOUT, "the end waits, but not forever");
        drop(written);
    }
}
