//! perf reads what is simulated: its own tool, written apart from us, takes every record and every packet of a simulated
//! perf.data without an error, and finds the TSC offsets that its guests were given.

#![allow(clippy::unwrap_used, reason = "helpers of tests stand outside of them")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use havana_sim::hw::{Hw, Watch};
use havana_sim::scenario::Form;
use havana_sim::{NAMED, Node, Recording, Scenario};

/// What `perf` says, and whether it was content. `None` where there is no such program.
fn perf(test: &str, args: &[&str], file: &Path) -> Option<(String, bool)> {
    let ran = Command::new("perf").args(args).arg("-i").arg(file).env("LC_ALL", "C").output();
    let Ok(ran) = ran else {
        let _ = writeln!(std::io::stderr(), "skipped: {test}: perf is not installed");
        return None;
    };
    let said = [ran.stdout, ran.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    Some((said, ran.status.success()))
}

/// The clock of each VMCS at its entries, and how many there were.
#[derive(Default)]
struct Clocks(BTreeMap<u64, (BTreeSet<i64>, usize)>);

impl Watch for Clocks {
    fn see(&mut self, _: usize, _: i64, hw: &Hw) {
        if let Hw::Enter { vmcs, clock, .. } = *hw {
            let entry = self.0.entry(vmcs).or_default();
            entry.0.insert(clock.offset);
            entry.1 += 1;
        }
    }
}

/// Plays a scenario into a perf.data.
fn play(scenario: &Scenario, dir: &Path) -> Clocks {
    let mut node = Node::new(scenario);
    let recording = Recording::new(scenario, &node, |name| File::create(dir.join(name))).unwrap();
    let mut watch = (recording, Clocks::default());
    node.run(&mut watch);
    watch.0.finish(node.end()).unwrap();
    watch.1
}

/// Small ones of each kind. perf follows branches in the code that ran, which is nowhere: only their packets are asked
/// for. An overflow is an error to it.
fn scenarios() -> impl Iterator<Item = (String, Scenario)> {
    let named = NAMED.iter().map(|(name, _)| ((*name).to_string(), Scenario::named(name).unwrap()));
    let random = (0..30).map(|seed| (format!("random {seed}"), Scenario::random(seed)));
    let lossy = (0..30).map(|seed| (format!("lossy {seed}"), Scenario::random_lossy(seed)));
    named.chain(random).chain(lossy).map(|(name, mut scenario)| {
        scenario.trace.form = Form::Perf;
        scenario.node.seconds = scenario.node.seconds.min(0.2);
        scenario.node.cpus = scenario.node.cpus.min(4);
        (name, scenario)
    })
}

#[test]
fn perf_script_reads_every_record_and_every_packet() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("perf.data");
    let mut lines = 0;
    for (name, mut scenario) in scenarios() {
        // What a processor gets wrong perf does not expect where bytes are no packets, nor that a ring begins amid one.
        scenario.trace.errata.clear();
        scenario.trace.snapshot_kb = 0;
        play(&scenario, dir.path());
        let Some((said, content)) = perf("perf_script", &["script", "-D"], &file) else { return };
        let bad = |line: &&str| {
            let line = line.to_lowercase();
            // Whose records are lost, it warns of.
            ["bad packet", "unknown", "invalid", "failed", "error"].iter().any(|what| line.contains(what))
        };
        let bad: Vec<&str> = said.lines().filter(bad).take(5).collect();
        assert!(content && bad.is_empty(), "{name}: {bad:#?}");
        lines += said.lines().count();
        if scenario.trace.branches || scenario.loses() {
            continue;
        }
        // And decodes them: who ran, when.
        let Some((said, content)) = perf("perf_script", &["script", "--itrace=ibxwpeo"], &file) else { return };
        let errors: Vec<&str> = said.lines().filter(|line| line.contains("error")).take(5).collect();
        assert!(content && errors.is_empty(), "{name}: {errors:#?}");
    }
    println!("perf script: {lines} lines of records and packets, no error");
}

#[test]
fn perf_inject_finds_the_offsets_of_the_guests() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("perf.data");
    let (mut found, mut of) = (0, 0);
    for name in ["quiet", "noisy-neighbour", "overcommit", "cron-burst", "exit-storm", "throttled"] {
        let mut scenario = Scenario::named(name).unwrap();
        scenario.trace.form = Form::Perf;
        // Its guess needs PSBs in the guests.
        scenario.trace.psb_bytes = 2048;
        let Clocks(clocks) = play(&scenario, dir.path());
        let args = ["inject", "--vm-time-correlation=dry-run"];
        let Some((said, content)) = perf("perf_inject", &args, &file) else { return };
        assert!(content, "{name}: {said}");
        let mut told: BTreeSet<u64> = BTreeSet::new();
        for line in said.lines() {
            // VMCS: 0x300006  TSC Offset 0xfffffffc41924947
            let Some((vmcs, offset)) = line.strip_prefix("VMCS: ").and_then(|rest| rest.split_once("TSC Offset"))
            else {
                continue;
            };
            let hex = |text: &str| u64::from_str_radix(text.trim().trim_start_matches("0x"), 16).unwrap();
            let (vmcs, offset) = (hex(vmcs) << 12, hex(offset).cast_signed());
            assert_eq!(clocks[&vmcs].0, [offset].into(), "{name}: VMCS {vmcs:x}");
            told.insert(vmcs);
        }
        found += told.len();
        of += clocks.len();
        println!("{name}: {} of {} VMCSs", told.len(), clocks.len());
    }
    println!("perf inject: {found} of {of} TSC offsets, each the one that was simulated");
    assert!(found * 2 > of, "{found} of {of}");
}
