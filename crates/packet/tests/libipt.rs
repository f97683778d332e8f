//! The same packets as libipt, one for one, on every raw trace at hand.
//!
//! The traces are those in the repository and those below `$HAVANA_TESTDATA`; libipt is what the system has.

#![allow(clippy::unwrap_used, reason = "helpers of tests stand outside of them")]

mod libipt_dump;

use std::fs;
use std::path::{Path, PathBuf};

use havana_packet::{Decoder, Kind};
use libipt_dump::{compare, libipt_dump};

fn testdata() -> Option<PathBuf> {
    let dir = std::env::var_os("HAVANA_TESTDATA").map(PathBuf::from);
    if dir.is_none() {
        eprintln!("skipped: HAVANA_TESTDATA is not set");
    }
    dir
}

/// Files `DIR/*/NAME` with that ending, in order.
fn streams(dir: &Path, prefix: &str, suffix: &str) -> Vec<PathBuf> {
    let list = |dir: &Path| -> Vec<PathBuf> {
        fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    };
    let mut files: Vec<PathBuf> = list(dir).iter().filter(|path| path.is_dir()).flat_map(|dir| list(dir)).collect();
    files.retain(|file| {
        let name = file.file_name().unwrap().to_string_lossy();
        name.starts_with(prefix) && name.ends_with(suffix)
    });
    files.sort();
    files
}

#[test]
fn captures_of_the_repository() {
    let Some(dump) = libipt_dump("libipt_dump_repository") else { return };
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/captures");
    for file in streams(&captures, "cpu", ".pt") {
        compare(&dump, &file);
    }
}

#[test]
fn captures_at_hand() {
    let (Some(testdata), Some(dump)) = (testdata(), libipt_dump("libipt_dump_captures")) else { return };
    for file in streams(&testdata.join("captures"), "cpu", ".pt") {
        compare(&dump, &file);
    }
}

#[test]
fn cascade_lake() {
    let (Some(testdata), Some(dump)) = (testdata(), libipt_dump("libipt_dump_lldb")) else { return };
    for file in streams(&testdata.join("traces"), "", ".intelpt_trace") {
        compare(&dump, &file);
    }
}

#[test]
fn skylake() {
    let (Some(testdata), Some(dump)) = (testdata(), libipt_dump("libipt_dump_skylake")) else { return };
    let file = testdata.join("traces/skylake-4vcpu/snapshot.pt");
    if !file.exists() {
        eprintln!("skipped: no {}", file.display());
        return;
    }
    let counts = compare(&dump, &file);
    let counts: Vec<String> = Kind::ALL
        .iter()
        .filter(|kind| counts[kind.index()] > 0)
        .map(|kind| format!("{kind} {}", counts[kind.index()]))
        .collect();
    assert_eq!(
        counts.join(", "),
        "pad 349354, psb 1017, psbend 1017, tip 262353, tip.pgd 1, fup 1096, tnt8 574323, pip 1148, vmcs 1025, \
         tsc 1077, cbr 1077, mode.exec 1049, mode.tsx 1017"
    );
    assert_eq!(Decoder::new(&fs::read(&file).unwrap()).synced_at(), Some(0x370));
}
