//! From a wake-up to the run: how long a vCPU may have waited for a cpu after it was woken, as bounds.
//!
//! No packet says when a thread becomes runnable, and no record of a switch does. But a thread that can run waits for a cpu
//! only while that cpu is not idle: so it was woken no earlier than its cpu last slept, and no earlier than it left the cpu
//! itself. The delay is between 0 and the time from the later of these two to the run. Both are taken from the bounds of
//! the rows, so that the upper bound holds to the tick; it holds for the cpu that it ran on, and, where it had left
//! another, for both: the scheduler may have moved it while it waited. What a sleeping cpu takes to wake up is not in it.
//!
//! Where another address space had the cpu in that time, it is named: it may have been waited for. Of that time nothing is
//! told twice: a vCPU that is told as preempted has its time in [`crate::steal`].
//!
//! Always low and the last of these, since all of it only may be: told where the upper bounds of a vCPU together are a twentieth of the dataset's
//! time. The score is that part.

use std::collections::BTreeMap;

use havana_rows::{CpuStateKind, Evidence, Taker, TakerKind, VcpuStateKind};
use havana_store::{Dataset, StoreError};

use crate::finding::{Finding, Kind, Severity, Span, Who};
use crate::grid::Grid;
use crate::ids::ById;
use crate::names::Names;
use crate::slices::{self, Slice, is_on};
use crate::steal::{Culprit, keep_longest};

/// A vCPU that was off its cpu and runs again, and perhaps was woken in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wakeup {
    /// Which.
    pub vcpu_id: i32,
    /// The cpu it runs on again.
    pub cpu: i32,
    /// Not before this it left its cpu.
    pub off_lo_tsc: i64,
    /// When it runs: the best estimate.
    pub run_tsc: i64,
    /// Not later than this it runs.
    pub run_hi_tsc: i64,
    /// From the wake-up to the run while the cpu was awake, ticks: not less.
    pub lo_tsc: i64,
    /// And not more.
    pub hi_tsc: i64,
    /// It waited; else it may as well have been preempted, and [`stolen`](crate::stolen()) has its time.
    pub waited: bool,
}

/// A vCPU while it is off its cpu.
#[derive(Debug, Clone, Copy)]
struct Off {
    cpu: Option<i32>,
    /// Not before this it left.
    since_lo: i64,
    /// A record says that it could run all the time: nobody woke it.
    runnable: bool,
    waited: bool,
}

/// Follows the vCPUs and the sleep of cpus.
#[derive(Debug, Default)]
pub(crate) struct Follow {
    off: ById<Option<Off>>,
    last_cpu: ById<Option<i32>>,
    /// Of each cpu the end of its last sleep, not before.
    slept: ById<i64>,
}

impl Follow {
    /// Gives each wake-up whose run begins in the slice.
    pub(crate) fn add(&mut self, slice: &Slice, mut take: impl FnMut(&Wakeup)) {
        for row in slice.rows.iter().filter(|row| slice.begins(row)) {
            let off = self.off.or_default(row.vcpu_id);
            if !is_on(row) {
                // What is lost or unknown says nothing of it.
                let known = !matches!(row.state, VcpuStateKind::Lost | VcpuStateKind::Unknown);
                let runnable = row.state == VcpuStateKind::Preempted && row.evidence == Evidence::Observed;
                let waited = matches!(row.state, VcpuStateKind::Waiting | VcpuStateKind::OffCpu);
                let cpu = *self.last_cpu.or_default(row.vcpu_id);
                let now = Off { cpu, since_lo: row.start_lo_tsc, runnable, waited };
                match off {
                    _ if !known => *off = None,
                    Some(off) => {
                        off.runnable &= runnable;
                        off.waited |= waited;
                    }
                    None => *off = Some(now),
                }
                continue;
            }
            let off = off.take();
            let Some(cpu) = row.cpu else { continue };
            *self.last_cpu.or_default(row.vcpu_id) = Some(cpu);
            let Some(off) = off.filter(|off| !off.runnable) else { continue };
            let slept = |cpu: i32| {
                let idle = slice.idle.get(cpu).map_or(&[][..], |idle| idle);
                let before = idle.partition_point(|idle| idle.start_tsc < row.start_tsc).checked_sub(1);
                // Its estimated end may lie after a run that ended it.
                let here = before.map(|at| idle[at].end_lo_tsc);
                here.or_else(|| self.slept.get(cpu).copied()).unwrap_or(i64::MIN)
            };
            let left = off.cpu.filter(|left| *left != cpu).map_or(i64::MAX, slept);
            let woken = slept(cpu).min(left).max(off.since_lo);
            take(&Wakeup {
                vcpu_id: row.vcpu_id,
                cpu,
                off_lo_tsc: off.since_lo,
                run_tsc: row.start_tsc,
                run_hi_tsc: row.start_hi_tsc,
                lo_tsc: 0,
                hi_tsc: row.start_hi_tsc - woken,
                waited: off.waited,
            });
        }
        for (cpu, idle) in slice.idle.iter() {
            if let Some(last) = idle.last() {
                *self.slept.or_default(cpu) = last.end_lo_tsc;
            }
        }
    }
}

