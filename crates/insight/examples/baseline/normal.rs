//! What is learnt of a scenario, and what is said of another against it.

use havana_insight::{Finding, Kind, Profile, Severity, find, find_against, learn};
use havana_sim::scenario::Process;
use havana_sim::{Rng, Scenario};

use crate::again::{again, programs};
use crate::play::{Result, play};

/// A scenario by its name; `X, doubled`: with a second runaway, in the other VM; `X, runaway`: one
/// that begins half-way; `X, always`: what comes later has always been.
pub(crate) fn scenario(name: &str) -> Result<Scenario> {
    let (named, how) = name.split_once(", ").unwrap_or((name, ""));
    let mut scenario = Scenario::named(named).ok_or_else(|| format!("{named}: no such scenario"))?;
    let runaway = |process: &&Process| process.period_ms == 0.0;
    match how {
        "doubled" => {
            let second: Vec<Process> =
                scenario.vm.iter().flat_map(|vm| &vm.process).filter(runaway).take(1).cloned().collect();
            let other = scenario.vm.iter_mut().find(|vm| !vm.process.iter().any(|process| runaway(&process)));
            other.into_iter().for_each(|vm| vm.process.extend(second.clone()));
        }
        "runaway" => {
            let from_ms = scenario.node.seconds * 500.0;
            let runaway = Process { name: "runaway".into(), period_ms: 0.0, from_ms, ..Process::default() };
            scenario.vm.iter_mut().take(1).for_each(|vm| vm.process.push(runaway.clone()));
        }
        "always" => scenario.vm.iter_mut().flat_map(|vm| &mut vm.process).for_each(|process| process.from_ms = 0.0),
        _ => {}
    }
    Ok(scenario)
}

/// Learns so many captures of a scenario.
pub(crate) fn learnt(name: &str, seeds: impl Iterator<Item = u64>) -> Result<Profile> {
    let dir = tempfile::tempdir()?;
    let one = |seed: u64| -> Result<_> {
        let to = dir.path().join(seed.to_string());
        std::fs::create_dir(&to)?;
        play(&again(scenario(name)?, seed), &to, &mut Rng::new(seed))
    };
    let datasets = seeds.map(one).collect::<Result<Vec<_>>>()?;
    Ok(learn(&datasets)?)
}

/// What is said of a capture, of itself and against a profile.
pub(crate) struct Said {
    pub(crate) alone: Vec<Finding>,
    pub(crate) against: Vec<Finding>,
    /// The runaway process, where there is one.
    pub(crate) culprits: Vec<i32>,
}

pub(crate) fn said(name: &str, seed: u64, profile: &Profile) -> Result<Said> {
    let dir = tempfile::tempdir()?;
    let scenario = again(scenario(name)?, seed);
    let dataset = play(&scenario, dir.path(), &mut Rng::new(seed))?;
    let programs = programs(&scenario, &dataset)?.into_iter();
    let culprits = programs.filter(|(_, name)| name.ends_with(" runaway")).map(|(id, _)| id).collect();
    Ok(Said { alone: find(&dataset)?, against: find_against(&dataset, profile)?, culprits })
}

/// Whether anything is that severe.
pub(crate) fn any(findings: &[Finding], severity: Severity) -> bool {
    findings.iter().any(|finding| finding.severity >= severity && finding.kind != Kind::Trace)
}
