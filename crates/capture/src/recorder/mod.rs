//! A recording: what the rings give, into files, until somebody wants it to end.
//!
//! One thread, which sleeps until a ring is a quarter full or a moment has come: rings are told to say what they have
//! (so that a recorder that is killed has written what is older), VMs and cpus are looked for again, a file is full.
//! All memory is rings, and of each cpu the last bytes of its trace.

mod cost;
mod moments;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use havana_trace::perf_data::{About, CostNote, CpuCost, RecorderNote, VmNote};

use crate::before::{Inventory, kernel, modules, threads};
use crate::host::{Pmu, tsc};
use crate::machine;
use crate::output::{Files, OutputOptions};
use crate::ring::Size;
use crate::session::{Events, Session, Taker};
use crate::settings::{Mode, Precision, Settings};
use crate::signals::{Signal, Signals};
use crate::watch::Watched;
use crate::{CaptureError, Condition, Host};
pub use cost::Counted;
use moments::Every;

/// What to record, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// What.
    pub mode: Mode,
    /// How well times are known.
    pub precision: Precision,
    /// Which cpus; none: all.
    pub cpus: Vec<u32>,
    /// Bytes of a cpu's ring of trace; of its records. Powers of two.
    pub rings: Size,
    /// Where to.
    pub output: OutputOptions,
    /// Ends after so long.
    pub max_duration: Option<Duration>,
    /// Rings are told to say what they have each time that so long has passed.
    pub flush: Duration,
    /// When a snapshot is written.
    pub on: Vec<Condition>,
    /// What was said on the command line.
    pub command: Vec<String>,
    /// Version of the program.
    pub version: String,
}

/// Something worth telling while it goes on.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Tell {
    /// It is not as it might be: a sentence.
    Warning(String),
    /// A file is whole.
    File(PathBuf),
    /// A snapshot was written, and why.
    Snapshot(String),
    /// What was counted up to now: each time that it looks at its host, and at the end.
    Counted(Counted),
}

/// How it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Why it ended.
    pub why: String,
    /// What it cost.
    pub cost: CostNote,
    /// How many files there are, and the last one's name.
    pub files: u64,
    /// The last one's name.
    pub last: Option<PathBuf>,
    /// What could not be written, and why: the recording ended by it.
    pub failed: Option<String>,
}

/// VMs and cpus are looked for, conditions looked at, each time that so long has passed.
const LOOK: Duration = Duration::from_secs(2);
/// Its own cost is said in the file each time that so long has passed.
const COST: Duration = Duration::from_secs(30);
/// Tokens of what is watched beside rings.
const SIGNAL: u64 = 0;
const WORKLOAD: u64 = 1;

/// A recorder.
pub struct Recorder {
    host: Host,
    options: Options,
    settings: Settings,
    pmu: Pmu,
    session: Session,
    files: Files,
    inventory: Inventory,
    about: About,
    warnings: Vec<String>,
    began: Instant,
    flush: Every,
    look: Every,
    say: Every,
    snapshots: u64,
    wakeups: u64,
    /// Of cpus that went offline.
    gone: Vec<CpuCost>,
    /// Cpus that came online and cannot be recorded: that is said once.
    passed_over: Vec<u32>,
    /// Where the kernel's code is, as a record.
    kernel: Vec<u8>,
}

impl Recorder {
    /// Looks whether the host can be recorded so, and gets all that is needed for it. Nothing is recorded yet.
    ///
    /// # Errors
    /// That it cannot, in a sentence that says what to do.
    pub fn new(host: Host, options: Options) -> Result<Recorder, CaptureError> {
        let pmu = host.pmu()?;
        let settings = Settings::new(&pmu, &host.processor(), options.mode, options.precision)?;
        let files = Files::new(options.output.clone());
        files.try_place()?;
        let cpus = host.chosen(&options.cpus)?;
        let events = Events::new(&pmu, &settings, options.mode, options.rings);
        let session = Session::open(events, &cpus)?;
        let warnings = settings.warnings(&host);
        let about = machine::about(&host, &options.command);
        let flush = Every::new(options.flush);
        let kernel = kernel(&host);
        let mut recorder = Recorder {
            host,
            options,
            settings,
            pmu,
            session,
            files,
            inventory: Inventory::default(),
            about,
            warnings,
            began: Instant::now(),
            flush,
            look: Every::new(LOOK),
            say: Every::new(COST),
            snapshots: 0,
            wakeups: 0,
            gone: Vec::new(),
            passed_over: Vec::new(),
            kernel,
        };
        recorder.inventory.refresh(&recorder.host);
        Ok(recorder)
    }

    /// What the recording will lack: sentences.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What is recorded, in perf's words.
    pub fn event(&self) -> &str {
        &self.settings.event
    }

    /// The cpus.
    pub fn cpus(&self) -> Vec<u32> {
        self.session.cpus.iter().map(|c| c.cpu).collect()
    }

    /// The VMs that were found.
    pub fn vms(&self) -> &[VmNote] {
        self.inventory.all()
    }

