//! The files that a recording is written to: one, or one after the other.
//!
//! Each file is whole in itself: it begins with what is known of the machine, its threads and its VMs, and where it goes
//! on after another, with each cpu's trace from some PSB before the cut (`tail`). A file that cannot be gone on with is
//! cut behind its last whole round.

mod names;
mod sink;
mod tail;

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use havana_trace::perf_data::{About, Piece, RecorderNote, Start, Writer};

use crate::CaptureError;
use crate::host::tsc;
use crate::session::Taker;
pub(crate) use names::directory_of;
pub use names::numbered_files;
use sink::Sink;
use tail::Tail;

/// Where to write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A file; with rotation a number is put into its name.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

/// What to write, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputOptions {
    /// Where to.
    pub target: Target,
    /// Another file after so many bytes.
    pub rotate_bytes: Option<u64>,
    /// Another file after so long.
    pub rotate_every: Option<Duration>,
    /// Files with numbers that an earlier recording has left, ascending: numbers go on after them, and they are the first to
    /// go where all together are too large.
    pub earlier: Vec<(u64, PathBuf)>,
    /// All files together: with rotation the oldest are removed, without it the recording ends.
    pub max_bytes: Option<u64>,
    /// zstd, level 1.
    pub compress: bool,
}

impl OutputOptions {
    /// One file, of any size.
    pub fn to(target: Target) -> OutputOptions {
        OutputOptions {
            target,
            rotate_bytes: None,
            rotate_every: None,
            earlier: Vec::new(),
            max_bytes: None,
            compress: false,
        }
    }

    /// One file follows another.
    pub fn rotates(&self) -> bool {
        self.rotate_bytes.is_some() || self.rotate_every.is_some()
    }

    /// The number of the last file that is there already.
    fn last_number(&self) -> u64 {
        self.earlier.last().map_or(0, |(number, _)| *number)
    }
}

/// The files of a recording.
pub struct Files {
    options: OutputOptions,
    /// How many were begun.
    count: u64,
    open: Option<Open>,
    /// Files that are whole, oldest first, with their sizes.
    kept: VecDeque<(PathBuf, u64)>,
    /// Bytes of files that are whole, those removed since counted.
    written: u64,
    tails: HashMap<u32, Tail>,
}

/// The file that is being written.
struct Open {
    path: PathBuf,
    writer: Writer<Sink>,
    /// The place of each cpu among them.
    places: HashMap<u32, u32>,
    /// Up to here there are whole rounds.
    good: u64,
    began: Instant,
}

impl Files {
    /// None is made yet.
    pub fn new(options: OutputOptions) -> Files {
        let size = |path: &PathBuf| fs::metadata(path).map_or(0, |about| about.len());
        let kept = options.earlier.iter().map(|(_, path)| (path.clone(), size(path))).collect();
        Files { options, count: 0, open: None, kept, written: 0, tails: HashMap::new() }
    }

    /// How many files were begun before this one.
    pub fn before(&self) -> u64 {
        self.count.saturating_sub(1)
    }

    /// The file that is written now, or was written last.
    pub fn path(&self) -> Option<&Path> {
        self.open.as_ref().map(|open| &*open.path).or(self
            .kept
            .back()
            .filter(|_| self.count > 0)
            .map(|(path, _)| &**path))
    }

    /// Bytes written so far, of all files.
    pub fn bytes(&self) -> u64 {
        self.written + self.open.as_ref().map_or(0, |open| open.writer.len())
    }

    /// The name of what is written to, for errors.
    fn name(&self) -> PathBuf {
        match &self.options.target {
            Target::File(path) => path.clone(),
            Target::Stdout => "standard output".into(),
        }
    }

    fn fail(&self, error: io::Error) -> CaptureError {
        let path = self.open.as_ref().map_or_else(|| self.name(), |open| open.path.clone());
        CaptureError::Output { path, error }
    }

    /// Whether the place can be written to: makes the first file, which is empty yet.
    ///
    /// # Errors
    /// That it cannot.
    pub fn try_place(&self) -> Result<(), CaptureError> {
        let Target::File(path) = &self.options.target else { return Ok(()) };
        let first = self.options.last_number() + 1;
        let path = names::numbered(path, self.options.rotates().then_some(first), self.options.compress);
        let existed = path.exists();
        match fs::OpenOptions::new().append(true).create(true).open(&path) {
            Ok(_) if existed => Ok(()),
            Ok(_) => fs::remove_file(&path).map_err(|error| CaptureError::Output { path, error }),
            Err(error) => Err(CaptureError::Output { path, error }),
        }
    }

