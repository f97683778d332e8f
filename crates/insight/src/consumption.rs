//! Who has the cpu, from when on, and who pays.
//!
//! Of each guest process, the series of its time on cpus, as a part of one cpu. The rise is where its level changed
//! for good ([`onset`]); where its level never changed, all of it counts. The payers are the vCPUs that were preempted while this
//! process had their cpu ([`crate::steal`]), from the rise on.
//!
//! The level is what it had from the rise on, as a part of one cpu; the score is what that makes of the cpu's whole time, so
//! that of two alike the one that lasts comes first. *Paid* is a fifth: of the time since, others waited for
//! it so long, and its VM did not wait half as long again for theirs. High: it has more of a cpu than all others together (over a half), and others paid. Medium: over a half
//! since a rise an eighth of the time ago at least (what is younger may be a burst that is not over), and nobody paid; or over a
//! quarter for as long, and others paid. Low: over a quarter all along, and nobody paid: that is
//! a busy process, and what a cpu is for; a rise by more than what the process had before, to a tenth at least; a tenth, and
//! others paid; and whatever came and went, since it is over.
//! Whatever is less is not told.

use std::ops::Range;

use crate::changes::{Change, changes, onset};
use crate::finding::{Finding, Kind, Severity, Span, Who};
use crate::names::Names;
use crate::series::{Series, Track};
use crate::steal::{Culprit, Steal, Taken};

/// Processes looked at: those that had most. A culprit is among them.
pub(crate) const LARGEST: usize = 64;

/// Others waited for it, as a part of the time.
const PAID: f64 = 0.2;

pub(crate) fn findings(series: &Series, steal: &Steal, names: &Names) -> Vec<Finding> {
    let found = series.largest(LARGEST).into_iter();
    found.filter_map(|(process, track)| finding(process, track, series, steal, names)).collect()
}

/// A rise to less is not told.
const LEAST: f64 = 0.1;

/// What began in the last of so many parts of the time may be a burst that is not over.
const LASTS: usize = 8;

/// When a process had how much.
#[derive(Debug, PartialEq)]
struct Stretch {
    /// What it begins with; none: it was so all along.
    rise: Option<Change>,
    from: usize,
    to: usize,
    level: f64,
}

/// The stretch that says most of a series: from where it rose for good ([`onset`]); else the largest level that came and
/// went; else all.
fn stretch(shares: &[f64]) -> Stretch {
    let mean = |from: usize| shares[from..].iter().sum::<f64>() / (shares.len() - from).max(1) as f64;
    let mut rises = changes(shares);
    if let Some((rise, level)) = onset(shares, &rises).filter(|(_, level)| *level >= LEAST) {
        return Stretch { rise: Some(rise), from: rise.at, to: shares.len(), level };
    }
    rises.retain(|rise| rise.after > 2.0 * rise.before && rise.after >= LEAST);
    let area = |rise: &Change| rise.after * (rise.end - rise.at) as f64;
    let all: f64 = shares.iter().sum();
    let outside = |rise: &Change| (shares.len() + rise.at - rise.end) as f64;
    match rises.into_iter().max_by(|a, b| area(a).total_cmp(&area(b))) {
        // It had most of what it had then, and hardly any else.
        Some(rise) if area(&rise) > 0.5 * all && all - area(&rise) < 0.25 * rise.after * outside(&rise) => {
            Stretch { rise: Some(rise), from: rise.at, to: rise.end, level: rise.after }
        }
        _ => Stretch { rise: None, from: 0, to: shares.len(), level: mean(0) },
    }
}

/// Who waited for a process.
pub(crate) struct Harm<'a> {
    /// Ticks, of all vCPUs together, of the time asked for.
    ticks: f64,
    /// What it took of each vCPU in all, most first.
    victims: Vec<(i32, &'a Taken)>,
    /// It is much, and its VM is not rather the victim.
    pub(crate) paid: bool,
}