/// Gives each run of a vCPU that was woken, or may have been.
///
/// # Errors
/// Those of reading the dataset.
pub fn wakeups(dataset: &Dataset, mut take: impl FnMut(&Wakeup)) -> Result<(), StoreError> {
    let Some(grid) = Grid::of(dataset) else { return Ok(()) };
    let mut follow = Follow::default();
    slices::each(dataset, grid, |slice| follow.add(slice, &mut take))
}

/// Delays that a vCPU may have had.
#[derive(Debug, Clone, Default)]
struct Delays {
    vm_id: i32,
    count: u64,
    /// Upper bounds, all together.
    ticks: f64,
    /// Who had the cpu in that time.
    by: BTreeMap<Culprit, f64>,
    longest: Vec<Span>,
}

/// Of all vCPUs.
#[derive(Debug, Default)]
pub(crate) struct Wakeups {
    follow: Follow,
    vcpus: ById<Delays>,
    /// Of each VM: for how long threads of the kernel's own ran with its address space.
    borrowed: ById<f64>,
}

impl Wakeups {
    pub(crate) fn add(&mut self, slice: &Slice) {
        let vcpus = &mut self.vcpus;
        self.follow.add(slice, |wakeup| {
            if !wakeup.waited {
                return;
            }
            let delays = vcpus.or_default(wakeup.vcpu_id);
            delays.count += 1;
            let from = wakeup.run_hi_tsc - wakeup.hi_tsc;
            delays.ticks += wakeup.hi_tsc as f64;
            for piece in slice.on(wakeup.cpu, from, wakeup.run_tsc) {
                let taker = Taker { kind: TakerKind::Vm, id: Some(piece.vm_id) };
                let culprit = Culprit { taker, process: piece.process };
                *delays.by.entry(culprit).or_default() += (piece.end - piece.start) as f64;
            }
            let (cpu, vcpu_id) = (Some(wakeup.cpu), Some(wakeup.vcpu_id));
            keep_longest(
                &mut delays.longest,
                Span { cpu, vcpu_id, process_id: None, start_tsc: from, end_tsc: wakeup.run_tsc.max(from) },
            );
        });
        for row in slice.rows.iter() {
            self.vcpus.or_default(row.vcpu_id).vm_id = row.vm_id;
        }
        for row in &slice.borrowed {
            debug_assert!(row.state == CpuStateKind::Hypervisor, "only these are borrowed");
            if let Some(vm) = row.vm_id {
                let ticks = row.end_tsc.min(slice.to) - row.start_tsc.max(slice.from);
                *self.borrowed.or_default(vm) += ticks as f64;
            }
        }
    }
}

/// From this part of the time on it is told.
const TOLD: f64 = 0.05;