    /// Begins the next file. `notes` and `records`: what was before.
    ///
    /// # Errors
    /// That it cannot be written.
    pub fn begin(
        &mut self,
        start: &Start,
        about: &About,
        notes: &[RecorderNote],
        records: &[u8],
    ) -> Result<(), CaptureError> {
        self.count += 1;
        let number = (self.options.rotates() || self.count > 1).then_some(self.options.last_number() + self.count);
        let path = match &self.options.target {
            Target::File(path) => names::numbered(path, number, self.options.compress),
            Target::Stdout => self.name(),
        };
        let fail = |error| CaptureError::Output { path: path.clone(), error };
        let sink = match (&self.options.target, self.options.compress) {
            (Target::Stdout, compress) => Sink::stdout(compress).map_err(fail)?,
            (Target::File(_), compress) => {
                if path.exists() {
                    fs::rename(&path, names::old(&path)).map_err(fail)?;
                }
                Sink::create(&path, compress).map_err(fail)?
            }
        };
        let writer =
            if sink.can_seek() { Writer::new(sink, start) } else { Writer::pipe(sink, start, about) }.map_err(fail)?;
        let places = start.cpus.iter().enumerate().map(|(place, cpu)| (*cpu, place as u32)).collect();
        self.open = Some(Open { path: path.clone(), writer, places, good: 0, began: Instant::now() });
        let first = (|| {
            let Some(open) = &mut self.open else { return Ok(()) };
            notes.iter().try_for_each(|note| open.writer.note(note))?;
            open.writer.records(records)?;
            let carried: Vec<(u32, u64, Vec<u8>)> =
                self.tails.iter().filter_map(|(cpu, tail)| tail.since_psb().map(|(at, b)| (*cpu, at, b))).collect();
            for (cpu, at, bytes) in carried {
                open.trace(cpu, at, [&bytes, &[]])?;
            }
            open.round()
        })();
        first.map_err(|error| self.fail(error))
    }

    /// All cpus had their turn.
    ///
    /// # Errors
    /// That it cannot be written.
    pub fn round(&mut self) -> io::Result<()> {
        self.open.as_mut().map_or(Ok(()), Open::round)
    }

    /// Says something of our own.
    ///
    /// # Errors
    /// That it cannot be written.
    pub fn note(&mut self, note: &RecorderNote) -> io::Result<()> {
        self.open.as_mut().map_or(Ok(()), |open| open.writer.note(note))
    }

    /// Another file may follow.
    pub fn can_follow(&self) -> bool {
        self.options.target != Target::Stdout
    }

    /// Whether it is time for another file.
    pub fn is_due(&self) -> bool {
        let Some(open) = &self.open else { return false };
        self.options.rotate_bytes.is_some_and(|most| open.writer.len() >= most)
            || self.options.rotate_every.is_some_and(|every| open.began.elapsed() >= every)
    }

    /// How long until it is, by the clock.
    pub fn due_in(&self) -> Option<Duration> {
        let open = self.open.as_ref()?;
        Some(self.options.rotate_every?.saturating_sub(open.began.elapsed()))
    }

    /// All that may be written is.
    pub fn is_full(&self) -> bool {
        !self.options.rotates() && self.options.max_bytes.is_some_and(|most| self.bytes() >= most)
    }

    /// Ends the file. `notes`: its last words.
    ///
    /// # Errors
    /// That it cannot be written.
    pub fn finish(&mut self, about: &About, notes: &[RecorderNote]) -> Result<(), CaptureError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let path = open.path.clone();
        let end = (|| {
            notes.iter().try_for_each(|note| open.writer.note(note))?;
            open.writer.finish(about)?.close()
        })();
        let bytes = end.map_err(|error| CaptureError::Output { path: path.clone(), error })?;
        self.written += bytes;
        if let Target::File(_) = self.options.target {
            self.kept.push_back((path, bytes));
            self.make_room();
        }
        Ok(())
    }

    /// Removes the oldest files until all together are as small as was said.
    fn make_room(&mut self) {
        let Some(most) = self.options.max_bytes.filter(|_| self.options.rotates()) else { return };
        let mut all: u64 = self.kept.iter().map(|(_, bytes)| bytes).sum();
        while all > most && self.kept.len() > 1 {
            if let Some((path, bytes)) = self.kept.pop_front() {
                // Whoever moved it away has it.
                let _ = fs::remove_file(path);
                all -= bytes;
            }
        }
    }

    /// A write failed: cuts the file behind its last whole round, and ends it as far as that goes.
    pub fn rescue(&mut self, about: &About, notes: &[RecorderNote]) {
        let cut = self.open.as_mut().map(|open| {
            let good = open.good;
            open.writer.get_mut().cut(good).and_then(|()| open.writer.back_to(good))
        });
        if let Some(Ok(())) = cut {
            let _ = self.finish(about, notes);
        }
        // What could not be ended is told as such by its header, and is read up to there.
        self.open = None;
    }
}

impl Open {
    fn trace(&mut self, cpu: u32, at: u64, bytes: [&[u8]; 2]) -> io::Result<()> {
        let Some(place) = self.places.get(&cpu) else { return Ok(()) };
        let read = tsc().max(0).cast_unsigned();
        self.writer.trace(Piece { index: *place, cpu, at, read }, bytes)
    }

    fn round(&mut self) -> io::Result<()> {
        self.writer.finished_round()?;
        self.writer.settle()?;
        self.writer.get_mut().end_round()?;
        self.good = self.writer.len();
        Ok(())
    }
}

impl Taker for Files {
    fn records(&mut self, cpu: u32, bytes: [&[u8]; 2]) -> io::Result<()> {
        let Some(open) = self.open.as_mut().filter(|open| open.places.contains_key(&cpu)) else { return Ok(()) };
        bytes.into_iter().filter(|b| !b.is_empty()).try_for_each(|b| open.writer.records(b))
    }

    fn trace(&mut self, cpu: u32, at: u64, bytes: [&[u8]; 2]) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        open.trace(cpu, at, bytes)?;
        // Also without rotation: where a cpu comes, another file follows.
        if self.can_follow() {
            self.tails.entry(cpu).or_default().add(at, bytes);
        }
        Ok(())
    }

    fn stopped(&mut self, cpu: u32) {
        self.tails.remove(&cpu);
    }
}

#[cfg(test)]
mod tests;
