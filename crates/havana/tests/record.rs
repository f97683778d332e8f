//! `havana record` where it cannot: one sentence each. What it can, only a host with Intel PT shows.

use std::path::Path;

use crate::cli::{havana, scratch};

pub(crate) fn has_pt() -> bool {
    Path::new("/sys/bus/event_source/devices/intel_pt/type").exists()
}

#[test]
fn without_intel_pt_one_sentence_says_so() {
    if has_pt() {
        println!("skipped: without_intel_pt: this host has it");
        return;
    }
    let dir = scratch();
    let said = havana(dir.path()).arg("record").assert().code(1).stdout_eq("").get_output().stderr.clone();
    let said = String::from_utf8(said).unwrap();
    assert!(said.starts_with("havana: no Intel PT on this host ("), "{said}");
    assert!(said.contains("analyze, view, simulate and demo work"), "{said}");
    assert!(said.ends_with("; havana doctor tells more\n"), "{said}");
    assert_eq!(said.lines().count(), 1);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is written");
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_touched() {
    let dir = scratch();
    let refused = |args: &[&str], code: i32, text: &str| {
        let out = havana(dir.path()).arg("record").args(args).assert().code(code).get_output().stderr.clone();
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains(text), "{args:?}: {out}");
    };
    refused(&["--on", "cpu>3"], 1, "say --mode snapshot too");
    refused(&["--on", "moon>3"], 2, "no condition; say file:PATH");
    refused(&["-o", "-", "--rotate-time", "1m"], 1, "need -o FILE");
    refused(&["--buffer", "3M"], 2, "a power of two");
    refused(&["--buffer", "1K"], 2, "a power of two");
    refused(&["--rotate-size", "many"], 2, "should be a size");
    refused(&["--max-duration", "1y"], 2, "should be a time");
    refused(&["--cpus", "3-1"], 2, "should be a list of cpus");
}
