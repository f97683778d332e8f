//! Exits out of proportion.
//!
//! Exits cost what a vCPU is in root for them. A guest that mostly sleeps has many for the little it runs, so neither a rate
//! nor a part of its own time says much. A storm is told where a process spends more in root than all other guest
//! processes of the node together, and a third of its own time on cpus.
//!
//! The score is its time in root as a part of one cpu. High: a quarter of a cpu. Medium: a twentieth. What is less is not
//! told: it may be more than the others have, and still be little.

use std::collections::BTreeMap;

use havana_rows::parquet::{ExitOf, Table};
use havana_rows::reason;
use havana_store::{Dataset, StoreError};

use crate::changes::{changes, onset};
use crate::consumption::LARGEST;
use crate::finding::{Finding, Kind, Severity, Span, Who};
use crate::grid::{BUCKETS, Grid};
use crate::ids::ById;
use crate::names::Names;
use crate::series::{Series, Track};
use crate::steal::Steal;
use crate::words;

/// The exits of a process.
#[derive(Debug, Clone)]
pub(crate) struct Exits {
    pub(crate) count: u64,
    pub(crate) buckets: Vec<f32>,
    pub(crate) reasons: BTreeMap<Option<i32>, u64>,
    /// Those that left an address of the guest's kernel.
    pub(crate) of_kernel: u64,
    /// Halts, by the interrupt that the guest took first then.
    pub(crate) halts: BTreeMap<Option<i32>, u64>,
}

/// Whether an address is of a kernel: in the upper half, of 48 bits or more.
const fn is_of_kernel(ip: i64) -> bool {
    ip >> 47 & 1 == 1
}

/// Counts the exits of each process.
pub(crate) fn count(dataset: &Dataset, grid: Grid) -> Result<ById<Exits>, StoreError> {
    let mut all: ById<Exits> = ById::default();
    let new = || Exits {
        count: 0,
        buckets: vec![0.0; BUCKETS],
        reasons: BTreeMap::new(),
        of_kernel: 0,
        halts: BTreeMap::new(),
    };
    dataset.scan(Table::Exits).each(|exit: &ExitOf| {
        let of = all.or_insert_with(exit.process_id, new);
        of.count += 1;
        of.buckets[grid.bucket(exit.exit_tsc)] += 1.0;
        of.of_kernel += u64::from(exit.guest_ip.is_some_and(is_of_kernel));
        *of.reasons.entry(exit.reason).or_default() += 1;
        if exit.reason == Some(reason::HLT) {
            *of.halts.entry(exit.reentry_vector).or_default() += 1;
        }
    })?;
    Ok(all)
}

pub(crate) fn findings(exits: &ById<Exits>, series: &Series, steal: &Steal, names: &Names) -> Vec<Finding> {
    let grid = series.grid;
    let root: f64 = series.processes.values().map(|track| track.root).sum();
    let mut findings = Vec::new();
    for (process, track) in series.largest(LARGEST) {
        let Some(of) = exits.get(process) else { continue };
        if track.root < root / 2.0 || track.root < track.total() / 3.0 {
            continue;
        }
        let share = track.root / grid.span();
        let severity = match () {
            () if share >= 0.25 => Severity::High,
            () if share >= 0.05 => Severity::Medium,
            () => continue,
        };
        let rates: Vec<f64> = of.buckets.iter().map(|count| f64::from(*count)).collect();
        let most = rates.iter().copied().fold(1.0, f64::max);
        let parts: Vec<f64> = rates.iter().map(|rate| rate / most).collect();
        let rise = onset(&parts, &changes(&parts)).map(|(rise, _)| rise);
        let from = rise.map(|rise| grid.start(rise.at));
        let since = rise.map_or(0, |rise| rise.at);
        let count: f64 = rates[since..].iter().sum();
        let ticks = (grid.to - grid.start(since)) as f64;
        let why = of.reasons.iter().filter_map(|(why, n)| why.map(|why| (*n, why))).max();
        let why = why.map_or(String::new(), |(n, why)| {
            format!(", {} of them {}", names.percent(n as f64 / of.count.max(1) as f64), reason::name(why))
        });
        let title = format!(
            "{} left its guest {}{}{why}; handling that took {} of a cpu",
            names.process_of(track.vm_id, process),
            names.often(count, ticks),
            from.map_or(String::new(), |from| format!(" from {} on", names.moment(from))),
            names.percent(share),
        );
        let mut finding = Finding::new(Kind::Exits, severity, share, title);
        finding.who = Who { vm_id: Some(track.vm_id), vcpu_id: Track::mostly(&track.vcpus), process_id: Some(process) };
        finding.start_tsc = from;
        finding.cost = steal.cost(track.vm_id, process, series);
        finding.spans = vec![Span {
            cpu: Track::mostly(&track.cpus),
            vcpu_id: finding.who.vcpu_id,
            process_id: Some(process),
            start_tsc: grid.start(since),
            end_tsc: grid.to,
        }];
        findings.push(finding);
    }
    findings.extend(vms(&findings, series, names));
    findings
}

