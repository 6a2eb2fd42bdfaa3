//! A relay between a replica and the server that can be cut without either end noticing, like a network partition.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use crate::wait::pause;

/// Forwards bytes in both directions.
pub struct Relay {
    pub port: u16,
    cut: Arc<AtomicBool>,
    deaf: Arc<AtomicBool>,
    late_ms: Arc<AtomicU64>,
}

impl Relay {
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap().port();
        let cut = Arc::new(AtomicBool::new(false));
        let deaf = Arc::new(AtomicBool::new(false));
        let (is_cut, is_deaf) = (Arc::clone(&cut), Arc::clone(&deaf));
        let late_ms = Arc::new(AtomicU64::new(0));
        let late = Arc::clone(&late_ms);
        thread::spawn(move || {
            for from in listener.incoming().flatten() {
                let Ok(to) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let ways =
                    [(from.try_clone().unwrap(), to.try_clone().unwrap(), &is_cut), (to, from, &is_deaf)];
                for (mut read, mut write, is_lost) in ways {
                    let (is_lost, late) = (Arc::clone(is_lost), Arc::clone(&late));
                    thread::spawn(move || forward(&mut read, &mut write, &is_lost, &late));
                }
            }
        });
        Self { port: here, cut, deaf, late_ms }
    }

    /// While `true`, drops all bytes without closing a connection. A connection that lost bytes never works again.
    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
        self.deaf(cut);
    }

    /// While `true`, drops only the server's replies: it still receives and executes commands.
    pub fn deaf(&self, deaf: bool) {
        self.deaf.store(deaf, Ordering::SeqCst);
    }

    /// From now on, delays every byte by this time in each direction. A round trip thus takes twice this time longer.
    pub fn late(&self, by: Duration) {
        self.late_ms.store(u64::try_from(by.as_millis()).unwrap(), Ordering::SeqCst);
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }
}

fn forward(read: &mut TcpStream, write: &mut TcpStream, is_lost: &AtomicBool, late_ms: &AtomicU64) {
    read.set_nodelay(true).ok();
    write.set_nodelay(true).ok();
    let (send, receive) = mpsc::channel::<(Instant, Vec<u8>)>();
    let mut late = write.try_clone().unwrap();
    let writer = thread::spawn(move || {
        for (due, bytes) in receive {
            pause(due.saturating_duration_since(Instant::now()));
            if late.write_all(&bytes).is_err() {
                break;
            }
        }
    });
    let (mut bytes, mut lost) = ([0; 16_384], false);
    while let Ok(count @ 1..) = read.read(&mut bytes) {
        // After a gap the stream is unusable, so this direction drops everything from now on, as after a long real
        // partition.
        lost |= is_lost.load(Ordering::SeqCst);
        let due = Instant::now() + Duration::from_millis(late_ms.load(Ordering::SeqCst));
        if !lost && send.send((due, bytes[..count].to_vec())).is_err() {
            break;
        }
    }
    drop(send);
    writer.join().ok();
    if !lost {
        write.shutdown(Shutdown::Both).ok();
    }
}
