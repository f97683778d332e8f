//! `havana diff`: two datasets, two stretches of one, and what is refused.

use serde_json::Value;
use snapbox::file;

use crate::cli::{havana, scratch};
use crate::common::{analyze, bundled, recording};

/// The bundled capture whose hog begins half-way, as a dataset.
fn hog() -> tempfile::TempDir {
    let dir = scratch();
    analyze(&bundled("hog-vma"), &dir.path().join("hog.havana"));
    dir
}

#[test]
fn before_and_after_a_hog_began() {
    let dir = hog();
    let command = ["diff", "hog.havana", "--a-to", "0.9", "--b-from", "1.3"];
    havana(dir.path()).args(command).assert().success().stderr_eq("").stdout_eq(file!["snapshots/diff.txt"]);
    let short = havana(dir.path()).args(command).args(["--top", "1"]).assert().success();
    let short = String::from_utf8(short.get_output().stdout.clone()).unwrap();
    assert_eq!(short.lines().filter(|line| line.contains(" → ")).count(), 1, "{short}");
}

#[test]
fn json_has_the_same_and_who_it_is() {
    let dir = hog();
    let out = havana(dir.path())
        .args(["diff", "hog.havana", "--json", "--a-to", "0.9", "--b-from", "1.3"])
        .assert()
        .success()
        .stderr_eq("");
    let found: Value = serde_json::from_slice(&out.get_output().stdout).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    let change = &found["changes"][0];
    let said = [("diff", &found), ("side", &found["a"]), ("change", change), ("ids", &change["a_ids"])];
    let said: String = said.iter().map(|(name, value)| format!("{name}: {}\n", keys(value))).collect();
    snapbox::assert_data_eq!(said, file!["snapshots/diff-keys.txt"].raw());
    assert_eq!(
        (&change["kind"], &change["told"], &change["presence"]),
        (&"process".into(), &true.into(), &"both".into())
    );
    assert!(change["a"].as_f64() < change["b"].as_f64() && change["sure"].as_f64() > Some(0.99), "{change}");
    assert!(change["a_ids"]["process_ids"][0].is_i64() && change["a_ids"] == change["b_ids"], "{change}");
}

#[test]
fn one_trace_twice_is_no_change_and_what_has_no_name_is_matched_by_its_clock() {
    let dir = hog();
    analyze(&bundled("hog-vma"), &dir.path().join("again.havana"));
    // A dataset that stands twice is one, so times that overlap are refused.
    let command = ["diff", "hog.havana", "again.havana"];
    let refused = havana(dir.path()).args(command).assert().code(1).stdout_eq("");
    let said = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
    assert!(
        said.starts_with("havana: again.havana: both sides have the time from 0 to 3.5") && said.lines().count() == 1,
        "{said}"
    );

    // A part of it is another dataset: its VMs have their clocks.
    let part = |name: &str, times: &[&str]| {
        havana(dir.path())
            .args(["analyze", "--quiet", "-o", name])
            .arg(bundled("hog-vma"))
            .args(times)
            .assert()
            .success();
    };
    part("before.havana", &["--to", "0.9"]);
    part("after.havana", &["--from", "1.3", "--node", "unknown"]);
    let out = havana(dir.path()).args(["diff", "before.havana", "after.havana", "--json"]).assert().success();
    let found: Value = serde_json::from_slice(&out.get_output().stdout).unwrap();
    let first = &found["changes"][0];
    assert_eq!((&first["kind"], &first["matched_by"]), (&"process".into(), &"cr3".into()), "{first}");
    assert_eq!(found["unmatched_a"], Value::Array(Vec::new()), "{found}");
    let vms = found["changes"].as_array().unwrap().iter().filter(|change| change["kind"] == "guest");
    assert!(vms.clone().count() > 0 && vms.clone().all(|vm| vm["matched_by"] == "clock"), "{found}");
}

#[test]
fn other_nodes_vms_are_not_taken_for_these() {
    let dir = hog();
    analyze(&bundled("smp-idle"), &dir.path().join("other.havana"));
    let out = havana(dir.path()).args(["diff", "hog.havana", "other.havana"]).assert().success();
    let text = String::from_utf8(out.get_output().stdout.clone()).unwrap();
    assert!(text.contains("not compared: A's VM 0 (") && text.contains("nothing says who that is in B"), "{text}");
    assert!(!text.contains("  VM "), "{text}");
}

#[test]
fn ticks_where_no_rate_is_known() {
    let dir = scratch();
    let raw = dir.path().join("raw");
    std::fs::create_dir(&raw).unwrap();
    std::fs::copy(bundled("hog-vma").join("cpu0.pt"), raw.join("cpu0.pt")).unwrap();
    analyze(&raw, &dir.path().join("raw.havana"));
    let out = havana(dir.path())
        .args(["diff", "raw.havana", "--a-to", "1890000000", "--b-from", "2730000000"])
        .assert()
        .success();
    let text = String::from_utf8(out.get_output().stdout.clone()).unwrap();
    assert!(text.contains("A  raw.havana · node unknown · 0 to 1,890,000,000 ticks"), "{text}");
    assert!(text.contains("process 0x5622000  on a cpu"), "{text}");
}

#[test]
fn what_cannot_be_compared_is_said_in_a_line() {
    let dir = hog();
    analyze(&recording("piped"), &dir.path().join("short.havana"));
    for (args, code, text) in [
        (&["hog.havana"][..], 1, "hog.havana alone: give another dataset, or two stretches of its time"),
        (&["hog.havana", "--a-to", "2", "--b-from", "1"], 1, "both sides have the time from 1 to 2 s"),
        (&["hog.havana", "--a-from", "7", "--b-to", "1"], 1, "hog.havana: there is nothing from 7 to 3.5"),
        (&["hog.havana", "--a-from", "2", "--a-to", "1"], 1, "there is nothing from 2 to 1: it has 0 to 3.5"),
        (&["hog.havana", "none.havana"], 1, "none.havana"),
        (&["hog.havana", "."], 1, "manifest"),
        (&["hog.havana", "short.havana", "--a-to", "soon"], 2, "invalid"),
        (&["hog.havana", "short.havana", "--view", "--json"], 2, "cannot be used with"),
        (&["hog.havana", "short.havana", "--view", "--top", "3"], 2, "cannot be used with"),
        (&["hog.havana", "short.havana", "--port", "7117"], 2, "--view"),
        (&["hog.havana", "short.havana", "--no-open"], 2, "--view"),
        (&["hog.havana", "none.havana", "--view", "--no-open"], 1, "none.havana"),
        (&[], 2, "<A>"),
    ] {
        let run = havana(dir.path()).arg("diff").args(args).assert().code(code).stdout_eq("");
        let said = String::from_utf8(run.get_output().stderr.clone()).unwrap();
        assert!(said.contains(text), "{args:?}: {said}");
        assert!(code == 2 || said.lines().count() == 1, "{args:?}: {said}");
    }
}