/// What ended the halts of each VM, where events say that it halted, and which interrupt its guest took then: low, to be known.
pub(crate) fn halts(exits: &ById<Exits>, series: &Series, names: &Names) -> Vec<Finding> {
    let mut vms: BTreeMap<i32, BTreeMap<Option<i32>, u64>> = BTreeMap::new();
    for (process, of) in exits.iter() {
        let Some(track) = series.processes.get(process) else { continue };
        let vm = vms.entry(track.vm_id).or_default();
        of.halts.iter().for_each(|(vector, count)| *vm.entry(*vector).or_default() += count);
    }
    let mut findings = Vec::new();
    for (vm, by) in vms {
        let all: u64 = by.values().sum();
        let mut most: Vec<(i32, u64)> = by.iter().filter_map(|(vector, count)| Some(((*vector)?, *count))).collect();
        most.sort_by_key(|(vector, count)| (std::cmp::Reverse(*count), *vector));
        if all < HALTS || most.is_empty() {
            continue;
        }
        let part = |count: u64| names.percent(count as f64 / all as f64);
        let told: u64 = most.iter().map(|(_, count)| count).sum();
        let mut title = format!("{} halted {} times", names.vm(vm), words::count(all));
        for (at, (vector, count)) in most.iter().take(3).enumerate() {
            let ended = if at == 0 { "; its interrupt ended" } else { "," };
            title += &format!("{ended} {} ({vector:#x}{})", part(*count), linux(*vector));
        }
        if told < all {
            title += &format!("; of {} nothing says what did", part(all - told));
        }
        let mut finding = Finding::new(Kind::Waiting, Severity::Low, 0.0, title);
        finding.cost = 0.0;
        finding.who.vm_id = Some(vm);
        finding.spans = vec![series.grid.whole()];
        findings.push(finding);
    }
    findings
}

/// Fewer halts are not worth a word.
const HALTS: u64 = 20;

/// What a guest's vector is, if that is Linux (arch/x86/include/asm/irq_vectors.h).
const fn linux(vector: i32) -> &'static str {
    match vector {
        0xec => ", Linux's local timer",
        0xf2 | 0xf3 => ", Linux's hypervisor callback",
        0xfb => ", Linux's call of a function, from another vCPU",
        0xfc => ", Linux's call of functions, from another vCPU",
        0xfd => ", Linux's reschedule, from another vCPU",
        _ => "",
    }
}

/// VMs whose time in root is out of proportion, and no process of theirs was told: at least a third of their time, and twice
/// the part that it is of all other VMs' time.
///
/// The score is the time in root as a part of one cpu. Medium: a quarter. Low: a twentieth.
fn vms(told: &[Finding], series: &Series, names: &Names) -> Vec<Finding> {
    let mut vms: BTreeMap<i32, [f64; 2]> = BTreeMap::new();
    for track in series.processes.values() {
        let [root, all] = vms.entry(track.vm_id).or_default();
        (*root, *all) = (*root + track.root, *all + track.total());
    }
    let sum = |at: usize| vms.values().map(|of| of[at]).sum::<f64>();
    let [root_of_all, all] = [sum(0), sum(1)];
    let mut findings = Vec::new();
    for (vm, [root, total]) in &vms {
        let (part, others) = (root / total.max(1.0), (root_of_all - root) / (all - total).max(1.0));
        let share = root / series.grid.span();
        let out_of_proportion = vms.len() > 1 && part >= 1.0 / 3.0 && part >= 2.0 * others && share >= 0.05;
        if !out_of_proportion || told.iter().any(|finding| finding.who.vm_id == Some(*vm)) {
            continue;
        }
        let severity = if share >= 0.25 { Severity::Medium } else { Severity::Low };
        let title = format!(
            "{} is in the hypervisor for {} of its time on cpus, and others are for {}",
            names.vm(*vm),
            names.percent(part),
            names.percent(others)
        );
        let mut finding = Finding::new(Kind::Exits, severity, share, title);
        finding.who.vm_id = Some(*vm);
        finding.spans = vec![series.grid.whole()];
        findings.push(finding);
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_half_is_the_kernels() {
        let upper = [0xffff_ffff_8107_3914_u64, 0xffff_8107_3914, 0xff11_8000_0000_1000];
        assert!(upper.iter().all(|ip| is_of_kernel(*ip as i64)));
        assert!([0x40_1000, 0x7fff_f7dd_1000].iter().all(|ip| !is_of_kernel(*ip)));
    }
}
