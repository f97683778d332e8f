//! `havana overhead`: where there is nothing to compare, and with what any Linux has.

use std::path::Path;

use crate::cli::{havana, scratch};
use crate::common::skipped;

fn said(args: &[&str], code: i32) -> String {
    let dir = scratch();
    let run = havana(dir.path()).arg("overhead").args(args).assert().code(code).stdout_eq("");
    let said = String::from_utf8(run.get_output().stderr.clone()).unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
    said
}

fn has_kvm_or_pt() -> bool {
    let any = |paths: &[&str]| paths.iter().any(|path| Path::new(path).exists());
    any(&["/sys/bus/event_source/devices/intel_pt/type", "/sys/kernel/tracing/events/kvm"])
        || any(&["/sys/kernel/debug/tracing/events/kvm"])
}

#[test]
fn with_nothing_to_compare_one_line_says_why() {
    if has_kvm_or_pt() {
        skipped("with_nothing_to_compare", "this host has Intel PT or kvm");
        return;
    }
    let said = said(&["--rounds", "2", "--", "true"], 1);
    let begin = "havana: there is nothing to compare with nothing recorded: envelope, envelope (coarse) and full left out: \
                 no Intel PT on this host (";
    assert!(said.starts_with(begin), "{said}");
    assert!(said.contains("; tracepoints left out: "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (args, code, text) in [
        (&["--rounds", "0", "--", "true"][..], 2, "1..=1000"),
        (&["--ways", "moon", "--", "true"], 2, "possible values"),
        (&["--tracepoints", "kvm", "--", "true"], 2, "should be GROUP:NAME"),
        (&["--rounds", "2"], 2, "COMMAND"),
        (&["--ways", "nothing", "--", "true"], 1, "say more --ways"),
    ] {
        let said = said(args, code);
        assert!(said.contains(text), "{args:?}: {said}");
    }
}

/// Tracepoints that every kernel has, where they may be recorded.
#[test]
fn an_experiment_with_tracepoints() {
    if !Path::new("/sys/kernel/tracing/events/sched/sched_switch/id").exists() {
        skipped("an_experiment_with_tracepoints", "tracefs is not mounted, or not to be read");
        return;
    }
    let dir = scratch();
    let run = |args: &[&str], command: &[&str]| {
        let fixed = ["overhead", "--ways", "tracepoints", "--tracepoints", "sched:*", "--buffer", "256K", "-o", "."];
        havana(dir.path()).args(fixed).args(args).arg("--").args(command).assert()
    };
    let out = run(&["--rounds", "2"], &["true"]).get_output().clone();
    if String::from_utf8_lossy(&out.stderr).contains("not permitted") {
        skipped("an_experiment_with_tracepoints", "perf_event_open is not permitted");
        return;
    }
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(text.starts_with("true · 2 rounds after 1 round that does not count\n"), "{text}");
    assert!(text.contains("2 rounds: too few for an interval"), "{text}");

    let json =
        run(&["--rounds", "7", "--json"], &["sleep", "0.02"]).success().stderr_eq("").get_output().stdout.clone();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let ways = json["ways"].as_array().unwrap();
    assert_eq!(ways.len(), 2);
    assert!(ways[0]["runs"].as_array().unwrap().iter().all(|run| run["bytes"] == 0));
    let runs = ways[1]["runs"].as_array().unwrap();
    assert!(runs.len() == 7 && runs.iter().all(|run| run["bytes"].as_u64().unwrap() > 0), "{ways:?}");
    assert!(ways[1]["slowdown"]["interval"]["most"].is_f64());
    assert!(json["tracepoints"].as_array().unwrap().contains(&"sched:sched_switch".into()));

    run(&["--rounds", "2"], &["false"]).code(1);
    run(&["--rounds", "2", "--ignore-status"], &["false"]).success();
    run(&["--rounds", "2"], &["/no/such/program"])
        .code(1)
        .stderr_eq("havana: /no/such/program: No such file or directory (os error 2)\n");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
}
