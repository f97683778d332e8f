//! Who had the cpu that a vCPU wanted: of each `preempted` row the ticks, the taker, and where that is a VM, which of
//! its processes was on that cpu then. Exact to the tick of the rows' estimates, since both are cut at each other.
//!
//! Without switch records `preempted` is inferred: another address space took the cpu right after an exit, and the vCPU
//! came back to it without an idle in between. It may as well have halted there. So what is told of inferred rows is an
//! upper bound, and titles say "at most".

use std::collections::BTreeMap;
use std::ops::Range;

use havana_rows::{Evidence, Taker, TakerKind, VcpuStateKind};
use rustc_hash::FxHashMap;

use crate::finding::{Finding, Kind, Severity, Span, Who};
use crate::grid::{BUCKETS, Grid};
use crate::ids::ById;
use crate::names::Names;
use crate::series::{Series, Track};
use crate::slices::Slice;

/// Intervals that are kept as proof.
const SPANS: usize = 8;

/// Who took: a VM or a host's process, and which guest process ran there then, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Culprit {
    pub(crate) taker: Taker,
    pub(crate) process: Option<i32>,
}

impl Culprit {
    /// A guest process.
    pub(crate) fn process(vm_id: i32, process: i32) -> Culprit {
        Culprit { taker: Taker { kind: TakerKind::Vm, id: Some(vm_id) }, process: Some(process) }
    }
}

/// What one taker took of one vCPU.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taken {
    /// Ticks, and those that a record says.
    pub(crate) ticks: f64,
    pub(crate) observed: f64,
    /// How often it began.
    pub(crate) count: u64,
    /// The longest, first.
    pub(crate) longest: Vec<Span>,
}

/// What was taken, by whom, of whom.
#[derive(Debug, Clone)]
pub(crate) struct Steal {
    grid: Grid,
    /// Where each vCPU last was: a cpu that is taken from it is that one.
    last_cpu: ById<i32>,
    pub(crate) matrix: BTreeMap<(Culprit, i32), Taken>,
    /// Ticks that a VM took of another.
    between: FxHashMap<(i32, i32), f64>,
    /// Ticks a bucket that a culprit took, of all vCPUs together.
    pub(crate) harm: BTreeMap<Culprit, Vec<f32>>,
}

