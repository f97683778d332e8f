//! Which kind of input it is: by its bytes, never by its name.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use havana_map::Map;

use crate::{Facts, Note, RawOptions, Stream, Trace, TraceError, open_raw, perf};

/// The name of the records in a directory that `perf record --kcore` writes.
const PERF_DIR_DATA: &str = "data";

/// How zstd's frames begin.
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// What stands for standard input.
pub const STDIN: &str = "-";

/// What the command line adds to what the input says of itself.
pub type OpenOptions = RawOptions;

/// Opens a trace: a perf.data, a directory that perf made, standard input (`-`), or raw streams.
///
/// # Errors
/// Any [`TraceError`]; nothing is opened by halves.
pub fn open(inputs: &[PathBuf], options: &OpenOptions) -> Result<Trace, TraceError> {
    if let [one] = inputs {
        if one == Path::new(STDIN) {
            return open_stdin(options);
        }
        let file = if one.is_dir() { one.join(PERF_DIR_DATA) } else { one.clone() };
        if is_perf(&file) {
            let map = Map::open(&file).map_err(|source| TraceError::Io { path: file.clone(), source })?;
            return open_perf(&file, map, options.facts);
        }
        if starts_with(&file, ZSTD) {
            let fail = |source| TraceError::Io { path: file.clone(), source };
            return open_spooled(&file, &spool(&mut File::open(&file).map_err(fail)?, &file)?, options);
        }
    } else if let Some(perf) = inputs.iter().find(|i| is_perf(i)) {
        return Err(TraceError::OneAtATime { path: perf.clone() });
    }
    open_raw(inputs, options)
}

/// Opens a perf.data that is mapped already, or in memory; `name` is what errors call it.
///
/// # Errors
/// Any [`TraceError`].
pub fn open_perf(name: &Path, map: Map, facts: Facts) -> Result<Trace, TraceError> {
    facts.check(None)?;
    if map.is_empty() {
        return Err(TraceError::Empty { path: name.into() });
    }
    perf::open(name, map, facts)
}

/// Whether it is a perf.data. What cannot be read is none; who opens it will say why.
fn is_perf(path: &Path) -> bool {
    first_bytes(path).is_some_and(|bytes| perf::is_perf(&bytes))
}

fn starts_with(path: &Path, magic: &[u8]) -> bool {
    first_bytes(path).is_some_and(|bytes| bytes.starts_with(magic))
}

fn first_bytes(path: &Path) -> Option<[u8; 8]> {
    let mut bytes = [0; 8];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
    read.is_ok().then_some(bytes)
}

/// Standard input goes to a file first: trace is read more than once, and more of it than memory holds.
fn open_stdin(options: &OpenOptions) -> Result<Trace, TraceError> {
    let path = PathBuf::from(STDIN);
    let spooled = spool(&mut io::stdin().lock(), &path)?;
    open_spooled(&path, &spooled, options)
}

/// What was copied to a file that has no name.
struct Spooled {
    file: File,
    /// It is what a compressed file held, and that ends too early: where.
    cut: Option<u64>,
}

/// Copies all that comes, or what it holds, where that is zstd.
fn spool(from: &mut impl Read, path: &Path) -> Result<Spooled, TraceError> {
    let fail = |source| TraceError::Io { path: path.into(), source };
    let mut file = tempfile::tempfile().map_err(fail)?;
    let mut magic = Vec::new();
    from.take(ZSTD.len() as u64).read_to_end(&mut magic).map_err(fail)?;
    let is_zstd = magic == ZSTD;
    let mut all = Counted { from: (&magic[..]).chain(from), count: 0 };
    if !is_zstd {
        io::copy(&mut all, &mut file).map_err(fail)?;
        return Ok(Spooled { file, cut: None });
    }
    let cut = inflate(&mut all, &mut file).map_err(fail)?;
    Ok(Spooled { file, cut: cut.then_some(all.count) })
}

/// True where the compressed bytes end too early, or make no sense from somewhere on: what came before is kept.
fn inflate(from: &mut impl Read, to: &mut File) -> io::Result<bool> {
    let mut decoder = zstd::Decoder::new(from)?;
    let mut buffer = vec![0; 1 << 17];
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(n) => io::Write::write_all(to, &buffer[..n])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Ok(true),
        }
    }
}

/// Counts what was read.
struct Counted<R> {
    from: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buffer)?;
        self.count += n as u64;
        Ok(n)
    }
}

fn open_spooled(path: &Path, spooled: &Spooled, options: &OpenOptions) -> Result<Trace, TraceError> {
    let map = Map::of(&spooled.file).map_err(|source| TraceError::Io { path: path.into(), source })?;
    let mut trace = if perf::is_perf(&map) {
        open_perf(path, map, options.facts)?
    } else {
        options.facts.check(None)?;
        if map.is_empty() {
            return Err(TraceError::Empty { path: path.into() });
        }
        let cpu = options.cpu.unwrap_or(0);
        let stream = Stream::whole(cpu, path.display().to_string(), std::sync::Arc::new(map));
        Trace::of(vec![stream], Facts::default().overridden_by(options.facts))
    };
    if let Some(offset) = spooled.cut {
        trace.recording.notes.push(Note::Cut { offset });
    }
    Ok(trace)
}
