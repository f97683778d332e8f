//! vCPUs that are stopped again and again, as by a limit of their cgroup (`cpu.max`).
//!
//! A limit leaves a mark that sleep rarely has: the vCPU comes back at even times (the limit's periods), each time runs
//! for as long (its quota, to a scheduler tick), and goes on with the process it was stopped in. A trace without
//! exit reasons cannot tell that from a program that waits on an even timer and always has as much to do: so this may be.
//! With records of switches it can: who is stopped by a limit could have run, and nobody had its cpu.
//!
//! Medium: it waited for a quarter of the dataset's time; else low. Never high: who has set a limit wants it. The score is that part.

use havana_rows::{Evidence, VcpuStateKind};

use crate::finding::{Finding, Kind, Severity, Span, Who};
use crate::grid::Grid;
use crate::ids::ById;
use crate::names::Names;
use crate::slices::Slice;

/// Waits that are looked at of each vCPU: the first ones.
const MOST: usize = 4096;
/// Fewer say nothing.
const LEAST: usize = 5;
/// How far a period may be off, as a part of it.
const EVEN: f64 = 0.02;
/// How far the typical run may be off.
const ALIKE: f64 = 0.2;

/// One wait, and the processes before and after it.
#[derive(Debug, Clone, Copy)]
struct Wait {
    start: i64,
    end: i64,
    before: Option<i32>,
    after: Option<i32>,
    /// It could have run, and nobody had its cpu.
    held: bool,
}

/// The waits of a vCPU.
#[derive(Debug, Clone, Default)]
struct Vcpu {
    vm_id: i32,
    waits: Vec<Wait>,
    /// What it did last.
    process: Option<i32>,
    waits_since: Option<i64>,
    held: bool,
}

/// The waits of all vCPUs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waits(ById<Vcpu>);

impl Waits {
    pub(crate) fn add(&mut self, slice: &Slice) {
        for row in slice.rows.iter().filter(|row| slice.begins(row)) {
            let vcpu = self.0.or_default(row.vcpu_id);
            vcpu.vm_id = row.vm_id;
            match row.state {
                VcpuStateKind::Waiting => _ = vcpu.waits_since.get_or_insert(row.start_tsc),
                VcpuStateKind::Preempted if row.taken_by.is_none() && row.evidence == Evidence::Observed => {
                    vcpu.waits_since.get_or_insert(row.start_tsc);
                    vcpu.held = true;
                }
                VcpuStateKind::Guest => {
                    let held = std::mem::take(&mut vcpu.held);
                    if let Some(start) = vcpu.waits_since.take()
                        && vcpu.waits.len() < MOST
                    {
                        let (before, after) = (vcpu.process, row.process_id);
                        vcpu.waits.push(Wait { start, end: row.start_tsc, before, after, held });
                    }
                    vcpu.process = row.process_id;
                }
                _ => {}
            }
        }
    }
}

fn median(of: &mut [f64]) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(0.0)
}

/// How long a period is, and how much of it a vCPU runs, where both are even.
fn rhythm(waits: &[Wait]) -> Option<(f64, f64)> {
    if waits.len() < LEAST {
        return None;
    }
    let pairs = || waits.windows(2);
    let periods: Vec<f64> = pairs().map(|w| (w[1].end - w[0].end) as f64).collect();
    let runs: Vec<f64> = pairs().map(|w| (w[1].start - w[0].end) as f64).collect();
    let (period, run) = (median(&mut periods.clone()), median(&mut runs.clone()));
    let near = |of: &[f64], at: f64, by: f64| of.iter().filter(|x| (*x - at).abs() <= by).count();
    let most = |n: usize| 10 * n >= 9 * periods.len();
    let same = waits.iter().filter(|wait| wait.before == wait.after && wait.before.is_some()).count();
    let is = most(near(&periods, period, EVEN * period))
        && most(near(&runs, run, ALIKE * run))
        && most(same)
        && run > period / 20.0
        && period - run > period / 20.0;
    is.then_some((period, run))
}

pub(crate) fn findings(waits: &Waits, grid: Grid, names: &Names) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, vcpu) in waits.0.iter() {
        let Some((period, run)) = rhythm(&vcpu.waits) else { continue };
        let waited: i64 = vcpu.waits.iter().map(|wait| wait.end - wait.start).sum();
        let part = waited as f64 / grid.span();
        let process = vcpu.waits.last().and_then(|wait| wait.before);
        // Nearly all: a switch of which no record tells is none.
        let held = 10 * vcpu.waits.iter().filter(|wait| wait.held).count() >= 9 * vcpu.waits.len();
        let (runs, of, whole) = (names.length(run), names.length(period), names.length(waited as f64));
        let why = if held {
            format!("a limit (cpu.max) kept it off its cpu, which nobody had, for {whole}")
        } else {
            format!(
                "a limit (cpu.max) does that, or a loop on an even timer; so the limit kept it for between 0 and {whole}"
            )
        };
        let place = process.map_or(String::new(), |process| format!(" in {}", names.process(process)));
        let title = format!("{} ran {runs} of each {of}, then stopped and went on{place}: {why}", names.vcpu(id));
        let severity = if part >= 0.25 { Severity::Medium } else { Severity::Low };
        let mut finding = Finding::new(Kind::Waiting, severity, part, title);
        finding.sure = if held { 1.0 } else { 0.5 };
        finding.who = Who { vm_id: Some(vcpu.vm_id), vcpu_id: Some(id), process_id: process };
        let mut longest = vcpu.waits.clone();
        longest.sort_by_key(|wait| wait.start - wait.end);
        finding.spans = longest
            .iter()
            .take(4)
            .map(|wait| Span {
                cpu: None,
                vcpu_id: Some(id),
                process_id: wait.before,
                start_tsc: wait.start,
                end_tsc: wait.end,
            })
            .collect();
        findings.push(finding);
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(run: impl Fn(i64) -> i64, period: impl Fn(i64) -> i64) -> Vec<Wait> {
        let mut at = 0;
        let wait = |i| {
            let (start, end) = (at + run(i), at + period(i));
            at = end;
            Wait { start, end, before: Some(1), after: Some(1), held: false }
        };
        (0..20).map(wait).collect()
    }

    #[test]
    fn a_limit_is_even_and_sleep_is_not() {
        assert_eq!(rhythm(&waits(|i| 300 + i % 4, |_| 1000)), Some((1000.0, 302.0)));
        assert_eq!(rhythm(&waits(|_| 300, |i| 1000 + 100 * (i % 3))), None);
        assert_eq!(rhythm(&waits(|i| 100 + 200 * (i % 3), |_| 1000)), None);
        assert_eq!(rhythm(&waits(|_| 3, |_| 1000)), None, "ticks of an idle guest");
        assert_eq!(rhythm(&waits(|_| 300, |_| 1000)[..4]), None);
        let mut others = waits(|_| 300, |_| 1000);
        others.iter_mut().for_each(|wait| wait.after = Some(2));
        assert_eq!(rhythm(&others), None);
    }
}
