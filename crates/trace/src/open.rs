//! Which kind of input it is: by its bytes, never by its name.

use std::io::Read;
use std::path::{Path, PathBuf};

use havana_map::Map;

use crate::{Facts, RawOptions, Trace, TraceError, open_raw, perf};

/// The name of the records in a directory that `perf record --kcore` writes.
const PERF_DIR_DATA: &str = "data";

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
    let mut magic = [0; 8];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && perf::is_perf(&magic)
}

/// Standard input goes to a file first: trace is read more than once, and more of it than memory holds.
fn open_stdin(options: &OpenOptions) -> Result<Trace, TraceError> {
    let path = PathBuf::from(STDIN);
    let fail = |source| TraceError::Io { path: path.clone(), source };
    let mut spool = tempfile::tempfile().map_err(fail)?;
    std::io::copy(&mut std::io::stdin().lock(), &mut spool).map_err(fail)?;
    let map = Map::of(&spool).map_err(fail)?;
    if perf::is_perf(&map) {
        return open_perf(&path, map, options.facts);
    }
    options.facts.check(None)?;
    if map.is_empty() {
        return Err(TraceError::Empty { path });
    }
    let cpu = options.cpu.unwrap_or(0);
    let stream = crate::Stream::whole(cpu, STDIN.into(), std::sync::Arc::new(map));
    Ok(Trace::of(vec![stream], Facts::default().overridden_by(options.facts)))
}
