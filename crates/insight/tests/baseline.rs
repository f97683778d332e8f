//! Programs are found again in another capture; what was learnt is usual, and what departs from it is told; a page table that
//! two processes had is said to be, and no other.

#![allow(clippy::unwrap_used, reason = "helpers of tests stand outside of them")]

#[path = "../examples/judge/again.rs"]
mod again;
#[allow(dead_code)]
#[path = "../examples/baseline/normal.rs"]
mod normal;
#[path = "../examples/judge/play.rs"]
mod play;

use std::collections::BTreeMap;

use again::{again, programs};
use havana_insight::{Finding, Kind, Prints, Profile, Severity, find, fingerprints, pairs};
use havana_sim::{Rng, Scenario};
use normal::{any, learnt, said};

fn lines(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("{finding}\n")).collect()
}

fn capture(name: &str, seed: u64) -> (Prints, BTreeMap<i32, String>) {
    let scenario = again(Scenario::named(name).unwrap(), seed);
    let dir = tempfile::tempdir().unwrap();
    let dataset = play::play(&scenario, dir.path(), &mut Rng::new(seed)).unwrap();
    (fingerprints(&dataset).unwrap(), programs(&scenario, &dataset).unwrap())
}

#[test]
fn a_program_is_found_again() {
    for name in ["quiet", "noisy-neighbour", "cron-burst"] {
        let ((a, in_a), (b, in_b)) = (capture(name, 11), capture(name, 12));
        let pairs = pairs(&a, &b);
        for (id, program) in &in_a {
            let pair = pairs.iter().find(|pair| pair.a == *id).unwrap_or_else(|| panic!("{name}: {program}"));
            assert_eq!(in_b.get(&pair.b), Some(program), "{name}");
            assert!(pair.or.is_empty() && pair.sure > 0.25, "{name}: {program}: {pair:?}");
        }
    }
}

#[test]
fn two_that_are_alike_are_left_open() {
    let ((a, _), (b, in_b)) = (capture("overcommit", 11), capture("overcommit", 12));
    // Of two VMs of a kind nobody can tell which is which.
    for pair in
        pairs(&a, &b).iter().filter(|pair| in_b.get(&pair.b).is_some_and(|program| program.starts_with("batch")))
    {
        assert!(!pair.or.is_empty() || pair.sure < 0.5, "{pair:?}");
    }
}

#[test]
fn what_was_always_so_is_usual() {
    let quiet = learnt("quiet", 1..6).unwrap();
    for seed in 20..23 {
        let found = said("quiet", seed, &quiet).unwrap().against;
        assert!(!any(&found, Severity::Medium), "{}", lines(&found));
    }
    let runaway = said("quiet, runaway", 20, &quiet).unwrap();
    let first = &runaway.against[0];
    assert_eq!(first.severity, Severity::High, "{}", lines(&runaway.against));
    assert!(runaway.culprits.contains(&first.who.process_id.unwrap()), "{}", lines(&runaway.against));
    assert!(first.title.ends_with("the baseline does not know it"), "{}", first.title);

    let noisy = learnt("noisy-neighbour", 1..6).unwrap();
    let usual = said("noisy-neighbour", 20, &noisy).unwrap();
    assert!(any(&usual.alone, Severity::High) && !any(&usual.against, Severity::Medium), "{}", lines(&usual.against));
    assert!(usual.against.iter().any(|finding| finding.title.ends_with("usual in the baseline")));
    for more in ["noisy-neighbour, doubled", "noisy-neighbour, always"] {
        let said = said(more, 20, &noisy).unwrap();
        assert_eq!(said.against[0].severity, Severity::High, "{more}:\n{}", lines(&said.against));
        assert!(said.culprits.contains(&said.against[0].who.process_id.unwrap()), "{more}:\n{}", lines(&said.against));
    }
}

#[test]
fn a_profile_is_the_same_each_time_and_in_its_file() {
    let profile = learnt("quiet", 1..4).unwrap();
    let again = learnt("quiet", (1..4).rev()).unwrap();
    assert_eq!(profile.to_json(), again.to_json());
    assert_eq!(Profile::from_json(&profile.to_json()).unwrap(), profile);
    assert_eq!((profile.datasets, profile.vms.len()), (3, 2));
    let programs: usize = profile.vms.iter().map(|vm| vm.processes.iter().filter(|p| p.datasets == 3).count()).sum();
    assert_eq!(programs, 3);
}

/// A job that has a cpu's half for a second ends; a second later another that works at another rhythm has its page table.
const REUSED: &str = "
[node]
seconds = 4.0
cpus = 2
[[vm]]
name = \"a\"
[[vm.process]]
name = \"web\"
period_ms = 7
burst_ms = 0.4
[[vm.process]]
name = \"job\"
period_ms = 12
burst_ms = 6
until_ms = 1200
[[vm.process]]
name = \"later\"
from_ms = 2400
period_ms = 3
burst_ms = 0.3
forks = true
cpuids = 0
";

#[test]
fn a_page_table_that_two_had_is_said_to_be() {
    let two = |scenario: &Scenario| -> Vec<Finding> {
        let dir = tempfile::tempdir().unwrap();
        let found = find(&play::play(scenario, dir.path(), &mut Rng::new(1)).unwrap()).unwrap();
        found.into_iter().filter(|finding| finding.title.contains("is probably two")).collect()
    };
    for seed in 1..4 {
        let mut scenario = Scenario::parse(REUSED).unwrap();
        scenario.node.seed = seed;
        let found = two(&scenario);
        let [finding] = &found[..] else { panic!("{seed}: {}", lines(&found)) };
        assert_eq!((finding.kind, finding.severity), (Kind::Trace, Severity::Low));
        assert!(finding.sure >= 0.5 && finding.sure <= 0.9, "{}", finding.sure);
        // The same program again after that time is one, for all that is seen.
        scenario.vm[0].process[2] = havana_sim::scenario::Process {
            from_ms: 2400.0,
            until_ms: 0.0,
            forks: true,
            cpuids: 0,
            ..scenario.vm[0].process[1].clone()
        };
        assert_eq!(lines(&two(&scenario)), "", "{seed}");
    }
    for name in ["quiet", "cron-burst", "noisy-neighbour"] {
        assert_eq!(lines(&two(&Scenario::named(name).unwrap())), "", "{name}");
    }
}