impl<'a> Harm<'a> {
    /// That a process does in these buckets.
    pub(crate) fn of(
        process: i32,
        track: &Track,
        buckets: Range<usize>,
        series: &Series,
        steal: &'a Steal,
    ) -> Harm<'a> {
        let culprit = Culprit::process(track.vm_id, process);
        let all = (series.grid.start(buckets.end) - series.grid.start(buckets.start)) as f64;
        let ticks = steal.harm_of(track.vm_id, process, buckets);
        let victims = steal.of(culprit);
        let rather_victim = victims.first().is_some_and(|(vcpu, _)| {
            steal.is_victim(track.vm_id, *vcpu, series) || steal.had_more(*vcpu, culprit, series)
        });
        Harm { ticks, victims, paid: ticks >= PAID * all && !rather_victim }
    }

    /// `; VM 0 waited 1.38 s for it`, where it is worth a word in so many ticks.
    pub(crate) fn told(&self, names: &Names, ticks: f64) -> String {
        let Some((victim, taken)) = self.victims.first().filter(|_| self.ticks > 0.01 * ticks) else {
            return String::new();
        };
        let at_most = if taken.observed < taken.ticks / 2.0 { "at most " } else { "" };
        let others = match self.victims.len() - 1 {
            0 => String::new(),
            1 => " and another vCPU".into(),
            n => format!(" and {n} other vCPUs"),
        };
        format!("; {}{others} waited {at_most}{} for it", names.vcpu(*victim), names.length(self.ticks))
    }
}

fn finding(process: i32, track: &Track, series: &Series, steal: &Steal, names: &Names) -> Option<Finding> {
    let grid = series.grid;
    let shares = grid.shares(&track.on);
    let Stretch { rise, from, to, level } = stretch(&shares);
    let ticks = (grid.start(to) - grid.start(from)) as f64;
    let harm = Harm::of(process, track, from..to, series, steal);
    let paid = harm.paid;
    let lasts = rise.is_none() || shares.len() - from >= shares.len() / LASTS;
    let severity = match () {
        () if to < shares.len() => Severity::Low,
        () if level > 0.5 && paid => Severity::High,
        () if lasts && (level > 0.5 && rise.is_some() || level > 0.25 && paid) => Severity::Medium,
        () if level > 0.25 || rise.is_some() => Severity::Low,
        // Not much, and others waited for it all the same.
        () if level >= LEAST && paid => Severity::Low,
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
    title += &harm.told(names, ticks);
    let mut finding = Finding::new(Kind::Consumption, severity, level * ticks / grid.span(), title);
    finding.cost = steal.cost(track.vm_id, process, series);
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
    finding.spans.extend(harm.victims.iter().flat_map(|(_, taken)| taken.longest.first()).take(4));
    Some(finding)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Levels, each for so many buckets.
    fn series(levels: &[(f64, usize)]) -> Vec<f64> {
        levels.iter().flat_map(|(level, buckets)| std::iter::repeat_n(*level, *buckets)).collect()
    }

    #[test]
    fn what_goes_on_is_told_from_its_begin_and_what_is_over_to_its_end() {
        let told = |levels: &[(f64, usize)]| {
            let Stretch { rise, from, to, level } = stretch(&series(levels));
            (rise.is_some(), from, to, (level * 100.0).round())
        };
        assert_eq!(told(&[(0.1, 200), (0.6, 312)]), (true, 200, 512, 60.0));
        assert_eq!(told(&[(0.0, 200), (0.6, 60), (0.0, 252)]), (true, 200, 260, 60.0));
        assert_eq!(told(&[(0.6, 512)]), (false, 0, 512, 60.0));
        // It went on after a moment with less.
        assert_eq!(told(&[(0.0, 100), (0.6, 200), (0.4, 60), (0.6, 152)]), (true, 100, 512, 57.0));
        assert_eq!(told(&[(0.0, 512)]), (false, 0, 512, 0.0));
    }
}
