//! What is worth knowing of a capture at a glance, so that who looks over a fleet opens none.

use std::collections::BTreeMap;

use havana_store::{Dataset, Epoch, StoreError};
use serde::{Deserialize, Serialize};

/// VMs that are told of, the busiest first.
const VMS: usize = 256;
/// Findings that are told of, the first first.
const FINDINGS: usize = 8;

/// A capture at a glance.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// When it begins and ends, ns since 1970; none where its clock does not count from there.
    pub first_ns: Option<i64>,
    /// See above.
    pub last_ns: Option<i64>,
    /// Its VMs, the busiest first.
    pub vms: Vec<VmSummary>,
    /// How many there are.
    pub vm_count: usize,
    /// The most that was found, the first first.
    pub findings: Vec<FindingSummary>,
    /// How much was found, by severity.
    pub found: BTreeMap<String, usize>,
}

/// A VM of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VmSummary {
    /// Its id in the capture.
    pub vm_id: i32,
    /// What it is called.
    pub name: Option<String>,
    /// What it is called everywhere.
    pub uuid: Option<String>,
    /// How many cpus it had, on average.
    pub cpus: f64,
    /// When its TSC was 0, ns since 1970, and how surely (±): it takes that along where it goes.
    pub born_ns: Option<(i64, i64)>,
}

/// A finding of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FindingSummary {
    /// How much it matters.
    pub severity: String,
    /// What it is.
    pub kind: String,
    /// In plain words.
    pub title: String,
}

impl Summary {
    /// That of a dataset.
    pub(crate) fn of(dataset: &Dataset) -> Result<Summary, StoreError> {
        let manifest = dataset.manifest();
        let clock = manifest.clock.ns().filter(|_| manifest.clock.epoch == Epoch::Unix);
        let ns = |tsc: i64| clock.as_ref().map(|clock| clock.ns(tsc));
        let span = manifest.first_tsc.zip(manifest.last_tsc).map_or(0, |(first, last)| last.saturating_sub(first));
        let mut guest: BTreeMap<i32, f64> = BTreeMap::new();
        for vcpu in dataset.vcpus()? {
            *guest.entry(vcpu.vm_id).or_default() += (vcpu.guest_lo_tsc as f64 + vcpu.guest_hi_tsc as f64) / 2.0;
        }
        let mut vms: Vec<VmSummary> = Vec::new();
        for vm in dataset.vms()? {
            // Its TSC is `tsc * scale + offset`.
            let born = |offset: i64| ns((-(offset as f64) / vm.tsc_scale.unwrap_or(1.0)) as i64);
            let bounds = vm.tsc_offset.and_then(|offset| born(offset.lo).zip(born(offset.hi)));
            vms.push(VmSummary {
                vm_id: vm.vm_id,
                cpus: guest.get(&vm.vm_id).copied().unwrap_or(0.0) / (span as f64).max(1.0),
                born_ns: bounds.map(|(a, b)| (a.midpoint(b), a.abs_diff(b).div_ceil(2).try_into().unwrap_or(i64::MAX))),
                name: vm.name,
                uuid: vm.uuid,
            });
        }
        let vm_count = vms.len();
        vms.sort_by(|a, b| b.cpus.total_cmp(&a.cpus).then(a.vm_id.cmp(&b.vm_id)));
        vms.truncate(VMS);
        let all = dataset.findings()?.unwrap_or_default();
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        all.iter().for_each(|finding| *found.entry(finding.severity.name().into()).or_default() += 1);
        let findings = all.into_iter().take(FINDINGS).map(|finding| FindingSummary {
            severity: finding.severity.name().into(),
            kind: finding.kind.name().into(),
            title: finding.title,
        });
        Ok(Summary {
            first_ns: manifest.first_tsc.and_then(ns),
            last_ns: manifest.last_tsc.and_then(ns),
            vms,
            vm_count,
            findings: findings.collect(),
            found,
        })
    }
}
