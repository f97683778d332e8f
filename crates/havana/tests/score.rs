//! `tools/score`, which is not ours, on every capture and recording at hand.
//!
//! # Captures where a guest ran for no time
//!
//! On captures of two cpus some VM entries are followed by the exit on the same tick. The tool takes for the re-entry
//! after an exit the first entry of that VMCS at *or after* the exit's tick, and so, there, the entry that came before
//! it. The true re-entry comes later, often after the next time that the trace knows, and then no dataset that tells
//! the truth has the tool's tick in its bounds: 3 values on `smp-idle`, 6 on `smp-preempt`, 451 on `lifecycle`.
//!
//! On such captures the tool is therefore given two truths: the one that came with the capture, whose verdict is
//! printed but judged only in what is not a re-entry's bounds; and a copy in which each such entry is a tick before its
//! exit ([`untied`]), which must hold like every other.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::truth::{text, untied};
use crate::common::{analyze, at_hand, python_with, recording};

/// What the tool says.
fn score(python: &str, tool: &Path, dataset: &Path, truth: &Path, args: &str) -> String {
    let done = Command::new(python).arg(tool).arg(dataset).arg(truth).args(args.split_whitespace()).output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.success(), holds(&said), "{said}");
    said
}

fn holds(said: &str) -> bool {
    said.lines().any(|line| line == "holds")
}

/// Holds every line of a `holds.tsv` against the truth. `place`: input and truth of a name.
fn every_line_holds(test: &str, lines: &str, place: impl Fn(&Path, &str) -> (PathBuf, PathBuf)) {
    let Some(lines) = at_hand(test, lines) else { return };
    let Some(tool) = at_hand(test, "tools/score") else { return };
    let Some(python) = python_with(test, "pyarrow.parquet") else { return };
    let mut failed = Vec::new();
    for line in std::fs::read_to_string(&lines).unwrap().lines() {
        let [name, args, _] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let (input, truth) = place(&lines, name);
        let out = tempfile::tempdir().unwrap();
        let dataset = out.path().join("dataset");
        analyze(&input, &dataset);
        let truth = text(&truth);
        let (free, empty) = untied(&truth);
        let file = out.path().join("truth");
        if empty > 0 {
            std::fs::write(&file, truth).unwrap();
            let said = score(&python, &tool, &dataset, &file, args);
            println!("{name}, as it came ({empty} stretches in a guest of no length)\n{said}");
            if !holds(&said) && !said.contains("falls short: bounds\n") {
                failed.push(format!("{name}, as it came"));
            }
        }
        std::fs::write(&file, free).unwrap();
        let said = score(&python, &tool, &dataset, &file, args);
        println!("{name} {args}\n{said}");
        if !holds(&said) {
            failed.push(name.to_string());
        }
    }
    assert!(failed.is_empty(), "{failed:?} did not hold");
}

#[test]
fn every_capture_holds() {
    every_line_holds("score: raw streams", "captures/holds.tsv", |lines, name| {
        let capture = lines.with_file_name(name);
        (capture.clone(), capture.join("truth.zst"))
    });
}

#[test]
fn every_recording_holds() {
    every_line_holds("score: perf.data", "captures/perf/holds.tsv", |lines, name| {
        let of = |end: &str| lines.with_file_name(format!("{name}.{end}"));
        (of("perf.data"), of("truth.zst"))
    });
}

/// The recordings of this repository: compressed and piped by perf itself.
#[test]
fn every_bundled_recording_holds() {
    let test = "score: recordings of the repository";
    let Some(tool) = at_hand(test, "tools/score") else { return };
    let Some(python) = python_with(test, "pyarrow.parquet") else { return };
    let out = tempfile::tempdir().unwrap();
    for name in ["steal-two-hogs", "compressed", "piped"] {
        let (input, dataset) = (recording(name), out.path().join(name));
        analyze(&input, &dataset);
        let truth = input.with_file_name(format!("{name}.truth.zst"));
        let said = score(&python, &tool, &dataset, &truth, "--clip --width 21600,21600 --shares 0.5 --states 2");
        assert!(holds(&said), "{name}\n{said}");
    }
}
