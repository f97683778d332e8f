//! Exits that took far longer than others of their process.
//!
//! How long an exit takes is what its vCPU was in root for it, on its cpu, from the exit to the re-entry: where the vCPU left
//! its cpu in between it halted or was preempted, and that is told elsewhere.
//!
//! Times of exits are told apart by their logarithm, in eighths of an octave: they are many decades wide, and skewed. An
//! exit is an outlier where its modified z-score (Iglewicz and Hoaglin, *How to Detect and Handle Outliers*, 1993) is above
//! the quantile of the normal distribution that [`CHANCE`] of all processes with as many exits of log-normal times would pass
//! with any of theirs. The deviation is the median one of those above the median, since the distribution is skewed, and
//! an eighth of an octave at least. Where more than [`MANY`] of the exits are outliers they are another kind of exit, and no outliers.
//!
//! The score is what the outliers took beyond the usual, as a part of the dataset's time. Medium: a twentieth. Low: a two
//! hundredth. What is less is not told. Never high: a thread of the host's kernel that ran with the VM's address space looks
//! the same, where nothing tells switches.

use havana_rows::VcpuStateKind;

use crate::finding::{Finding, Kind, Severity, Span, Who};
use crate::grid::Grid;
use crate::ids::ById;
use crate::names::Names;
use crate::slices::Slice;
use crate::steal::keep_longest;

/// How often chance alone may make an outlier of a process.
const CHANCE: f64 = 0.01;
/// More outliers than this part are none.
const MANY: f64 = 0.01;
/// Fewer exits have no usual.
const LEAST: u32 = 100;
/// The standard deviation of a normal distribution whose median deviation is one.
const SIGMA: f64 = 1.4826;

/// Classes of an octave, and of all times told apart.
const AN_OCTAVE: usize = 8;
const CLASSES: usize = 40 * AN_OCTAVE;

/// How long exits took.
#[derive(Debug, Clone)]
struct Times {
    vm_id: i32,
    /// How many, and how long together, of each class.
    counts: Vec<u32>,
    ticks: Vec<f32>,
    longest: Vec<Span>,
}

impl Times {
    fn new(vm_id: i32) -> Times {
        Times { vm_id, counts: vec![0; CLASSES], ticks: vec![0.0; CLASSES], longest: Vec::new() }
    }

    fn add(&mut self, span: Span) {
        let ticks = (span.end_tsc - span.start_tsc).max(1) as f64;
        let class = ((ticks.log2() * AN_OCTAVE as f64) as usize).min(CLASSES - 1);
        self.counts[class] += 1;
        self.ticks[class] += ticks as f32;
        keep_longest(&mut self.longest, span);
    }
}

/// What is usual, and what is not.
#[derive(Debug, PartialEq)]
struct Outliers {
    exits: u32,
    /// Ticks of the median, and from where on it is an outlier.
    usual: f64,
    fence: f64,
    count: u32,
    /// Beyond the usual, together.
    ticks: f64,
}

/// The class below which so many are.
fn quantile(counts: impl Iterator<Item = (usize, u32)>, many: f64) -> usize {
    let mut below = 0.0;
    let mut at = 0;
    for (class, count) in counts {
        at = class;
        below += f64::from(count);
        if below >= many {
            break;
        }
    }
    at
}

/// The quantile of the normal distribution that a part so small is above (Abramowitz and Stegun 26.2.23: to 0.00045).
fn normal_above(part: f64) -> f64 {
    let t = (-2.0 * part.ln()).sqrt();
    t - (2.515_517 + 0.802_853 * t + 0.010_328 * t * t)
        / (1.0 + 1.432_788 * t + 0.189_269 * t * t + 0.001_308 * t * t * t)
}

fn outliers(times: &Times) -> Option<Outliers> {
    let exits: u32 = times.counts.iter().sum();
    if exits < LEAST {
        return None;
    }
    let counts = || times.counts.iter().copied().enumerate();
    let median = quantile(counts(), f64::from(exits) / 2.0);
    let above: u32 = times.counts[median..].iter().sum();
    let deviation = (quantile(counts().skip(median), f64::from(above) / 2.0) - median).max(1);
    let reach = normal_above(CHANCE / f64::from(exits)) * SIGMA * deviation as f64;
    let fence = median + reach.ceil() as usize;
    let middle = |class: usize| ((class as f64 + 0.5) / AN_OCTAVE as f64).exp2();
    let out = fence.min(CLASSES)..CLASSES;
    let count: u32 = times.counts[out.clone()].iter().sum();
    if count == 0 || f64::from(count) > MANY * f64::from(exits) {
        return None;
    }
    let usual = middle(median);
    let ticks = times.ticks[out].iter().map(|ticks| f64::from(*ticks)).sum::<f64>() - usual * f64::from(count);
    let fence = (fence as f64 / AN_OCTAVE as f64).exp2();
    Some(Outliers { exits, usual, fence, count, ticks })
}

