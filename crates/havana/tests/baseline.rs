//! A profile of normal, and the same program in another capture of a real kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use havana_insight::{Prints, fingerprints, pairs};
use havana_store::Dataset;
use snapbox::str;

use crate::cli::{havana, scratch};
use crate::common::{analyze, at_hand};

/// Guest processes that are known by what they are, and what the truth says that they are.
fn programs(dataset: &Dataset, capture: &Path) -> BTreeMap<i32, BTreeSet<String>> {
    let summary = fs::read_to_string(capture.join("summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    let vms: BTreeMap<i64, i32> = dataset.vcpus().unwrap().iter().map(|vcpu| (vcpu.vmcs, vcpu.vm_id)).collect();
    let processes = dataset.processes().unwrap();
    let mut programs: BTreeMap<i32, BTreeSet<String>> = BTreeMap::new();
    for space in summary["guest_address_spaces"].as_array().unwrap() {
        let address = |key: &str| i64::from_str_radix(space[key].as_str().unwrap(), 16).unwrap();
        let Some(vm) = vms.get(&address("vmcs")) else { continue };
        let cr3 = address("pip_cr3") & !0x1fff;
        let Some(process) = processes.iter().find(|p| p.vm_id == Some(*vm) && p.cr3 == cr3) else { continue };
        let said = space["markers"].as_object().unwrap().keys();
        let said = said.filter_map(|marker| Some(marker.split(" pid").next()?.to_string()));
        programs.entry(process.process_id).or_default().extend(said);
    }
    programs.retain(|_, programs| programs.len() == 1);
    programs
}

#[test]
fn a_program_is_found_again_in_another_capture() {
    let test = "a_program_is_found_again_in_another_capture";
    let Some(captures) = at_hand(test, "captures") else { return };
    let dir = scratch();
    let of = |name: &str| -> (Prints, BTreeMap<i32, BTreeSet<String>>) {
        let dataset = dir.path().join(name);
        let dataset =
            if dataset.exists() { Dataset::open(&dataset).unwrap() } else { analyze(&captures.join(name), &dataset) };
        (fingerprints(&dataset).unwrap(), programs(&dataset, &captures.join(name)))
    };
    for (one, other) in [("hog-vma", "both-hog"), ("idle-two-vms", "idle-cyc")] {
        let ((a, in_a), (b, in_b)) = (of(one), of(other));
        let mut found = BTreeSet::new();
        for pair in pairs(&a, &b) {
            // Both VMs run the same programs: which of the two it is need not be told.
            let (Some(mine), all) = (in_a.get(&pair.a), [&[pair.b], &pair.or[..]].concat()) else { continue };
            for its in all.iter().filter_map(|id| in_b.get(id)) {
                assert_eq!(mine, its, "{one} and {other}: {pair:?}");
                found.extend(mine.iter().cloned());
            }
        }
        for program in ["web", "dbase", "ctl"].into_iter().chain((one == "hog-vma").then_some("hog")) {
            assert!(found.contains(program), "{one} and {other}: {program} of {found:?}");
        }
    }
}

#[test]
fn learn_and_hold_against() {
    let dir = scratch();
    let run = |args: &[&str]| havana(dir.path()).args(args).assert();
    for (seed, day) in ["1", "2", "3"].into_iter().zip(["mon", "tue", "wed"]) {
        run(&["simulate", "quiet", "--seed", seed, "-o", day, "--no-truth"]).success();
        run(&["analyze", day, "--quiet"]).success();
    }
    run(&["learn", "mon.havana", "tue.havana", "wed.havana", "-o", "normal.json"]).success().stderr_eq("").stdout_eq(
        str![[r#"
learnt of 3 datasets: 2 VMs, [..] processes
profile  normal.json

"#]],
    );
    run(&["learn", "mon.havana", "-o", "normal.json"]).code(1).stderr_eq(str![[r#"
havana: normal.json: exists already; --force replaces it

"#]]);
    run(&["learn", "wed.havana", "tue.havana", "mon.havana", "-o", "again.json"]).success();
    let [one, other] = ["normal.json", "again.json"].map(|name| fs::read_to_string(dir.path().join(name)).unwrap());
    assert_eq!(one, other, "the order of datasets");

    run(&["simulate", "noisy-neighbour", "-o", "thu", "--no-truth"]).success();
    let alert = ["--baseline", "normal.json", "--alert", "consumption:high"];
    let said = str![[r#"
high consumption: VM [..]: process [..] took [..] % of cpu 0 from [..] on; VM [..] waited at most [..] for it; the baseline does not know it

"#]];
    run(&[&["analyze", "thu"], &alert[..]].concat()).code(3).stderr_eq("").stdout_eq(said.clone());
    // In the dataset, and anew.
    run(&["report", "thu.havana", "--alert", "consumption:high"]).code(3).stdout_eq(said.clone());
    run(&[&["report", "thu.havana"], &alert[..]].concat()).code(3).stdout_eq(said);
    run(&["learn", "thu.havana", "-o", "noisy.json"]).success();
    run(&["report", "thu.havana", "--baseline", "noisy.json", "--alert", "any:medium"]).success().stdout_eq("");

    fs::write(dir.path().join("none.json"), "{}").unwrap();
    run(&["report", "thu.havana", "--baseline", "none.json"]).code(1).stdout_eq("").stderr_eq(str![[r#"
havana: none.json: no profile of HAVAna: missing field `format` at line 1 column 2

"#]]);
}
