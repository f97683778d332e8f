//! Signals, as something to read: SIGINT, SIGTERM and SIGHUP end a recording, SIGUSR2 wants a snapshot.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};
use signal_hook::low_level::pipe;

/// What somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// An end, and which signal says so.
    End(&'static str),
    /// A snapshot.
    Snapshot,
}

/// A pipe a signal.
#[derive(Debug)]
pub struct Signals(Vec<(Signal, UnixStream)>);

impl Signals {
    /// None is waited for.
    pub fn none() -> Signals {
        Signals(Vec::new())
    }

    /// From now on signals end nothing by themselves.
    ///
    /// # Errors
    /// The system's own.
    pub fn new() -> io::Result<Signals> {
        let all = [
            (SIGINT, Signal::End("SIGINT")),
            (SIGTERM, Signal::End("SIGTERM")),
            (SIGHUP, Signal::End("SIGHUP")),
            (SIGUSR2, Signal::Snapshot),
        ];
        let pipes = all.into_iter().map(|(number, signal)| {
            let (ours, theirs) = UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            pipe::register(number, theirs)?;
            Ok((signal, ours))
        });
        pipes.collect::<io::Result<_>>().map(Signals)
    }

    /// What becomes readable when one comes.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|(_, fd)| fd.as_fd())
    }

    /// Those that came since.
    pub fn take(&mut self) -> Vec<Signal> {
        let mut came = Vec::new();
        for (signal, fd) in &mut self.0 {
            if matches!(fd.read(&mut [0; 64]), Ok(n) if n > 0) {
                came.push(*signal);
            }
        }
        came
    }

    /// Whether one of those that came since wants an end.
    pub fn end(&mut self) -> bool {
        self.take().iter().any(|signal| matches!(signal, Signal::End(_)))
    }
}