/// What a vCPU did last: it was in the guest, and perhaps left it.
#[derive(Debug, Clone, Copy, Default)]
struct Last {
    in_guest: bool,
    /// Since when it is in root for an exit, on its cpu.
    exit: Option<i64>,
}

/// The times of the exits of all guest processes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Latencies {
    last: ById<Last>,
    processes: ById<Times>,
}

impl Latencies {
    pub(crate) fn add(&mut self, slice: &Slice) {
        for row in slice.rows.iter().filter(|row| slice.begins(row)) {
            let last = self.last.or_default(row.vcpu_id);
            match row.state {
                VcpuStateKind::Guest => {
                    if let (Some(exit), Some(process)) = (last.exit, row.process_id) {
                        self.processes.or_insert_with(process, || Times::new(row.vm_id)).add(Span {
                            cpu: row.cpu,
                            vcpu_id: Some(row.vcpu_id),
                            process_id: Some(process),
                            start_tsc: exit,
                            end_tsc: row.start_tsc,
                        });
                    }
                    *last = Last { in_guest: true, exit: None };
                }
                VcpuStateKind::Hypervisor => {
                    let exit = last.exit.or(Some(row.start_tsc).filter(|_| last.in_guest));
                    *last = Last { in_guest: false, exit };
                }
                _ => *last = Last::default(),
            }
        }
    }
}

pub(crate) fn findings(latencies: &Latencies, grid: Grid, names: &Names) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (process, times) in latencies.processes.iter() {
        let Some(Outliers { exits, usual, fence, count, ticks }) = outliers(times) else { continue };
        let part = ticks / grid.span();
        let severity = match () {
            () if part >= 0.05 => Severity::Medium,
            () if part >= 0.005 => Severity::Low,
            () => continue,
        };
        let title = format!(
            "{}: {count} of its {exits} exits took {} or more, and half of all {} at most: {} more than these, together",
            names.process_of(times.vm_id, process),
            names.length(fence),
            names.length(usual),
            names.length(ticks),
        );
        let mut finding = Finding::new(Kind::Exits, severity, part, title);
        finding.sure = 1.0 - CHANCE;
        finding.spans = times.longest.clone();
        finding.spans.retain(|span| (span.end_tsc - span.start_tsc) as f64 >= fence);
        let vcpu_id = finding.spans.first().and_then(|span| span.vcpu_id);
        finding.who = Who { vm_id: Some(times.vm_id), vcpu_id, process_id: Some(process) };
        findings.push(finding);
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use havana_sim::Rng;

    /// Exits of log-normal times (a sum of uniform numbers is nearly normal), and what else is given.
    fn times(seed: u64, n: usize, others: &[i64]) -> Times {
        let mut rng = Rng::new(seed);
        let mut normal = || (0..12).map(|_| rng.unit()).sum::<f64>() - 6.0;
        let mut times = Times::new(0);
        let mut add = |ticks: i64| {
            times.add(Span { cpu: None, vcpu_id: None, process_id: None, start_tsc: 0, end_tsc: ticks });
        };
        (0..n).for_each(|_| add((7000.0 * (0.7 * normal()).exp()) as i64));
        others.iter().for_each(|ticks| add(*ticks));
        times
    }

    #[test]
    fn what_is_far_out_is_found_and_chance_and_another_kind_are_not() {
        let told = outliers(&times(1, 5000, &[3_000_000, 5_000_000])).unwrap();
        assert_eq!((told.exits, told.count), (5002, 2));
        assert!((told.usual / 7000.0).log2().abs() < 0.2 && told.fence < 3e6, "{told:?}");
        assert!((told.ticks / 8e6 - 1.0).abs() < 0.01, "{told:?}");
        // A hundred kinds of exits without any: chance allows one.
        let chance = (0..100).filter(|seed| outliers(&times(1000 + seed, 3000, &[])).is_some()).count();
        assert!(chance <= 2, "{chance} of 100");
        assert_eq!(outliers(&times(2, 5000, &[3_000_000; 400])), None, "another kind");
        assert_eq!(outliers(&times(3, 50, &[3_000_000])), None, "too few");
    }

    #[test]
    fn a_quantile_of_the_normal_distribution() {
        for (part, z) in [(0.025, 1.95996), (0.01, 2.32635), (1e-6, 4.75342)] {
            assert!((normal_above(part) - z).abs() < 5e-4, "{part}");
        }
    }
}