    /// Begins.
    ///
    /// # Errors
    /// That the file cannot be written, or what the kernel says.
    pub fn start(&mut self) -> Result<(), CaptureError> {
        self.began = Instant::now();
        self.begin_file(None)?;
        self.session.enable()
    }

    /// Goes on until a signal, the end of `workload` (something that becomes readable then), the time or the room that
    /// was given is up.
    ///
    /// # Errors
    /// The system's own. That the output cannot be written any more is no error: the summary says so, and all that was
    /// written before is whole.
    pub fn run(
        &mut self,
        mut signals: Signals,
        workload: Option<BorrowedFd<'_>>,
        tell: &mut dyn FnMut(Tell),
    ) -> Result<Summary, CaptureError> {
        for fd in signals.fds() {
            self.session.watch(fd, SIGNAL)?;
        }
        if let Some(fd) = workload {
            self.session.watch(fd, WORKLOAD)?;
        }
        let on = std::mem::take(&mut self.options.on);
        let mut on: Vec<Watched> = on.into_iter().map(|c| Watched::new(c, &self.host, &self.inventory)).collect();
        let mut failed = None;
        let why = loop {
            match self.turn(&mut signals, &mut on, tell) {
                Ok(Some(why)) => break why,
                Ok(None) => {}
                Err(Failure::Output(error)) => {
                    // Whoever reads a pipe has seen enough.
                    if error.kind() == io::ErrorKind::BrokenPipe {
                        break "the reader is gone".into();
                    }
                    let path = self.files.path().map_or_else(PathBuf::new, Into::into);
                    let error = CaptureError::Output { path, error };
                    failed = Some(error.to_string());
                    break "the output cannot be written".into();
                }
                Err(Failure::Other(error)) => {
                    self.session.disable();
                    return Err(error);
                }
            }
        };
        self.end(why, failed, tell)
    }

    /// Sleeps until there is work, and does it. Why it ends, where it does.
    fn turn(
        &mut self,
        signals: &mut Signals,
        on: &mut [Watched],
        tell: &mut dyn FnMut(Tell),
    ) -> Result<Option<String>, Failure> {
        let woken = self.session.wait(self.due_in())?;
        self.wakeups += 1;
        let mut wanted = Vec::new();
        for signal in if woken.contains(&SIGNAL) { signals.take() } else { Vec::new() } {
            match signal {
                Signal::End(name) => return Ok(Some(name.into())),
                Signal::Snapshot => wanted.push("SIGUSR2".to_string()),
            }
        }
        if woken.contains(&WORKLOAD) {
            return Ok(Some("the command ended".into()));
        }
        if self.options.max_duration.is_some_and(|most| self.began.elapsed() >= most) {
            return Ok(Some("--max-duration".into()));
        }
        if self.look.is_due() {
            self.look(tell)?;
            tell(Tell::Counted(self.counted()));
            wanted.extend(
                on.iter_mut().filter_map(|c| c.fires(&self.host, &self.inventory).then(|| c.text().to_string())),
            );
        }
        if self.options.mode == Mode::Snapshot {
            for why in wanted {
                self.gather()?;
                self.snapshots += 1;
                tell(Tell::Snapshot(why));
            }
        } else {
            if self.flush.is_due() {
                self.session.flush();
            }
            self.gather()?;
        }
        if self.say.is_due() {
            let cost = RecorderNote::Cost(self.cost());
            self.files.note(&cost)?;
        }
        if self.files.is_due() {
            self.rotate(tell)?;
        }
        Ok(self.files.is_full().then(|| "--max-size".into()))
    }

    /// How long until there is something to do by the clock.
    fn due_in(&self) -> Duration {
        let end = self.options.max_duration.map(|most| most.saturating_sub(self.began.elapsed()));
        let flush = (self.options.mode != Mode::Snapshot).then(|| self.flush.left());
        let all = [end, flush, Some(self.look.left()), Some(self.say.left()), self.files.due_in()];
        all.into_iter().flatten().min().unwrap_or(LOOK)
    }

    /// Another file: what this one ends with, the next begins with.
    fn rotate(&mut self, tell: &mut dyn FnMut(Tell)) -> Result<(), Failure> {
        // What is later than this is in the next file, whichever cpu is flushed when.
        let cut = tsc();
        if self.options.mode != Mode::Snapshot {
            self.session.flush();
        }
        self.gather()?;
        let cost = RecorderNote::Cost(self.cost());
        let end = RecorderNote::End { why: "another file follows".into(), until: Some(cut) };
        self.files.finish(&self.about, &[cost, end])?;
        tell(Tell::File(self.files.path().map_or_else(PathBuf::new, Into::into)));
        Ok(self.begin_file(Some(cut))?)
    }

