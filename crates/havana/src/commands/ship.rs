//! `havana record --push`: each file that is whole is analyzed, goes under the root of a fleet, and is removed.
//!
//! A thread does that, one file after the other; the analysis runs as a program of its own, at the lowest priority, so that nothing
//! of it gets in the way of the recorder. What cannot be pushed yet waits on the disk, as trace.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use havana_capture::output::numbered_files;
use havana_fleet::{FleetError, Root};
use havana_insight::words::bytes;
use havana_store::Dataset;
use tokio::runtime::Runtime;

/// How long a root that cannot be reached is left alone at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How long what is left is tried once the recording has ended.
const PATIENCE: Duration = Duration::from_secs(60);

/// Says something to who records.
type Say = dyn Fn(&str) + Send + Sync;

/// What brings files under a root.
pub(super) struct Shipper {
    files: Option<Sender<(PathBuf, Of)>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    /// Says, while there is something to push, that files of these names are ours to push and to remove.
    marker: PathBuf,
}

/// Which recording a file is of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// Of this one: that all of it goes is what was asked for.
    This,
    /// Of one before, that was killed. What of it is no trace stays, and is told of.
    Earlier,
}

struct Shared {
    root: Root,
    runtime: Runtime,
    say: Box<Say>,
    quiet: bool,
    /// The recording has ended: what is left is not tried for ever.
    until: Mutex<Option<Instant>>,
    /// A file stayed.
    stayed: AtomicBool,
    earlier_stayed: AtomicBool,
}

/// The file beside the trace that says that what is recorded there is pushed.
fn marker(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".pushing");
    name.into()
}

impl Shipper {
    /// Begins; the root must be there.
    pub(super) fn start(
        root: &str,
        output: &Path,
        quiet: bool,
        say: impl Fn(&str) + Send + Sync + 'static,
    ) -> anyhow::Result<Shipper> {
        let root = Root::create(root)?;
        let runtime = Runtime::new()?;
        // Who records for days learns now that nothing can be written there.
        runtime.block_on(havana_fleet::Catalogue::hours(&root))?;
        let shared = Arc::new(Shared {
            root,
            runtime,
            say: Box::new(say),
            quiet,
            until: Mutex::new(None),
            stayed: AtomicBool::new(false),
            earlier_stayed: AtomicBool::new(false),
        });
        let (files, coming) = mpsc::channel::<(PathBuf, Of)>();
        let here = Arc::clone(&shared);
        let work = move || {
            // Of this thread, and of the programs that it starts. Where it is refused the analysis is only less polite.
            let _ = havana_capture::host::be_nice(19);
            while let Ok((file, of)) = coming.recv() {
                here.ship(&file, of);
            }
        };
        let thread = thread::Builder::new().name("push".into()).spawn(work)?;
        Ok(Shipper { files: Some(files), thread: Some(thread), shared, marker: marker(output) })
    }

    /// What a recording with `--push` to the same place has left, that was killed. Files of one without are not ours.
    pub(super) fn left_of(output: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
        if marker(output).exists() { numbered_files(output) } else { Ok(Vec::new()) }
    }

    /// The recording has begun; `earlier` is what was left.
    pub(super) fn begin(&self, earlier: Vec<(u64, PathBuf)>) -> anyhow::Result<()> {
        fs::write(&self.marker, self.shared.root.name()).with_context(|| self.marker.display().to_string())?;
        earlier.iter().for_each(|(_, file)| self.take(file, Of::Earlier));
        Ok(())
    }

    /// A file is whole.
    pub(super) fn take(&self, file: &Path, of: Of) {
        if let Some(files) = &self.files {
            // The thread ends after us.
            let _ = files.send((file.into(), of));
        }
    }

    /// Waits for what is under way; whether all went.
    pub(super) fn end(mut self) -> bool {
        *self.shared.until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + PATIENCE);
        drop(self.files.take());
        let ended = self.thread.take().is_none_or(|thread| thread.join().is_ok());
        let stays = |of: &AtomicBool| of.load(Ordering::Relaxed);
        if ended && !stays(&self.shared.stayed) && !stays(&self.shared.earlier_stayed) {
            // Without it the next one leaves alone what it finds.
            let _ = fs::remove_file(&self.marker);
        }
        ended && !stays(&self.shared.stayed)
    }
}

impl Shared {
    /// Brings one over; where that cannot be it stays, and that is said.
    fn ship(&self, file: &Path, of: Of) {
        let at = file.display();
        match self.analyze(file).and_then(|dataset| self.push(file, &dataset)) {
            Ok(()) => {}
            Err(error) => {
                let stayed = if of == Of::This { &self.stayed } else { &self.earlier_stayed };
                stayed.store(true, Ordering::Relaxed);
                (self.say)(&format!("warning: {at} stays: {}", super::one_line(&error)));
            }
        }
    }

    /// The dataset of a file, beside it. One that is there is of a run that was killed.
    fn analyze(&self, file: &Path) -> anyhow::Result<PathBuf> {
        let mut name = file.as_os_str().to_owned();
        name.push(".havana");
        let dataset = PathBuf::from(name);
        let program = std::env::current_exe().context("this program is not to be found")?;
        let mut command = Command::new(program);
        command.args(["analyze", "--quiet", "--force", "-o"]).args([&dataset, file]);
        let output = command.stdin(Stdio::null()).output().context("it cannot be analyzed")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{}", said.lines().last().unwrap_or("it cannot be analyzed").trim_start_matches("havana: "));
        }
        Ok(dataset)
    }

    /// Pushes, as long as there is hope, and removes what was.
    fn push(&self, file: &Path, dataset: &Path) -> anyhow::Result<()> {
        let opened = Dataset::open(dataset)?;
        let mut pause = PAUSE.0;
        let pushed = loop {
            // The trace is one; what an earlier version of us said of it goes.
            match self.runtime.block_on(havana_fleet::push(&self.root, &opened, true, &|_| {})) {
                Ok(pushed) => break pushed,
                Err(error) => self.wait(error, &mut pause)?,
            }
        };
        let remove = |path: &Path| path.display().to_string();
        fs::remove_dir_all(dataset).with_context(|| remove(dataset))?;
        fs::remove_file(file).with_context(|| remove(file))?;
        if !self.quiet {
            (self.say)(&format!("{} is pushed, {}", file.display(), bytes(pushed.bytes)));
        }
        Ok(())
    }

    /// Waits for what may pass; what will not is an error.
    fn wait(&self, error: FleetError, pause: &mut Duration) -> anyhow::Result<()> {
        let begin = Instant::now();
        let until = || *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if !error.may_pass() || until().is_some_and(|until| until < begin) {
            return Err(error.into());
        }
        if *pause == PAUSE.0 {
            (self.say)(&format!("warning: {error}; it is tried again"));
        }
        while begin.elapsed() < *pause && until().is_none_or(|until| Instant::now() < until) {
            thread::sleep(Duration::from_millis(100));
        }
        *pause = (*pause * 2).min(PAUSE.1);
        Ok(())
    }
}
