//! Processes that come again and again, as a cron job does.
//!
//! A burst is a run of buckets of which a process has more than half of what it ever has of one. Bursts that come at random
//! have gaps of a standard deviation as large as their mean (a Poisson process); what has a rhythm has less. So the
//! coefficient of variation of the periods must be below a half, of at least [`LEAST`] bursts.
//!
//! Everything in a computer repeats; what matters is work that is rare and large. The score is the part of a cpu that the
//! process has while in a burst, and severity asks how a burst compares with what others do at once: medium where it lasts
//! ten times as long as the typical burst of the other processes of its VM, over a half of a cpu, and no process of the node costs more; else low. A burst shorter than two buckets is
//! not told.

use crate::consumption::LARGEST;
use crate::finding::{Finding, Kind, Severity, Span, Who};
use crate::names::Names;
use crate::series::{Series, Track};
use crate::steal::Steal;

/// Fewer bursts have no period.
const LEAST: usize = 4;

/// A run of buckets: the first, and the one after the last.
type Burst = (usize, usize);

fn bursts(shares: &[f64]) -> Vec<Burst> {
    let most = shares.iter().copied().fold(0.0, f64::max);
    let mut bursts: Vec<Burst> = Vec::new();
    for (bucket, _) in shares.iter().enumerate().filter(|(_, share)| **share > most / 2.0) {
        match bursts.last_mut() {
            // A bucket that it shared with others does not end it.
            Some(last) if bucket - last.1 <= 1 => last.1 = bucket + 1,
            _ => bursts.push((bucket, bucket + 1)),
        }
    }
    bursts
}

/// How long a burst of others typically is, buckets: their part of the buckets they are in.
fn typical(of: &[f64]) -> f64 {
    let busy: Vec<f64> = of.iter().copied().filter(|share| *share > 0.0).collect();
    busy.iter().sum::<f64>() / busy.len().max(1) as f64
}

/// Mean and standard deviation of the periods, buckets.
fn rhythm(bursts: &[Burst]) -> Option<(f64, f64)> {
    if bursts.len() < LEAST {
        return None;
    }
    let periods: Vec<f64> = bursts.windows(2).map(|b| (b[1].0 - b[0].0) as f64).collect();
    let n = periods.len() as f64;
    let mean = periods.iter().sum::<f64>() / n;
    let deviation = (periods.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    (deviation < mean / 2.0).then_some((mean, deviation))
}

pub(crate) fn findings(series: &Series, steal: &Steal, names: &Names) -> Vec<Finding> {
    let grid = series.grid;
    let mut findings = Vec::new();
    let costs = series.processes.iter().map(|(id, track)| steal.cost(track.vm_id, id, series));
    let most = costs.fold(0.0, f64::max);
    for (process, track) in series.largest(LARGEST) {
        let shares = grid.shares(&track.on);
        let bursts = bursts(&shares);
        let Some((period, deviation)) = rhythm(&bursts) else { continue };
        let buckets: usize = bursts.iter().map(|b| b.1 - b.0).sum();
        let length = buckets as f64 / bursts.len() as f64;
        // One that is never away for longer than it runs does not come and go.
        if length < 2.0 || length > period / 2.0 {
            continue;
        }
        let inside: f64 = bursts.iter().flat_map(|b| &shares[b.0..b.1]).sum();
        let level = inside / buckets as f64;
        let siblings = series.processes.iter().filter(|(id, other)| *id != process && other.vm_id == track.vm_id);
        let other = siblings.map(|(_, other)| typical(&grid.shares(&other.on))).fold(0.0, f64::max);
        let cost = steal.cost(track.vm_id, process, series);
        let large = length * level >= 10.0 * other && level > 0.5 && cost >= most;
        let severity = if large { Severity::Medium } else { Severity::Low };
        let width = grid.width();
        let title = format!(
            "{} came {} times, each {} (± {}), and took {} of a cpu for {}",
            names.process_of(track.vm_id, process),
            bursts.len(),
            names.length(period * width),
            names.length(deviation * width),
            names.percent(level),
            names.length(length * width),
        );
        let mut finding = Finding::new(Kind::Period, severity, level * length / period, title);
        finding.cost = cost;
        // Chance makes half the deviation of a Poisson process once in so many.
        finding.sure = 1.0 - (0.5_f64).powi(i32::try_from(bursts.len()).unwrap_or(i32::MAX) - 1);
        finding.who = Who { vm_id: Some(track.vm_id), vcpu_id: Track::mostly(&track.vcpus), process_id: Some(process) };
        finding.start_tsc = bursts.first().map(|b| grid.start(b.0));
        finding.spans = bursts
            .iter()
            .take(8)
            .map(|b| Span {
                cpu: None,
                vcpu_id: finding.who.vcpu_id,
                process_id: Some(process),
                start_tsc: grid.start(b.0),
                end_tsc: grid.start(b.1),
            })
            .collect();
        findings.push(finding);
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rhythm_is_what_chance_has_not() {
        let series = |starts: &[usize]| {
            let mut shares = vec![0.0; 100];
            starts.iter().for_each(|at| shares[*at..at + 4].fill(0.9));
            shares
        };
        let even = bursts(&series(&[5, 25, 44, 66, 85]));
        assert_eq!(even[..2], [(5, 9), (25, 29)]);
        let (mean, deviation) = rhythm(&even).unwrap();
        assert!(mean == 20.0 && deviation < 2.0, "{mean} {deviation}");
        assert_eq!(rhythm(&bursts(&series(&[5, 15, 20, 80, 90]))), None);
        assert_eq!(rhythm(&bursts(&series(&[5, 25, 45]))), None);
        assert_eq!(bursts(&[]), []);
    }

    #[test]
    fn a_bucket_shared_with_others_does_not_end_a_burst() {
        assert_eq!(bursts(&[0.0, 1.0, 0.4, 1.0, 0.0, 0.0, 1.0]), [(1, 4), (6, 7)]);
    }
}
