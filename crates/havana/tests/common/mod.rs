//! Where things are, and running the program.

pub(crate) mod compare;
pub(crate) mod lossy;
pub(crate) mod observed;
pub(crate) mod perf_file;
pub(crate) mod rows;
pub(crate) mod sched;
pub(crate) mod truth;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use havana_store::Dataset;

/// The program under test.
pub(crate) const HAVANA: &str = env!("CARGO_BIN_EXE_havana");

/// A capture of this repository.
pub(crate) fn bundled(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/captures").join(name)
}

/// A perf.data of this repository.
pub(crate) fn recording(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/recordings").join(format!("{name}.perf.data"))
}

/// Says that a test is skipped. Not `eprintln!`, which a passing test keeps to itself.
pub(crate) fn skipped(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
}

/// A Python that has this module; says `skipped` where there is none.
pub(crate) fn python_with(test: &str, module: &str) -> Option<String> {
    let python = std::env::var("HAVANA_PYTHON").unwrap_or_else(|_| "python3".into());
    let there = Command::new(&python).arg("-c").arg(format!("import {module}")).output();
    if there.is_ok_and(|done| done.status.success()) {
        return Some(python);
    }
    skipped(test, &format!("{python} has no {module} (HAVANA_PYTHON says which python)"));
    None
}

/// A file or folder of the data that is not ours to ship or too large to; says `skipped` where it is not at hand.
pub(crate) fn at_hand(test: &str, below: &str) -> Option<PathBuf> {
    let Some(dir) = std::env::var_os("HAVANA_TESTDATA").filter(|dir| !dir.is_empty()) else {
        skipped(test, "HAVANA_TESTDATA is not set");
        return None;
    };
    let path = Path::new(&dir).join(below);
    if path.exists() {
        return Some(path);
    }
    skipped(test, &format!("no {below} in HAVANA_TESTDATA"));
    None
}

/// The program, to be given arguments.
pub(crate) fn havana() -> Command {
    Command::new(HAVANA)
}

/// Analyzes without a report into a dataset at `output`; or what was said instead.
pub(crate) fn try_analyze(input: &Path, output: &Path) -> Result<Dataset, String> {
    let done = havana().args(["analyze", "--quiet"]).arg(input).arg("--output").arg(output).output().unwrap();
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).into_owned());
    }
    Ok(Dataset::open(output).unwrap())
}

/// Analyzes without a report into a dataset at `output`.
pub(crate) fn analyze(input: &Path, output: &Path) -> Dataset {
    try_analyze(input, output).unwrap()
}
