//! `havana top`: recorded traces as text and JSON, what it refuses; live only a host with Intel PT shows.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cli::{havana, scratch};
use crate::common::{bundled, recording};

fn top(dir: &Path, args: &[&str]) -> String {
    let out = havana(dir).arg("top").args(args).assert().success().get_output().stdout.clone();
    String::from_utf8(out).unwrap()
}

/// What differs from run to run: how long the analysis took.
fn without_cost(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once(" of trace, analyzed in ") {
        Some((bytes, _)) => format!("{bytes} of trace\n"),
        None => format!("{line}\n"),
    });
    lines.collect()
}

fn frames(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_recorded_trace_as_text() {
    let dir = scratch();
    let from = recording("steal-two-hogs");
    let args = ["--from", from.to_str().unwrap(), "--speed", "max", "--plain", "--frames", "3", "--interval", "200ms"];
    let text = without_cost(&top(dir.path(), &args));
    snapbox::assert_data_eq!(text, snapbox::file!["snapshots/top.txt"].raw());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is written");
}

#[test]
fn raw_streams_with_facts_and_names() {
    let dir = scratch();
    let names = dir.path().join("names.toml");
    std::fs::write(&names, "[[vm]]\nhost_cr3 = 0x686e000\nname = \"runs-away\"\n").unwrap();
    let from = bundled("hog-vma");
    let args = ["--from", from.to_str().unwrap(), "--speed", "max", "--json", "--names", "names.toml"];
    let frames = frames(&top(dir.path(), &args));
    assert_eq!(frames.len(), 4, "3.5 s of it");
    let guest = |frame: &Value, name: &str| {
        let vms = frame["vms"].as_array().unwrap();
        let vm = vms.iter().find(|vm| vm["name"] == name || (vm["name"].is_null() && name == "other")).unwrap();
        vm["guest"].as_f64().unwrap() / 2.1e9
    };
    assert!(guest(&frames[0], "runs-away") < 0.45 && guest(&frames[2], "runs-away") > 0.45, "{frames:?}");
    let numbers =
        |frame: &Value| frame["vms"].as_array().unwrap().iter().map(|vm| vm["number"].clone()).collect::<Vec<_>>();
    assert!(frames.iter().all(|frame| numbers(frame) == numbers(&frames[0])));
    assert!(frames.iter().all(|frame| frame["cost"]["bytes"].as_u64().unwrap() > 10_000));
}

#[test]
fn a_perf_data_on_standard_input() {
    let dir = scratch();
    let file = std::fs::File::open(recording("piped")).unwrap();
    let out = std::process::Command::new(crate::common::HAVANA)
        .current_dir(dir.path())
        .args(["top", "--from", "-", "--speed", "0", "--json", "--interval", "100ms"])
        .stdin(file)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let frames = frames(&String::from_utf8(out.stdout).unwrap());
    assert_eq!(frames.len(), 4);
    assert!(frames.iter().all(|frame| frame["vms"].as_array().unwrap().len() == 2));
}

#[test]
fn as_fast_as_it_was() {
    let dir = scratch();
    let from = recording("steal-two-hogs");
    let began = Instant::now();
    // 1 s of trace, twice as fast.
    let text = top(dir.path(), &["--from", from.to_str().unwrap(), "--speed", "2", "--interval", "250ms"]);
    assert!(began.elapsed() >= Duration::from_millis(490), "never faster");
    assert!(text.lines().filter(|line| line.starts_with("frame ")).count() >= 4, "{text}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut child = std::process::Command::new(crate::common::HAVANA)
        .args(["top", "--speed", "max", "--interval", "10ms", "--from"])
        .arg(bundled("hog-vma"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let out = child.wait_with_output().unwrap();
    assert_eq!((out.status.code(), String::from_utf8_lossy(&out.stderr).as_ref()), (Some(0), ""));
}

#[test]
fn what_cannot_be_is_said_in_one_sentence() {
    let dir = scratch();
    let said = |args: &[&str], code: i32| {
        let out =
            havana(dir.path()).arg("top").args(args).assert().code(code).stdout_eq("").get_output().stderr.clone();
        String::from_utf8(out).unwrap()
    };
    assert!(said(&["--speed", "2"], 2).contains("--from"));
    assert!(said(&["--from", "a", "--speed", "quick"], 2).contains("should be a number, such as 1 or 10, or max"));
    assert!(said(&["--interval", "1h"], 2).contains("should be from 10ms to 60s"));
    assert!(said(&["--from", "a", "--cpus", "0"], 2).contains("cannot be used with"));
    assert_eq!(said(&["--from", "a.pt"], 1), "havana: a.pt: No such file or directory (os error 2)\n");
    std::fs::write(dir.path().join("cpu0.pt"), "nothing").unwrap();
    assert_eq!(
        said(&["--from", "cpu0.pt"], 1),
        "havana: the trace does not say how fast its TSC ticks, so there are no seconds: say --tsc-hz\n"
    );
    let none = said(&["--from", "cpu0.pt", "--tsc-hz", "2e9"], 1);
    assert!(none.starts_with("havana: no moment of cpu0.pt can be dated: there is no PSB"), "{none}");
}

#[test]
fn without_intel_pt_one_sentence_says_so() {
    if Path::new("/sys/bus/event_source/devices/intel_pt/type").exists() {
        println!("skipped: without_intel_pt: this host has it");
        return;
    }
    let dir = scratch();
    for args in [&["top"][..], &["top", "--plain", "--frames", "1"]] {
        let said = havana(dir.path()).args(args).assert().code(1).stdout_eq("").get_output().stderr.clone();
        let said = String::from_utf8(said).unwrap();
        assert!(said.starts_with("havana: no Intel PT on this host (") && said.lines().count() == 1, "{said}");
        assert!(said.contains("top --from"), "{said}");
    }
}