pub(crate) fn findings(wakeups: &Wakeups, grid: Grid, names: &Names) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, delays) in wakeups.vcpus.iter() {
        let part = delays.ticks / grid.span();
        if part < TOLD {
            continue;
        }
        let most = delays.by.iter().max_by(|a, b| a.1.total_cmp(b.1)).map(|(culprit, ticks)| (*culprit, *ticks));
        let longest = delays.longest.first().map_or(0, |span| span.end_tsc - span.start_tsc);
        let title = format!(
            "{} waited between 0 and {} for a cpu after it was woken, {} times, at most {} at once{}",
            names.vcpu(id),
            names.length(delays.ticks),
            delays.count,
            names.length(longest as f64),
            most.map_or(String::new(), |(culprit, ticks)| format!(
                "; {} of that {} had it",
                names.length(ticks),
                names.culprit(culprit.taker, culprit.process)
            )),
        );
        let mut finding = Finding::new(Kind::Waiting, Severity::Low, part, title);
        finding.sure = 0.5;
        finding.cost = 0.0;
        finding.who = Who { vm_id: Some(delays.vm_id), vcpu_id: Some(id), process_id: None };
        finding.spans.clone_from(&delays.longest);
        findings.push(finding);
    }
    for (vm, ticks) in wakeups.borrowed.iter() {
        let part = ticks / grid.span();
        if part < TOLD {
            continue;
        }
        let title = format!(
            "threads of the host's kernel ran {} with the address space of {}: that looks like its hypervisor",
            names.length(*ticks),
            names.vm(vm)
        );
        let mut finding = Finding::new(Kind::Waiting, Severity::Low, part, title);
        finding.cost = 0.0;
        finding.who = Who { vm_id: Some(vm), ..Who::default() };
        finding.spans = vec![grid.whole()];
        findings.push(finding);
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use havana_rows::parquet::{CpuTurn, VcpuTurn};

    fn row(state: VcpuStateKind, start: i64, end: i64) -> VcpuTurn {
        VcpuTurn {
            vcpu_id: 0,
            vm_id: 0,
            start_tsc: start,
            start_lo_tsc: start - 2,
            start_hi_tsc: start + 3,
            end_tsc: end,
            state,
            evidence: Evidence::Inferred,
            cpu: Some(0).filter(|_| matches!(state, VcpuStateKind::Guest | VcpuStateKind::Hypervisor)),
            process_id: None,
            taken_by: None,
        }
    }

    fn idle(start: i64, end: i64) -> CpuTurn {
        let state = CpuStateKind::Idle;
        CpuTurn { cpu: 0, start_tsc: start, end_tsc: end, end_lo_tsc: end - 1, state, vm_id: None, tid: None }
    }

    /// Waits from 100 to 200 and from 250 to 300; its cpu sleeps to 180, and not in the second wait.
    #[test]
    fn a_wake_up_is_after_the_last_sleep_and_after_it_left() {
        use VcpuStateKind::{Guest, Waiting};
        let rows = [
            row(Guest, 0, 100),
            row(Waiting, 100, 200),
            row(Guest, 200, 250),
            row(Waiting, 250, 300),
            row(Guest, 300, 400),
        ];
        for cut in [400, 260, 190] {
            let mut follow = Follow::default();
            let mut found = Vec::new();
            for (from, to) in [(0, cut), (cut, 400)] {
                let inside = |start: i64, end: i64| start < to && end > from;
                let mine = rows.iter().copied().filter(|row| inside(row.start_tsc, row.end_tsc)).collect();
                let mut slice = Slice::new((from, to), mine);
                *slice.idle.or_default(0) =
                    [idle(110, 180)].into_iter().filter(|i| inside(i.start_tsc, i.end_tsc)).collect();
                follow.add(&slice, |wakeup| {
                    found.push((wakeup.off_lo_tsc, wakeup.run_tsc, wakeup.lo_tsc, wakeup.hi_tsc))
                });
            }
            // 203 − 179, 303 − 248.
            assert_eq!(found, [(98, 200, 0, 24), (248, 300, 0, 55)], "cut at {cut}");
        }
    }

    #[test]
    fn who_could_run_all_the_time_was_not_woken() {
        use VcpuStateKind::{Guest, Preempted};
        let off = VcpuTurn { evidence: Evidence::Observed, ..row(Preempted, 100, 200) };
        let slice = Slice::new((0, 400), vec![row(Guest, 0, 100), off, row(Guest, 200, 250)]);
        Follow::default().add(&slice, |wakeup| panic!("{wakeup:?}"));
    }
}
