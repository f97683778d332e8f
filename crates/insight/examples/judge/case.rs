//! One scenario, varied, and what was found of it.

use std::collections::BTreeMap;

use havana_insight::Finding;
use havana_insight::Kind;
use havana_store::Dataset;

use crate::play::{Result, play};
use crate::vary::{Truth, Varied, vary};

/// The begin that is told may be off by so much of the time.
const NEAR: f64 = 0.02;

/// What is true, what was found, and of each finding the truths that it tells.
pub(crate) struct Case {
    pub(crate) varied: Varied,
    pub(crate) findings: Vec<Finding>,
    pub(crate) is: Vec<Vec<usize>>,
}

pub(crate) fn case(name: &str, seed: u64) -> Result<Case> {
    let mut varied = vary(name, seed)?;
    let dir = tempfile::tempdir()?;
    let dataset = play(&varied.scenario, dir.path(), &mut varied.rng)?;
    let findings = havana_insight::find(&dataset)?;
    let is = judged(&dataset, &varied, &findings)?;
    Ok(Case { varied, findings, is })
}

/// Of each finding the truths that it tells.
fn judged(dataset: &Dataset, varied: &Varied, findings: &[Finding]) -> Result<Vec<Vec<usize>>> {
    let vms: BTreeMap<i32, i64> = dataset.vms()?.into_iter().map(|vm| (vm.vm_id, vm.host_cr3)).collect();
    let processes: BTreeMap<i32, i64> = dataset.processes()?.into_iter().map(|p| (p.process_id, p.cr3)).collect();
    let tsc_hz = varied.scenario.node.tsc_hz as f64;
    let near = NEAR * varied.scenario.node.seconds * tsc_hz;
    let tells = |finding: &Finding, truth: &Truth| {
        let vm = finding.who.vm_id.and_then(|vm| vms.get(&vm));
        let process = finding.who.process_id.and_then(|process| processes.get(&process));
        let at = truth.at_ms.map(|ms| varied.scenario.node.tsc as f64 + ms * tsc_hz / 1e3);
        finding.kind == truth.kind
            && if truth.vms.is_empty() { vm.is_none() } else { vm.is_some_and(|vm| truth.vms.contains(vm)) }
            && (truth.processes.is_empty() || process.is_some_and(|process| truth.processes.contains(process)))
            && at.is_none_or(|at| {
                let Some(start) = finding.start_tsc else { return false };
                // A moment that is told within bounds lies in them.
                let latest = finding.end_tsc.filter(|_| finding.kind == Kind::Trace).unwrap_or(start);
                (start as f64 - near..=latest as f64 + near).contains(&at)
            })
    };
    let truths = |finding| (0..varied.truths.len()).filter(|t| tells(finding, &varied.truths[*t])).collect();
    Ok(findings.iter().map(truths).collect())
}