    fn begin_file(&mut self, continues: Option<i64>) -> Result<(), CaptureError> {
        self.about.cpus_online = self.host.online().len() as u32;
        let start = machine::start(&self.host, &self.session, &self.settings, &self.pmu, self.options.mode)?;
        let Options { version, mode, precision, .. } = &self.options;
        let machine = machine::note(&self.host, version, (*mode, *precision), &self.about);
        let mut notes = vec![RecorderNote::Machine(machine), machine::clocks()];
        if let Some(tsc) = continues {
            notes.push(RecorderNote::Continues { tsc, files: self.files.before() + 1 });
        }
        notes.extend(machine::vms(self.inventory.all().to_vec()));
        let records = [&self.kernel[..], &modules(&self.host), &threads(&self.host)].concat();
        self.files.begin(&start, &self.about, &notes, &records)
    }

    /// VMs that came or changed; cpus that came or went.
    fn look(&mut self, tell: &mut dyn FnMut(Tell)) -> Result<(), Failure> {
        for note in machine::vms(self.inventory.refresh(&self.host)) {
            self.files.note(&note)?;
        }
        let online = self.host.online();
        if online.is_empty() {
            return Ok(());
        }
        self.passed_over.retain(|cpu| online.contains(cpu));
        let known = [self.cpus(), self.passed_over.clone()].concat();
        let gone: Vec<u32> = known.iter().copied().filter(|cpu| !online.contains(cpu)).collect();
        if !gone.is_empty() && self.options.mode != Mode::Snapshot {
            self.gather()?;
        }
        for cpu in gone {
            self.gone.extend(self.session.remove_cpu(cpu));
            self.files.stopped(cpu);
            tell(Tell::Warning(format!("cpu {cpu} went offline: its trace ends here")));
        }
        let wanted = |cpu: &u32| self.options.cpus.is_empty() || self.options.cpus.contains(cpu);
        let come: Vec<u32> = online.into_iter().filter(wanted).filter(|cpu| !known.contains(cpu)).collect();
        self.come(&come, tell)
    }

    /// Cpus came online. A file is of the cpus that it began with, as a new ring's stream is another: one more follows.
    fn come(&mut self, cpus: &[u32], tell: &mut dyn FnMut(Tell)) -> Result<(), Failure> {
        let mut came = false;
        for cpu in cpus {
            let opened = if self.files.can_follow() {
                self.session.add_cpu(*cpu).map_err(|error| error.to_string())
            } else {
                Err("standard output cannot go on in another file".into())
            };
            came |= opened.is_ok();
            if opened.is_err() {
                self.passed_over.push(*cpu);
            }
            tell(Tell::Warning(match opened {
                Ok(()) => format!("cpu {cpu} came online, and is recorded from here on, in another file"),
                Err(why) => format!("cpu {cpu} came online, and is not recorded: {why}"),
            }));
        }
        if came {
            self.rotate(tell)?;
            self.session.enable()?;
        }
        Ok(())
    }

    /// Writes what the rings have; of rings that are overwritten, all that they hold.
    fn gather(&mut self) -> Result<(), Failure> {
        let any = if self.options.mode == Mode::Snapshot {
            self.session.snapshot(&mut self.files).map(|()| true)?
        } else {
            self.session.take(&mut self.files)?
        };
        if any {
            self.files.round()?;
        }
        Ok(())
    }

    /// Takes the rest, and ends the file.
    fn end(
        &mut self,
        why: String,
        mut failed: Option<String>,
        tell: &mut dyn FnMut(Tell),
    ) -> Result<Summary, CaptureError> {
        self.session.disable();
        // What is in the rings now is the end of it all.
        if failed.is_none() {
            failed = self.gather().err().map(|failure| failure.to_string());
        }
        if self.options.mode != Mode::Snapshot {
            self.session.give_up();
        }
        let last_words = [
            RecorderNote::Cost(self.cost()),
            RecorderNote::End { why: failed.clone().unwrap_or_else(|| why.clone()), until: None },
        ];
        if failed.is_some() {
            self.files.rescue(&self.about, &last_words);
        } else if let Err(error) = self.files.finish(&self.about, &last_words) {
            failed = Some(error.to_string());
        }
        let last = self.files.path().map(PathBuf::from);
        if let (Some(path), None) = (&last, &failed) {
            tell(Tell::File(path.clone()));
        }
        let counted = self.counted();
        tell(Tell::Counted(counted.clone()));
        Ok(Summary { why, cost: counted.cost, files: counted.files, last, failed })
    }

    /// What was counted up to now.
    pub fn counted(&self) -> Counted {
        Counted {
            cost: self.cost(),
            files: self.files.before() + 1,
            snapshots: self.snapshots,
            wakeups: self.wakeups,
            vms: self.inventory.all().len(),
        }
    }

    /// What it cost up to now.
    pub fn cost(&self) -> CostNote {
        let cpus = self.session.cpus.iter().map(|c| c.cost).chain(self.gone.iter().copied());
        cost::now(self.began, self.files.bytes(), cpus.collect())
    }
}

/// Why a turn could not be done.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Output(#[from] io::Error),
    #[error("{0}")]
    Other(CaptureError),
}

impl From<CaptureError> for Failure {
    fn from(error: CaptureError) -> Failure {
        match error {
            CaptureError::Output { error, .. } => Failure::Output(error),
            other => Failure::Other(other),
        }
    }
}
