//! A wire between a replica and the server that can be cut without either end being told: a network partition.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

/// Forwards bytes both ways for as long as it is whole.
pub struct Relay {
    pub port: u16,
    cut: Arc<AtomicBool>,
    deaf: Arc<AtomicBool>,
}

impl Relay {
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap().port();
        let cut = Arc::new(AtomicBool::new(false));
        let deaf = Arc::new(AtomicBool::new(false));
        let (is_cut, is_deaf) = (Arc::clone(&cut), Arc::clone(&deaf));
        thread::spawn(move || {
            for from in listener.incoming().flatten() {
                let Ok(to) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let ways =
                    [(from.try_clone().unwrap(), to.try_clone().unwrap(), &is_cut), (to, from, &is_deaf)];
                for (mut read, mut write, is_lost) in ways {
                    let is_lost = Arc::clone(is_lost);
                    thread::spawn(move || forward(&mut read, &mut write, &is_lost));
                }
            }
        });
        Self { port: here, cut, deaf }
    }

    /// From now on nothing comes through, and nothing is said about it. What was sent meanwhile is lost.
    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
        self.deaf(cut);
    }

    /// From now on the server hears and does what it is told, and no answer comes back.
    pub fn deaf(&self, deaf: bool) {
        self.deaf.store(deaf, Ordering::SeqCst);
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }
}

fn forward(read: &mut TcpStream, write: &mut TcpStream, is_lost: &AtomicBool) {
    read.set_nodelay(true).ok();
    write.set_nodelay(true).ok();
    let (mut bytes, mut lost) = ([0; 16_384], false);
    while let Ok(count @ 1..) = read.read(&mut bytes) {
        // A stream with a hole in it is of no use any more, as after a real cut that lasted.
        lost |= is_lost.load(Ordering::SeqCst);
        if !lost && write.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    if !lost {
        write.shutdown(Shutdown::Both).ok();
    }
}
