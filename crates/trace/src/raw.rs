//! Raw streams: a file a cpu, bytes as the processor wrote them, `cpuN` in the name, `trace.toml` beside them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use havana_map::Map;

use crate::{Facts, Stream, Trace, TraceError, perf};

/// What the command line adds to what stands beside the files.
#[derive(Debug, Clone, Default)]
pub struct RawOptions {
    /// Put over what `trace.toml` says.
    pub facts: Facts,
    /// The cpu of a single file whose name does not say.
    pub cpu: Option<u32>,
}

/// Opens raw streams: files, or directories whose `.pt` files are meant.
///
/// # Errors
/// Any [`TraceError`]; nothing is opened by halves.
pub fn open_raw(inputs: &[PathBuf], options: &RawOptions) -> Result<Trace, TraceError> {
    let files = expand(inputs)?;
    options.facts.check(None)?;
    let mut facts: Option<(PathBuf, Facts)> = None;
    let mut streams: Vec<(PathBuf, Stream)> = Vec::new();
    for path in &files {
        let beside = path.parent().unwrap_or(Path::new("")).join("trace.toml");
        if beside.exists() {
            let read = Facts::read(&beside)?;
            match &facts {
                Some((first, known)) if *known != read => {
                    return Err(TraceError::FactsDiffer { first: first.clone(), second: beside });
                }
                _ => facts = Some((beside, read)),
            }
        }
        let cpu = match cpu_in_name(path) {
            Some(cpu) => cpu,
            None if files.len() == 1 => options.cpu.unwrap_or(0),
            None => return Err(TraceError::CpuUnknown { path: path.clone() }),
        };
        if let Some((first, _)) = streams.iter().find(|(_, s)| s.cpu == cpu) {
            return Err(TraceError::CpuTwice { path: path.clone(), first: first.clone(), cpu });
        }
        let map = Map::open(path).map_err(|source| TraceError::Io { path: path.clone(), source })?;
        if map.is_empty() {
            return Err(TraceError::Empty { path: path.clone() });
        }
        if perf::is_perf(&map) {
            return Err(TraceError::OneAtATime { path: path.clone() });
        }
        streams.push((path.clone(), Stream::whole(cpu, path.display().to_string(), Arc::new(map))));
    }
    let mut streams: Vec<Stream> = streams.into_iter().map(|(_, s)| s).collect();
    streams.sort_by_key(|s| s.cpu);
    let facts = facts.map(|(_, f)| f).unwrap_or_default().overridden_by(options.facts);
    Ok(Trace::of(streams, facts))
}

/// The files meant: a directory stands for the `.pt` files in it.
fn expand(inputs: &[PathBuf]) -> Result<Vec<PathBuf>, TraceError> {
    let mut files = Vec::new();
    for input in inputs {
        if !input.is_dir() {
            files.push(input.clone());
            continue;
        }
        let fail = |source| TraceError::Io { path: input.clone(), source };
        let mut found = Vec::new();
        for entry in std::fs::read_dir(input).map_err(fail)? {
            let path = entry.map_err(fail)?.path();
            if path.extension().is_some_and(|e| e == "pt") {
                found.push(path);
            }
        }
        if found.is_empty() {
            return Err(TraceError::NoStreams { path: input.clone() });
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}

/// N of the last `cpuN` in the file's name; else a name that is a number (`45.intelpt_trace`).
fn cpu_in_name(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let digits = |s: &str| s[..s.bytes().take_while(u8::is_ascii_digit).count()].parse().ok();
    match name.rfind("cpu") {
        Some(at) => digits(name[at + 3..].trim_start_matches(['-', '_', '.'])),
        None => digits(&name).filter(|_| name.split('.').next().is_some_and(|s| s.bytes().all(|b| b.is_ascii_digit()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    fn open(dir: &tempfile::TempDir, options: &RawOptions) -> Result<Trace, TraceError> {
        open_raw(&[dir.path().to_path_buf()], options)
    }

    #[test]
    fn names_say_the_cpu() {
        let cpu = |name: &str| cpu_in_name(Path::new(name));
        assert_eq!(cpu("a/cpu0.pt"), Some(0));
        assert_eq!(cpu("host7-cpu12.pt"), Some(12));
        assert_eq!(cpu("CPU_3.pt"), Some(3));
        assert_eq!(cpu("45.intelpt_trace"), Some(45));
        assert_eq!(cpu("snapshot.pt"), None);
        assert_eq!(cpu("4vcpu.pt"), None);
    }

    #[test]
    fn streams_are_sorted_by_cpu_and_facts_are_read() {
        let d = dir(&[("cpu10.pt", "x"), ("cpu9.pt", "y"), ("trace.toml", "tsc_hz = 2_100_000_000\ncpu = \"6/85/4\"")]);
        let trace = open(&d, &RawOptions::default()).unwrap();
        assert_eq!(trace.streams.iter().map(|s| s.cpu).collect::<Vec<_>>(), [9, 10]);
        assert_eq!(trace.facts.tsc_hz, Some(2_100_000_000));
        assert_eq!(trace.facts.cpu.unwrap().to_string(), "6/85/4");
        assert_eq!(trace.streams[1].segment(0).unwrap().bytes, b"x");
        assert!(trace.streams[1].segment(1).is_none());
        let over = RawOptions { facts: Facts { tsc_hz: Some(3_000_000_000), ..Facts::default() }, cpu: None };
        assert_eq!(open(&d, &over).unwrap().facts.tsc_hz, Some(3_000_000_000));
    }

    #[test]
    fn wrong_input_is_refused_in_plain_words() {
        let said = |files: &[(&str, &str)]| {
            let d = dir(files);
            open(&d, &RawOptions::default()).unwrap_err().to_string().replace(d.path().to_str().unwrap(), "D")
        };
        assert_eq!(said(&[]), "D: no .pt file in this directory");
        assert_eq!(said(&[("cpu0.pt", "")]), "D/cpu0.pt: the file is empty");
        assert_eq!(said(&[("cpu0.pt", "a"), ("b-cpu0.pt", "b")]), "D/cpu0.pt: cpu 0 has a stream already: D/b-cpu0.pt");
        assert_eq!(
            said(&[("cpu0.pt", "a"), ("trace.toml", "tsc_hz = 3")]),
            "D/trace.toml: tsc_hz = 3: should be ticks a second, between 1 MHz and 100 GHz"
        );
        assert!(said(&[("cpu0.pt", "a"), ("trace.toml", "tsc_herz = 3")]).contains("unknown field `tsc_herz`"));
        assert!(said(&[("a.pt", "a"), ("b.pt", "a")]).contains("does not say which cpu"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = open_raw(&[PathBuf::from("/no/such/file.pt")], &RawOptions::default()).unwrap_err();
        assert_eq!(error.to_string(), "/no/such/file.pt: No such file or directory (os error 2)");
    }
}
