//! Who has the cpu, from when on, and who pays.
//!
//! Of each guest process, the series of its time on cpus, as a part of one cpu. The rise is that to its highest lasting
//! level ([`changes`]), or, where its level never changed, all of it. The payers are the vCPUs that were preempted while this
//! process had their cpu ([`crate::steal`]), from the rise on.
//!
//! The score is the level after the rise, as a part of one cpu. *Paid* is a tenth: of the time since, others waited for
//! it so long, and its VM did not wait half as long again for theirs. High: it has more of a cpu than all others together (over a half), and others paid. Medium: over a half
//! since a rise, and nobody paid; or over a quarter, and others paid. Low: over a half all along, and nobody paid: that is
//! a busy process, and what a cpu is for; or a rise by more than what the process had before, to a tenth at least.
//! Whatever is less is not told.

use crate::changes::{Change, changes};
use crate::finding::{Finding, Kind, Severity, Span, Who};
use crate::names::Names;
use crate::series::{Series, Track};
use crate::steal::{Culprit, Steal};
use havana_rows::{Taker, TakerKind};

/// Processes looked at: those that had most. A culprit is among them.
pub(crate) const LARGEST: usize = 64;

/// Others waited for it, as a part of the time.
const PAID: f64 = 0.1;

pub(crate) fn findings(series: &Series, steal: &Steal, names: &Names) -> Vec<Finding> {
    let found = series.largest(LARGEST).into_iter();
    found.filter_map(|(process, track)| finding(process, track, series, steal, names)).collect()
}

fn finding(process: i32, track: &Track, series: &Series, steal: &Steal, names: &Names) -> Option<Finding> {
    let grid = series.grid;
    let shares = grid.shares(&track.on);
    let rises = changes(&shares).into_iter().filter(|c| c.after > 2.0 * c.before && c.after >= 0.1);
    let rise = rises.max_by(|a, b| a.after.total_cmp(&b.after));
    let (from, to, level) = match rise {
        Some(Change { at, end, after, .. }) => (at, end, after),
        None => (0, shares.len(), track.total() / grid.span()),
    };
    let ticks = (grid.start(to) - grid.start(from)) as f64;
    let culprit = Culprit { taker: Taker { kind: TakerKind::Vm, id: Some(track.vm_id) }, process: Some(process) };
    let harm: f32 = steal.harm.get(&culprit).map_or(0.0, |harm| harm[from..to].iter().sum());
    let harm = f64::from(harm);
    let victims = steal.of(culprit);
    let rather_victim = victims.first().is_some_and(|(vcpu, _)| steal.is_victim(track.vm_id, *vcpu, series));
    let paid = harm >= PAID * ticks && !rather_victim;
    let severity = match () {
        () if level > 0.5 && paid => Severity::High,
        () if level > 0.5 && rise.is_some() || level > 0.25 && paid => Severity::Medium,
        () if level > 0.5 || rise.is_some() => Severity::Low,
        () => return None,
    };
    let cpu = Track::mostly(&track.cpus);
    let mut title = format!("{} took {} of ", names.process_of(track.vm_id, process), names.percent(level));
    match (cpu, track.cpus.len()) {
        (Some(cpu), 1) => title += &format!("cpu {cpu}"),
        _ => title += "a cpu",
    }
    title += &match (rise, to < shares.len()) {
        (Some(_), false) => format!(" from {} on", names.moment(grid.start(from))),
        (Some(_), true) => format!(" from {} to {}", names.moment(grid.start(from)), names.moment(grid.start(to))),
        (None, _) => " all along".into(),
    };
    if let Some((victim, taken)) = victims.first().filter(|_| harm > 0.01 * ticks) {
        let at_most = if taken.observed < taken.ticks / 2.0 { "at most " } else { "" };
        title += &format!("; {} waited {at_most}{} for it", names.vcpu(*victim), names.length(taken.ticks));
    }
    let mut finding = Finding::new(Kind::Consumption, severity, level, title);
    finding.sure = rise.map_or(1.0, |rise| rise.sure);
    finding.who = Who { vm_id: Some(track.vm_id), vcpu_id: Track::mostly(&track.vcpus), process_id: Some(process) };
    finding.start_tsc = rise.map(|_| grid.start(from));
    finding.end_tsc = (to < shares.len()).then(|| grid.start(to));
    finding.spans = vec![Span {
        cpu,
        vcpu_id: finding.who.vcpu_id,
        process_id: Some(process),
        start_tsc: grid.start(from),
        end_tsc: grid.start(to),
    }];
    finding.spans.extend(victims.iter().flat_map(|(_, taken)| taken.longest.first()).take(4));
    Some(finding)
}
