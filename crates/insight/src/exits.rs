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

use crate::changes::changes;
use crate::consumption::LARGEST;
use crate::finding::{Finding, Kind, Severity, Span, Who};
use crate::grid::{BUCKETS, Grid};
use crate::names::Names;
use crate::series::{Series, Track};

/// The exits of a process.
#[derive(Debug, Clone)]
pub(crate) struct Exits {
    pub(crate) count: u64,
    pub(crate) buckets: Vec<f32>,
    pub(crate) reasons: BTreeMap<Option<i32>, u64>,
    /// Those that left an address of the guest's kernel.
    pub(crate) of_kernel: u64,
}

/// Whether an address is of a kernel: in the upper half, of 48 bits or more.
const fn is_of_kernel(ip: i64) -> bool {
    ip >> 47 & 1 == 1
}

/// Counts the exits of each process.
pub(crate) fn count(dataset: &Dataset, grid: Grid) -> Result<BTreeMap<i32, Exits>, StoreError> {
    let mut all: BTreeMap<i32, Exits> = BTreeMap::new();
    dataset.scan(Table::Exits).each(|exit: &ExitOf| {
        let of = all.entry(exit.process_id).or_insert_with(|| Exits {
            count: 0,
            buckets: vec![0.0; BUCKETS],
            reasons: BTreeMap::new(),
            of_kernel: 0,
        });
        of.count += 1;
        of.buckets[grid.bucket(exit.exit_tsc)] += 1.0;
        of.of_kernel += u64::from(exit.guest_ip.is_some_and(is_of_kernel));
        *of.reasons.entry(exit.reason).or_default() += 1;
    })?;
    Ok(all)
}

pub(crate) fn findings(exits: &BTreeMap<i32, Exits>, series: &Series, names: &Names) -> Vec<Finding> {
    let grid = series.grid;
    let root: f64 = series.processes.values().map(|track| track.root).sum();
    let mut findings = Vec::new();
    for (process, track) in series.largest(LARGEST) {
        let Some(of) = exits.get(&process) else { continue };
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
        let rise =
            changes(&parts).into_iter().filter(|c| c.after > 2.0 * c.before).max_by(|a, b| a.after.total_cmp(&b.after));
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
        finding.spans = vec![Span {
            cpu: Track::mostly(&track.cpus),
            vcpu_id: finding.who.vcpu_id,
            process_id: Some(process),
            start_tsc: grid.start(since),
            end_tsc: grid.to,
        }];
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