impl Steal {
    pub(crate) fn new(grid: Grid) -> Steal {
        Steal {
            grid,
            last_cpu: ById::default(),
            matrix: BTreeMap::new(),
            between: FxHashMap::default(),
            harm: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, slice: &Slice) {
        for row in &slice.rows {
            if row.state != VcpuStateKind::Preempted {
                row.cpu.into_iter().for_each(|cpu| *self.last_cpu.or_default(row.vcpu_id) = cpu);
                continue;
            }
            let Some(taker) = row.taken_by else { continue };
            let cpu = row.cpu.or_else(|| self.last_cpu.get(row.vcpu_id).copied());
            let (start, end) = slice.inside(row);
            let observed = row.evidence == Evidence::Observed;
            if let Some(vm) = vm_of(taker) {
                *self.between.entry((vm, row.vm_id)).or_default() += (end - start) as f64;
            }
            let mut rest = end - start;
            let mut most: Option<(i64, Culprit)> = None;
            let mut take = |process: Option<i32>, from: i64, to: i64| {
                let culprit = Culprit { taker, process };
                let taken = self.matrix.entry((culprit, row.vcpu_id)).or_default();
                taken.ticks += (to - from) as f64;
                taken.observed += if observed { (to - from) as f64 } else { 0.0 };
                let harm = self.harm.entry(culprit).or_insert_with(|| vec![0.0; BUCKETS]);
                self.grid.add(harm, from, to);
                if most.is_none_or(|most| to - from > most.0) {
                    most = Some((to - from, culprit));
                }
            };
            if let (Some(vm), Some(cpu)) = (vm_of(taker), cpu) {
                for piece in slice.on(cpu, start, end).filter(|piece| piece.vm_id == vm) {
                    take(piece.process, piece.start, piece.end);
                    rest -= piece.end - piece.start;
                }
            }
            if rest > 0 {
                // The switch to it, and what no row of it tells.
                take(None, end - rest, end);
            }
            if let Some((_, culprit)) = most.filter(|_| slice.begins(row)) {
                let taken = self.matrix.entry((culprit, row.vcpu_id)).or_default();
                taken.count += 1;
                keep_longest(
                    &mut taken.longest,
                    Span {
                        cpu,
                        vcpu_id: Some(row.vcpu_id),
                        process_id: culprit.process,
                        start_tsc: row.start_tsc,
                        end_tsc: row.end_tsc,
                    },
                );
            }
        }
    }

    /// Whether a VM is the victim itself: what the VM of that vCPU took of it is half as much again as it took of that VM.
    pub(crate) fn is_victim(&self, vm: i32, of_vcpu: i32, series: &Series) -> bool {
        let Some(other) = series.vcpus.get(of_vcpu).map(|wanted| wanted.vm_id) else { return false };
        let took = |taker: i32, of: i32| self.between.get(&(taker, of)).copied().unwrap_or(0.0);
        took(other, vm) > 1.5 * took(vm, other)
    }

    /// Whether a vCPU that waited for a guest process had more of its cpu meanwhile than that, by a quarter: then it is greedy
    /// itself, and has more than its part.
    pub(crate) fn had_more(&self, vcpu: i32, culprit: Culprit, series: &Series) -> bool {
        let process = culprit.process.and_then(|process| series.processes.get(process));
        let (Some(waiter), Some(process), Some(harm)) = (series.vcpus.get(vcpu), process, self.harm.get(&culprit))
        else {
            return false;
        };
        // Each bucket counts as much as was waited in it.
        let had = |on: &[f32]| harm.iter().zip(on).map(|(harm, on)| f64::from(*harm) * f64::from(*on)).sum::<f64>();
        had(&waiter.buckets) > 1.25 * had(&process.on)
    }

    /// Ticks for which others waited while a guest process had their cpu, in some buckets.
    pub(crate) fn harm_of(&self, vm_id: i32, process: i32, buckets: Range<usize>) -> f64 {
        let harm = self.harm.get(&Culprit::process(vm_id, process));
        harm.map_or(0.0, |harm| f64::from(harm[buckets].iter().sum::<f32>()))
    }

    /// What a guest process costs: the time that it had on cpus, and for which others waited meanwhile, as a part of the
    /// dataset's. That many waited at once makes it no worse than that one did all the time.
    pub(crate) fn cost(&self, vm_id: i32, process: i32, series: &Series) -> f64 {
        let had = series.processes.get(process).map_or(0.0, Track::total);
        (had + self.harm_of(vm_id, process, 0..BUCKETS).min(had)) / self.grid.span()
    }

    /// What a culprit took of each vCPU, most first.
    pub(crate) fn of(&self, culprit: Culprit) -> Vec<(i32, &Taken)> {
        let mine = self.matrix.range((culprit, i32::MIN)..=(culprit, i32::MAX));
        let mut victims: Vec<(i32, &Taken)> = mine.map(|(key, taken)| (key.1, taken)).collect();
        victims.sort_by(|a, b| b.1.ticks.total_cmp(&a.1.ticks).then(a.0.cmp(&b.0)));
        victims
    }
}

/// Keeps it where it is one of the longest.
pub(crate) fn keep_longest(kept: &mut Vec<Span>, span: Span) {
    let length = |span: &Span| span.end_tsc - span.start_tsc;
    let at = kept.partition_point(|other| length(other) >= length(&span));
    if at < SPANS {
        kept.insert(at, span);
        kept.truncate(SPANS);
    }
}

/// The neighbours that did harm, ranked by it.
///
/// The score is what a culprit took of a vCPU as a part of what that wanted (its time on cpus and preempted). High: at
/// least a half of it, and it was kept from a cpu for a quarter of the dataset's time. Medium: a quarter, and a tenth.
/// Low: a tenth, or more where the culprit is rather the victim, since its VM waited half as long again for the other's; what is
/// less is not told. One finding a culprit, about the vCPU that it harmed most.
pub(crate) fn findings(steal: &Steal, series: &Series, names: &Names) -> Vec<Finding> {
    let mut findings = Vec::new();
    for culprit in steal.harm.keys() {
        let victims = steal.of(*culprit);
        let Some((victim, taken)) = victims.first() else { continue };
        let Some(wanted) = series.vcpus.get(*victim) else { continue };
        let part = taken.ticks / (wanted.on + wanted.preempted).max(1.0);
        let whole = taken.ticks / series.grid.span();
        let rather_victim = vm_of(culprit.taker).is_some_and(|vm| steal.is_victim(vm, *victim, series))
            || steal.had_more(*victim, *culprit, series);
        let severity = match () {
            () if rather_victim && part >= 0.1 => Severity::Low,
            () if part >= 0.5 && whole >= 0.25 => Severity::High,
            () if part >= 0.25 && whole >= 0.1 => Severity::Medium,
            () if part >= 0.1 => Severity::Low,
            () => continue,
        };
        let at_most = if taken.observed < taken.ticks / 2.0 { "at most " } else { "" };
        let mut title = format!(
            "{} waited {at_most}{} for {}, {} of what it wanted",
            names.vcpu(*victim),
            names.length(taken.ticks),
            names.culprit(culprit.taker, culprit.process),
            names.percent(part),
        );
        if let Some(longest) = taken.longest.first() {
            title += &format!(", up to {} at once", names.length((longest.end_tsc - longest.start_tsc) as f64));
        }
        title += &match victims.len() - 1 {
            0 => String::new(),
            1 => "; another vCPU waited for it, too".into(),
            n => format!("; {n} other vCPUs waited for it, too"),
        };
        let mut finding = Finding::new(Kind::Steal, severity, part, title);
        finding.cost = match (vm_of(culprit.taker), culprit.process) {
            (Some(vm), Some(process)) => steal.cost(vm, process, series),
            _ => steal.harm[culprit].iter().map(|ticks| f64::from(*ticks)).sum::<f64>() / series.grid.span(),
        };
        // A halt is taken for being preempted, without records: then half is a guess.
        finding.sure = (0.5 + 0.5 * taken.observed / taken.ticks.max(1.0)).min(1.0);
        finding.who = Who { vm_id: vm_of(culprit.taker), vcpu_id: None, process_id: process_of(*culprit) };
        finding.spans.clone_from(&taken.longest);
        findings.push(finding);
    }
    findings
}

fn vm_of(taker: Taker) -> Option<i32> {
    taker.id.filter(|_| taker.kind == TakerKind::Vm)
}

fn process_of(culprit: Culprit) -> Option<i32> {
    culprit.process.or(culprit.taker.id.filter(|_| culprit.taker.kind == TakerKind::Host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use havana_rows::parquet::VcpuTurn;

    fn row(vcpu: i32, (start, end): (i64, i64), state: VcpuStateKind, process: i32) -> VcpuTurn {
        VcpuTurn {
            vcpu_id: vcpu,
            vm_id: vcpu,
            start_tsc: start,
            start_lo_tsc: start,
            start_hi_tsc: start,
            end_tsc: end,
            state,
            evidence: Evidence::Observed,
            cpu: (state != VcpuStateKind::Preempted).then_some(0),
            process_id: Some(process),
            taken_by: (state == VcpuStateKind::Preempted).then_some(Taker { kind: TakerKind::Vm, id: Some(1 - vcpu) }),
        }
    }

    /// vCPU 0 is preempted from 100 to 400; of that, process 11 of VM 1 has 250 and process 10 has 40.
    fn rows() -> Vec<VcpuTurn> {
        use VcpuStateKind::{Guest, Hypervisor, Preempted};
        vec![
            row(0, (0, 100), Guest, 5),
            row(0, (100, 400), Preempted, 5),
            row(1, (110, 150), Guest, 10),
            row(1, (150, 350), Guest, 11),
            row(1, (350, 400), Hypervisor, 11),
            row(0, (400, 512), Guest, 5),
        ]
    }

    #[test]
    fn the_process_that_was_there_is_the_one_that_took() {
        let grid = Grid::new(0, 512).unwrap();
        for cut in [512, 200, 120] {
            let (mut steal, mut series) = (Steal::new(grid), Series::new(grid));
            for (from, to) in [(0, cut), (cut, 512)] {
                let inside = |row: &VcpuTurn| row.start_tsc < to && row.end_tsc > from;
                let slice = Slice::new((from, to), rows().into_iter().filter(inside).collect());
                steal.add(&slice);
                series.add(&slice);
            }
            let taker = Taker { kind: TakerKind::Vm, id: Some(1) };
            let ticks = |process| steal.matrix[&(Culprit { taker, process }, 0)].ticks;
            assert_eq!([ticks(Some(11)), ticks(Some(10)), ticks(None)], [250.0, 40.0, 10.0], "cut at {cut}");
            let harm: f32 = steal.harm.values().flatten().sum();
            assert_eq!(harm, 300.0, "cut at {cut}");
            assert_eq!(steal.matrix.values().map(|taken| taken.count).sum::<u64>(), 1, "cut at {cut}");
            let found = findings(&steal, &series, &Names::default());
            assert_eq!(found[0].who.process_id.max(found[1..].first().and_then(|f| f.who.process_id)), Some(11));
        }
    }
}
