//! Two hardware threads of a core share what executes: who runs on one is slower while the other is awake. By how much no trace
//! says, so what is told is a bound: between nothing, and all the time that both were at work.
//!
//! Which cpus share a core the recording says (perf's HEADER_CPU_TOPOLOGY); raw streams do not, and then nothing is told.
//!
//! Low, and never more: the sibling was awake for a quarter of the time that a vCPU ran, and for a twentieth of the dataset's.

use std::collections::BTreeMap;

use havana_store::{Dataset, Manifest};

use crate::finding::{Finding, Kind, Severity, Span, Who};
use crate::grid::Grid;
use crate::ids::ById;
use crate::names::Names;
use crate::slices::{Slice, is_on};
use crate::steal::keep_longest;

/// Where a manifest says which cpus share a core: lists of cpus.
const SETTING: &str = "thread_siblings";

/// How long a vCPU ran, and how long a sibling of its cpu was awake meanwhile: ticks.
#[derive(Debug, Clone, Default)]
struct Shared {
    vm_id: i32,
    on: f64,
    /// By the sibling.
    both: BTreeMap<i32, f64>,
    longest: Vec<Span>,
}

/// What all vCPUs shared.
#[derive(Debug, Default)]
pub(crate) struct Siblings {
    of: BTreeMap<i32, Vec<i32>>,
    vcpus: ById<Shared>,
}

impl Siblings {
    pub(crate) fn of(dataset: &Dataset) -> Siblings {
        Siblings { of: siblings(dataset.manifest()), vcpus: ById::default() }
    }

    pub(crate) fn add(&mut self, slice: &Slice) {
        if self.of.is_empty() {
            return;
        }
        for row in slice.rows.iter().filter(|row| is_on(row)) {
            let (start, end) = slice.inside(row);
            let shared = self.vcpus.or_default(row.vcpu_id);
            shared.vm_id = row.vm_id;
            shared.on += (end - start) as f64;
            for sibling in row.cpu.and_then(|cpu| self.of.get(&cpu)).into_iter().flatten() {
                let idle = slice.idle.get(*sibling).map_or(&[][..], |idle| idle);
                let first = idle.partition_point(|idle| idle.end_tsc <= start);
                let asleep = idle[first..].iter().take_while(|idle| idle.start_tsc < end);
                let asleep: i64 = asleep.map(|idle| idle.end_tsc.min(end) - idle.start_tsc.max(start)).sum();
                *shared.both.entry(*sibling).or_default() += (end - start - asleep) as f64;
                if asleep == 0 && slice.begins(row) {
                    let (vcpu_id, process_id) = (Some(row.vcpu_id), row.process_id);
                    let (start_tsc, end_tsc) = (row.start_tsc, row.end_tsc);
                    keep_longest(
                        &mut shared.longest,
                        Span { cpu: Some(*sibling), vcpu_id, process_id, start_tsc, end_tsc },
                    );
                }
            }
        }
    }
}

/// Of each cpu the others of its core that were recorded.
fn siblings(manifest: &Manifest) -> BTreeMap<i32, Vec<i32>> {
    let cores: Vec<Vec<i32>> = manifest
        .settings
        .other
        .get(SETTING)
        .and_then(|value| serde_json::from_value(value.clone()).ok())
        .unwrap_or_default();
    let mut of: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for core in &cores {
        let seen: Vec<i32> = core.iter().copied().filter(|cpu| manifest.cpus.contains(cpu)).collect();
        for cpu in &seen {
            let others = seen.iter().copied().filter(|other| other != cpu);
            of.entry(*cpu).or_default().extend(others);
        }
    }
    of.retain(|_, others| !others.is_empty());
    of
}

pub(crate) fn findings(siblings: &Siblings, grid: Grid, names: &Names) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, shared) in siblings.vcpus.iter() {
        let Some((sibling, both)) = shared.both.iter().max_by(|a, b| a.1.total_cmp(b.1)) else { continue };
        let part = both / grid.span();
        if *both < 0.25 * shared.on || part < 0.05 {
            continue;
        }
        let title = format!(
            "{} ran for {}, and for {} of it cpu {sibling}, of the same core, was awake, too: that cost it between 0 and as much",
            names.vcpu(id),
            names.length(shared.on),
            names.length(*both),
        );
        let mut finding = Finding::new(Kind::Steal, Severity::Low, part, title);
        finding.sure = 0.5;
        finding.cost = 0.0;
        finding.who = Who { vm_id: Some(shared.vm_id), vcpu_id: Some(id), process_id: None };
        finding.spans.clone_from(&shared.longest);
        findings.push(finding);
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use havana_rows::parquet::{CpuTurn, VcpuTurn};
    use havana_rows::{CpuStateKind, Evidence, VcpuStateKind};

    #[test]
    fn both_are_at_work_while_the_sibling_does_not_sleep() {
        let row = VcpuTurn {
            vcpu_id: 3,
            vm_id: 1,
            start_tsc: 100,
            start_lo_tsc: 100,
            start_hi_tsc: 100,
            end_tsc: 500,
            state: VcpuStateKind::Guest,
            evidence: Evidence::Observed,
            cpu: Some(0),
            process_id: None,
            taken_by: None,
        };
        let idle = |start_tsc, end_tsc| CpuTurn {
            cpu: 4,
            start_tsc,
            end_tsc,
            end_lo_tsc: end_tsc,
            state: CpuStateKind::Idle,
            vm_id: None,
            tid: None,
        };
        let mut manifest = Manifest { cpus: vec![0, 1, 4], ..Manifest::default() };
        manifest.settings.other.insert(SETTING.into(), serde_json::json!([[0, 4], [1, 5]]));
        let mut siblings = Siblings { of: siblings(&manifest), vcpus: ById::default() };
        assert_eq!(siblings.of, [(0, vec![4]), (4, vec![0])].into());
        // Cut in two: nothing counts twice.
        for (from, to) in [(0, 300), (300, 1024)] {
            let mut slice = Slice::new((from, to), vec![row]);
            *slice.idle.or_default(4) = vec![idle(50, 120), idle(280, 320)];
            siblings.add(&slice);
        }
        let shared = siblings.vcpus.get(3).unwrap();
        assert_eq!((shared.on, shared.both[&4]), (400.0, 400.0 - 20.0 - 40.0));
        let found = findings(&siblings, Grid::new(0, 1024).unwrap(), &Names::default());
        assert_eq!((found.len(), found[0].severity), (1, Severity::Low));
        assert!(findings(&siblings, Grid::new(0, 10_000).unwrap(), &Names::default()).is_empty());
    }

    #[test]
    fn a_manifest_that_says_nothing_or_nonsense_has_no_siblings() {
        let mut manifest = Manifest { cpus: vec![0, 1], ..Manifest::default() };
        assert!(siblings(&manifest).is_empty());
        manifest.settings.other.insert(SETTING.into(), serde_json::json!("0,1"));
        assert!(siblings(&manifest).is_empty());
    }
}
