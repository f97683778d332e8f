//! Datasets to ask, and asking.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The program under test.
pub(crate) const HAVANA_SQL: &str = env!("CARGO_BIN_EXE_havana-sql");

/// The program that makes datasets, built beside it with the rest of the workspace.
pub(crate) fn havana() -> PathBuf {
    Path::new(HAVANA_SQL).with_file_name("havana")
}

/// Says that a test is skipped. Not `eprintln!`, which a passing test keeps to itself.
pub(crate) fn skipped(test: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
}

fn done(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The dataset of a trace.
pub(crate) fn analyze(trace: &Path, node: &str, dataset: &Path) {
    done(Command::new(havana()).args(["analyze", "--quiet", "--node", node, "-o"]).args([dataset, trace]));
}

/// The dataset of a node that is simulated.
pub(crate) fn simulated(dir: &Path, scenario: &str, seed: u32, node: &str) -> PathBuf {
    simulated_for(dir, scenario, seed, node, "4")
}

/// The same, of so many seconds.
pub(crate) fn simulated_for(dir: &Path, scenario: &str, seed: u32, node: &str, seconds: &str) -> PathBuf {
    simulated_from(dir, scenario, seed, node, (seconds, NOON))
}

/// 2026-11-20 12:00 UTC.
pub(crate) const NOON: u64 = 1_795_176_000;

/// The same, from a second since 1970 on.
fn simulated_from(dir: &Path, scenario: &str, seed: u32, node: &str, (seconds, wall): (&str, u64)) -> PathBuf {
    let (trace, dataset) = (dir.join(format!("{node}-trace")), dir.join(format!("{node}.havana")));
    let (seed, wall) = (seed.to_string(), wall.to_string());
    let mut simulate = Command::new(havana());
    done(
        simulate
            .args(["simulate", scenario, "--seed", &seed, "--seconds", seconds, "--form", "perf", "--no-truth"])
            .args(["--wall", &wall, "-o"])
            .arg(&trace),
    );
    analyze(&trace.join("perf.data"), node, &dataset);
    std::fs::remove_dir_all(&trace).unwrap();
    dataset
}

/// A dataset that all tests may read: two VMs, one of them runs away.
pub(crate) fn noisy() -> &'static Path {
    static DATASET: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let make = || {
        let dir = tempfile::tempdir().unwrap();
        let dataset = simulated(dir.path(), "noisy-neighbour", 1, "kvm-07");
        (dir, dataset)
    };
    &DATASET.get_or_init(make).1
}

/// A fleet of 100 small nodes, each with its troubles, that all tests may read.
pub(crate) fn fleet() -> &'static [PathBuf] {
    const SCENARIOS: [&str; 10] = [
        "quiet",
        "noisy-neighbour",
        "cron-burst",
        "exit-storm",
        "overcommit",
        "throttled",
        "migration",
        "clock-jump",
        "lossy",
        "random",
    ];
    static FLEET: OnceLock<(tempfile::TempDir, Vec<PathBuf>)> = OnceLock::new();
    let make = || {
        let dir = tempfile::tempdir().unwrap();
        let node = |seed: u32| {
            let scenario = SCENARIOS[seed as usize % SCENARIOS.len()];
            // From noon of a day on, an hour each eight nodes.
            simulated_from(dir.path(), scenario, seed, &format!("node-{seed:03}"), ("2", NOON + u64::from(seed) * 450))
        };
        let datasets = (0..100).map(node).collect();
        (dir, datasets)
    };
    &FLEET.get_or_init(make).1
}

/// Asks.
pub(crate) fn sql(words: &[&str]) -> Output {
    Command::new(HAVANA_SQL).args(words).output().unwrap()
}

/// What is said on stdout to a question that has an answer.
pub(crate) fn answer(words: &[&str]) -> String {
    let output = sql(words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The one value that answers a question to the noisy dataset.
pub(crate) fn value(question: &str) -> String {
    let csv = answer(&[noisy().to_str().unwrap(), question, "--format", "csv"]);
    csv.lines().nth(1).unwrap_or_default().to_string()
}

/// What is said on stderr to a question that has none: one line, and status 1.
pub(crate) fn refusal(words: &[&str]) -> String {
    let output = sql(words);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{words:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said.trim_end().to_string()
}

/// A copy of a dataset, to be damaged.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let there = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &there) } else { _ = std::fs::copy(&path, &there).unwrap() }
    }
}

/// The Python that may have what a test needs.
pub(crate) fn python() -> String {
    std::env::var("HAVANA_PYTHON").unwrap_or_else(|_| "python3".into())
}

/// Whether Python has these; says `skipped` where not.
pub(crate) fn python_has(test: &str, modules: &[&str]) -> bool {
    let import = format!("import {}", modules.join(", "));
    let has = Command::new(python()).args(["-c", &import]).output().is_ok_and(|output| output.status.success());
    if !has {
        skipped(test, &format!("{} lacks one of {} (HAVANA_PYTHON says which python)", python(), modules.join(", ")));
    }
    has
}
