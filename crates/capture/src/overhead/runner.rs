//! One run: a command, perhaps a reader beside it, and what both used.
//!
//! What is measured begins when the command does and ends when it ends: rings are open and recording before, and are taken
//! down after. The reader is a thread of its own, as a recorder beside the workload would be a process of its own; its file
//! is removed after the run, so that no run waits for what another wrote.

use std::ffi::OsString;
use std::fs;
use std::ops::Add;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use havana_trace::perf_data::CpuCost;
use rustix::event::{EventfdFlags, eventfd};
use rustix::time::{ClockId, clock_gettime};

use super::tracepoints::{Recording, Tracepoints};
use super::ways::Way;
use crate::output::{OutputOptions, Target};
use crate::recorder::{Options, Recorder};
use crate::ring::Size;
use crate::workload::{Used, Workload, command};
use crate::{CaptureError, Host, Mode, Signals};

/// What was not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lost {
    /// Times that a cpu's trace stopped, its ring being full.
    pub stops: u64,
    /// Records that had no room.
    pub records: u64,
    /// Bytes of trace that could not be written.
    pub bytes: u64,
}

/// What one run gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run {
    /// From the command's begin to its end.
    pub wall_seconds: f64,
    /// The command's own, user and system.
    pub cpu_seconds: f64,
    /// In the reader's file.
    pub bytes: u64,
    /// The reader's CPU time.
    pub reader_seconds: f64,
    /// What it lost.
    pub lost: Lost,
    /// How the command ended.
    pub status: ExitStatus,
}

/// Runs a command in any of the ways.
pub struct Runner {
    /// The host.
    pub host: Host,
    /// The command.
    pub command: Vec<OsString>,
    /// What it prints is shown.
    pub shown: bool,
    /// Which cpus are recorded; none: all.
    pub cpus: Vec<u32>,
    /// Bytes of a cpu's ring of trace, or of tracepoints; none: as a recording has them.
    pub ring_bytes: Option<usize>,
    /// Bytes of a cpu's ring of the kernel's records.
    pub record_bytes: usize,
    /// What is recorded in [`Way::Tracepoints`].
    pub tracepoints: Option<Tracepoints>,
    /// Where the reader's file is while it runs.
    pub dir: PathBuf,
    /// What ends it all.
    pub signals: Signals,
}

/// Who reads rings.
enum Reader {
    Trace(Box<Recorder>),
    Tracepoints(Recording),
}

/// What a reader gave.
struct Read {
    seconds: f64,
    lost: Lost,
}

impl Runner {
    /// One run.
    ///
    /// # Errors
    /// That it cannot be recorded so, that there is no such command, or that a signal ended it.
    pub fn run(&mut self, way: Way) -> Result<Run, CaptureError> {
        let file = Discarded(self.dir.join("overhead.data"));
        let reader = self.reader(way, &file.0)?;
        let (used, read) = match reader {
            None => (self.workload()?, Read { seconds: 0.0, lost: Lost::default() }),
            Some(reader) => self.beside(reader)?,
        };
        Ok(Run {
            wall_seconds: used.wall.as_secs_f64(),
            cpu_seconds: used.cpu.as_secs_f64(),
            bytes: fs::metadata(&file.0).map_or(0, |file| file.len()),
            reader_seconds: read.seconds,
            lost: read.lost,
            status: used.status,
        })
    }

    /// One that records already. `None` where nothing is to be.
    fn reader(&self, way: Way, file: &Path) -> Result<Option<Reader>, CaptureError> {
        if let Some((mode, precision)) = way.trace() {
            let options = Options {
                mode,
                precision,
                cpus: self.cpus.clone(),
                rings: Size { data: self.record_bytes, aux: self.ring_bytes.unwrap_or(mode.ring_bytes()) },
                output: OutputOptions::to(Target::File(file.into())),
                max_duration: None,
                flush: FLUSH,
                on: Vec::new(),
                command: Vec::new(),
                version: env!("CARGO_PKG_VERSION").into(),
            };
            let mut recorder = Recorder::new(self.host.clone(), options)?;
            recorder.start()?;
            return Ok(Some(Reader::Trace(Box::new(recorder))));
        }
        let tracepoints = self.tracepoints.as_ref().filter(|_| way == Way::Tracepoints);
        let recording = tracepoints.map(|tracepoints| {
            let cpus = if self.cpus.is_empty() { self.host.online() } else { self.cpus.clone() };
            let bytes = self.ring_bytes.unwrap_or(Mode::Envelope.ring_bytes());
            Recording::start(tracepoints, &cpus, bytes, file)
        });
        Ok(recording.transpose()?.map(Reader::Tracepoints))
    }

    fn workload(&mut self) -> Result<Used, CaptureError> {
        let no_command = || CaptureError::CannotDo { what: "no command to run: say it after --".into() };
        let mut command = command(&self.command).ok_or_else(no_command)?;
        // Each run is given the same: nothing.
        command.stdin(Stdio::null());
        if !self.shown {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        Workload::start(&mut command)?.wait(&mut self.signals)
    }

    fn beside(&mut self, reader: Reader) -> Result<(Used, Read), CaptureError> {
        let end = End::new()?;
        let (used, read) = thread::scope(|scope| {
            let reader = scope.spawn(|| reader.read(end.0.as_fd()));
            let used = self.workload();
            end.comes();
            (used, reader.join())
        });
        let read = read.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((used?, read?))
    }
}

/// As `havana record` without `--flush`.
const FLUSH: Duration = Duration::from_secs(2);

impl Reader {
    /// Reads until `end` becomes readable, and the rest.
    fn read(mut self, end: BorrowedFd<'_>) -> Result<Read, CaptureError> {
        let before = cpu_seconds();
        // It is dropped behind the last look at the clock.
        let cpus = match &mut self {
            Reader::Trace(recorder) => {
                let summary = recorder.run(Signals::none(), Some(end), &mut |_| {})?;
                if let Some(what) = summary.failed {
                    return Err(CaptureError::CannotDo { what });
                }
                summary.cost.cpus
            }
            Reader::Tracepoints(recording) => recording.run(end)?,
        };
        let seconds = cpu_seconds() - before;
        Ok(Read { seconds, lost: cpus.iter().fold(Lost::default(), |sum, cpu| sum + Lost::of(cpu)) })
    }
}

/// Of this thread.
fn cpu_seconds() -> f64 {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

/// Tells a reader that it is over.
struct End(OwnedFd);

impl End {
    fn new() -> Result<End, CaptureError> {
        eventfd(0, EventfdFlags::CLOEXEC).map(End).map_err(CaptureError::system("eventfd"))
    }

    fn comes(&self) {
        // It counts to 2^64: a one has room.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

/// A file that is gone when its run is.
struct Discarded(PathBuf);

impl Drop for Discarded {
    fn drop(&mut self) {
        // Nothing recorded, nothing there.
        let _ = fs::remove_file(&self.0);
    }
}

impl Lost {
    fn of(cpu: &CpuCost) -> Lost {
        Lost { stops: cpu.stops, records: cpu.lost_records, bytes: cpu.unwritten_bytes }
    }
}

impl Add for Lost {
    type Output = Lost;

    fn add(self, other: Lost) -> Lost {
        Lost { stops: self.stops + other.stops, records: self.records + other.records, bytes: self.bytes + other.bytes }
    }
}
