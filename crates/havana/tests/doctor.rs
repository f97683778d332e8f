//! `havana doctor` on the machine that the tests run on. Hosts of all kinds are judged in crate `havana-capture`.

use serde_json::Value;

use crate::cli::{havana, scratch};
use crate::record::has_pt;

/// Subjects, and a check of each that is there on every host.
const ALWAYS: [(&str, &str); 15] = [
    ("processor", "model"),
    ("processor", "cpus"),
    ("processor", "intel_pt"),
    ("kernel", "release"),
    ("kernel", "lockdown"),
    ("permissions", "perf_event_paranoid"),
    ("permissions", "cap_sys_ptrace"),
    ("permissions", "locked memory"),
    ("permissions", "open files"),
    ("kvm", "kvm_intel"),
    ("kvm", "IA32_VMX_MISC[14]"),
    ("clock", "kernel's clock"),
    ("in use", "Intel PT"),
    ("room", "disk"),
    ("room", "memory"),
];

#[test]
fn without_intel_pt_one_sentence_says_so() {
    if has_pt() {
        println!("skipped: doctor without_intel_pt: this host has it");
        return;
    }
    let dir = scratch();
    let said = havana(dir.path()).arg("doctor").assert().code(1).stderr_eq("").get_output().stdout.clone();
    let said = String::from_utf8(said).unwrap();
    let first = said.lines().next().unwrap();
    assert!(first.starts_with("no Intel PT on this host ("), "{first}");
    assert!(first.contains("analyze, view, simulate and demo work"), "{first}");
    let to_do: Vec<&str> = said.lines().skip_while(|line| *line != "to do:").skip(1).collect();
    assert!(to_do[0].starts_with("  intel_pt: "), "{said}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is written");
}

#[test]
fn json_has_every_check() {
    let dir = scratch();
    let code = if has_pt() { None } else { Some(1) };
    let mut assert = havana(dir.path()).args(["doctor", "--json"]).assert().stderr_eq("");
    if let Some(code) = code {
        assert = assert.code(code);
    }
    let report: Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    assert!(["can", "with limits", "cannot"].contains(&report["outcome"].as_str().unwrap()));
    assert!(report["says"].as_str().unwrap().len() > 20);
    let checks = report["checks"].as_array().unwrap();
    for check in checks {
        let verdict = check["verdict"].as_str().unwrap();
        assert!(["ok", "not ok", "unknown", "note"].contains(&verdict), "{check}");
        assert!(!check["found"].as_str().unwrap().is_empty() && check["prevents"].is_boolean(), "{check}");
        assert!(check["to_do"].is_string() || check["to_do"].is_null(), "{check}");
    }
    for (subject, name) in ALWAYS {
        let there = checks.iter().any(|check| check["subject"] == subject && check["name"] == name);
        assert!(there, "{subject}: {name}: {report:#}");
    }
}

#[test]
fn a_place_that_is_none() {
    let dir = scratch();
    let said =
        havana(dir.path()).args(["doctor", "-o", "no/such/perf.data"]).assert().code(1).get_output().stdout.clone();
    let said = String::from_utf8(said).unwrap();
    let disk = said.lines().find(|line| line.contains(" disk ")).unwrap();
    assert!(disk.contains("not ok") && disk.contains("no/such/perf.data"), "{said}");
}
