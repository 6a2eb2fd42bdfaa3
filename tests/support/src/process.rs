//! Programs whose start or exit a test examines.

use std::{
    io::Read,
    process::{Child, Command, ExitStatus},
    thread,
};

use crate::wait::wait_for;

/// A process that is killed when dropped.
pub struct Process(pub Child);

/// How a process exited, and everything that it printed.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().expect("the process starts"))
    }

    pub fn wait(&mut self) -> ExitStatus {
        wait_for(|| self.0.try_wait().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Runs a command with piped output until it exits.
pub fn run_to_end(command: &mut Command) -> Ended {
    let mut process = Process::start(command);
    let (stdout, stderr) = (process.0.stdout.take().unwrap(), process.0.stderr.take().unwrap());
    let read = |mut from: Box<dyn Read + Send>| {
        thread::spawn(move || {
            let mut text = String::new();
            from.read_to_string(&mut text).unwrap();
            text
        })
    };
    let (stdout, stderr) = (read(Box::new(stdout)), read(Box::new(stderr)));
    let code = process.wait().code();
    Ended { code, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}
