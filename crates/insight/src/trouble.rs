//! What is wrong with the trace, or happens to whole VMs: losses, clocks that were set, VMs that came or went.
//!
//! * **Losses.** The score is 0 to 1, lost time as a part of all cpus' time. Told from a thousandth on, low; from a
//!   hundredth on they are as severe as the worst that was found, and medium at least: what is lost may be as bad as what
//!   is seen.
//! * **Clocks.** A guest's offset from the host's TSC that is another than before, by more than the bounds of both. It was
//!   set between the last sample of one and the first of the other: where PSB+ are rare, or never come while the VM runs,
//!   these are far apart, or there is no second. High where
//!   the step is longer than the VM was ever away from its cpus: then its programs see time that no wait explains. Else medium.
//! * **Coming and going.** A VM is gone where nothing is seen of it to the end for more than [`LONGER`] times its longest
//!   absence before, and for a sixteenth of the time; coming is the same backwards. Medium: somebody may have wanted that.

use std::collections::BTreeMap;
use std::ops::Range;

use havana_rows::{Loss, VmOffset};
use havana_store::{Dataset, StoreError};

use crate::finding::{Finding, Kind, Severity, Span, Who};
use crate::grid::{BUCKETS, Grid};
use crate::names::Names;
use crate::series::Series;

/// How much longer than ever before an absence must be.
const LONGER: usize = 4;

/// From what part of all time on losses leave it open whether somebody was there.
const HIDES: f64 = 0.1;

/// From what part of all time on losses put the rest in doubt.
pub(crate) const DOUBT: f64 = 0.01;

pub(crate) fn findings(dataset: &Dataset, series: &Series, names: &Names) -> Result<Vec<Finding>, StoreError> {
    let mut lost = vec![0.0; BUCKETS];
    let mut findings = Vec::new();
    findings.extend(losses(dataset, series, names, &mut lost)?);
    findings.extend(clocks(&dataset.vm_offsets()?, series, names));
    for (vm, on) in series.vms.iter() {
        let hides = |buckets: Range<usize>| hides(&lost[buckets], series.grid, dataset.manifest().cpus.len());
        findings.extend(came_and_went(vm, on, hides, dataset, names)?);
    }
    Ok(findings)
}

/// Whether so much was lost in these buckets, of all cpus together, that who is not seen there may have been there.
fn hides(lost: &[f32], grid: Grid, cpus: usize) -> bool {
    let all = lost.len() as f64 * grid.width() * cpus.max(1) as f64;
    f64::from(lost.iter().sum::<f32>()) > HIDES * all
}

/// Adds what is lost to its buckets, too.
fn losses(
    dataset: &Dataset,
    series: &Series,
    names: &Names,
    lost_in: &mut [f32],
) -> Result<Option<Finding>, StoreError> {
    let mut cpus: BTreeMap<i32, i64> = BTreeMap::new();
    let mut longest: Vec<Span> = Vec::new();
    let mut count = 0_u64;
    dataset.scan(havana_rows::parquet::Table::Losses).each(|loss: &Loss| {
        let (start, end) = (loss.start_tsc.max(series.grid.from), loss.end_tsc.min(series.grid.to));
        if start >= end {
            return;
        }
        count += 1;
        series.grid.add(lost_in, start, end);
        *cpus.entry(loss.cpu).or_default() += end - start;
        let span = Span { cpu: Some(loss.cpu), vcpu_id: None, process_id: None, start_tsc: start, end_tsc: end };
        longest.push(span);
        if longest.len() > 1024 {
            keep(&mut longest);
        }
    })?;
    keep(&mut longest);
    let all = series.grid.span() * dataset.manifest().cpus.len().max(1) as f64;
    let lost: i64 = cpus.values().sum();
    let share = lost as f64 / all;
    if share < DOUBT / 10.0 {
        return Ok(None);
    }
    let worst = cpus.iter().max_by_key(|(_, ticks)| **ticks).map_or(0, |(cpu, _)| *cpu);
    let title = format!(
        "{} of the trace is lost, in {count} places, most of it on cpu {worst}: what was there is not told",
        names.percent(share)
    );
    let severity = if share >= DOUBT { Severity::Medium } else { Severity::Low };
    let mut finding = Finding::new(Kind::Trace, severity, share, title);
    finding.spans = longest;
    Ok(Some(finding))
}

fn keep(longest: &mut Vec<Span>) {
    longest.sort_by_key(|span| span.start_tsc - span.end_tsc);
    longest.truncate(8);
}

fn clocks(offsets: &[VmOffset], series: &Series, names: &Names) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut last: BTreeMap<i32, &VmOffset> = BTreeMap::new();
    for offset in offsets {
        let Some(before) = last.insert(offset.vm_id, offset) else { continue };
        let (was, is) = (before.tsc_offset, offset.tsc_offset);
        if was.lo <= is.hi && is.lo <= was.hi {
            continue;
        }
        let step = is.tsc - was.tsc;
        let away = series.vms.get(offset.vm_id).map_or(0, |on| absences(on).longest);
        let severity = if step.unsigned_abs() as f64 > (away + 1) as f64 * series.grid.width() {
            Severity::High
        } else {
            Severity::Medium
        };
        let title = format!(
            "{}: its clock was set {} by {} between {} and {}",
            names.vm(offset.vm_id),
            if step < 0 { "back" } else { "forward" },
            names.length(step.unsigned_abs() as f64),
            names.moment(before.end_tsc),
            names.moment(offset.start_tsc),
        );
        let mut finding = Finding::new(Kind::Trace, severity, 1.0, title);
        finding.who.vm_id = Some(offset.vm_id);
        (finding.start_tsc, finding.end_tsc) = (Some(before.end_tsc), Some(offset.start_tsc));
        let whole = |o: &VmOffset| (o.start_tsc, o.end_tsc);
        let span = |(start_tsc, end_tsc)| Span { cpu: None, vcpu_id: None, process_id: None, start_tsc, end_tsc };
        finding.spans = [whole(before), whole(offset)].map(span).to_vec();
        findings.push(finding);
    }
    findings
}

/// How long nothing is seen of a VM, buckets.
#[derive(Debug, PartialEq, Eq)]
struct Absences {
    /// Before it is first seen, and after it is last.
    before: usize,
    after: usize,
    /// In between.
    longest: usize,
}

fn absences(on: &[f32]) -> Absences {
    let seen: Vec<usize> = on.iter().enumerate().filter(|(_, ticks)| **ticks > 0.0).map(|(bucket, _)| bucket).collect();
    let longest = seen.windows(2).map(|s| s[1] - s[0] - 1).max().unwrap_or(0);
    Absences {
        before: seen.first().copied().unwrap_or(on.len()),
        after: seen.last().map_or(on.len(), |last| on.len() - 1 - last),
        longest,
    }
}

fn came_and_went(
    vm: i32,
    on: &[f32],
    hides: impl Fn(Range<usize>) -> bool,
    dataset: &Dataset,
    names: &Names,
) -> Result<Vec<Finding>, StoreError> {
    let Absences { before, after, longest } = absences(on);
    let is = |absence: usize| absence >= BUCKETS / 16 && absence > LONGER * (longest + 1);
    let finding = |title: String, (start_tsc, end_tsc): (i64, i64)| {
        let mut finding = Finding::new(Kind::Trace, Severity::Medium, 1.0, title);
        finding.sure = 1.0 - 1.0 / LONGER as f64;
        finding.who = Who { vm_id: Some(vm), ..Who::default() };
        finding.spans = vec![Span { cpu: None, vcpu_id: None, process_id: None, start_tsc, end_tsc }];
        finding
    };
    let mut findings = Vec::new();
    let Some(row) = names.vms.get(&vm) else { return Ok(findings) };
    if is(before) && !hides(0..before) {
        // A guest's clock begins with its VM, on the host where it begins.
        let offsets = dataset.vm_offsets()?;
        let ahead = offsets.iter().find(|offset| offset.vm_id == vm && offset.tsc_offset.lo > 0);
        let ahead = ahead.map_or(String::new(), |offset| {
            let by = names.length(offset.tsc_offset.tsc as f64);
            format!("; its clock is {by} ahead of this host's, so it began on another")
        });
        let title = format!("{} came at {}{ahead}", names.vm(vm), names.moment(row.first_tsc));
        let mut came = finding(title, (row.first_tsc, row.last_tsc));
        came.start_tsc = Some(row.first_tsc);
        findings.push(came);
    }
    if is(after) && !hides(on.len() - after..on.len()) {
        let title = format!("{} went at {}", names.vm(vm), names.moment(row.last_tsc));
        let mut went = finding(title, (row.first_tsc, row.last_tsc));
        went.start_tsc = Some(row.last_tsc);
        findings.push(went);
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use havana_rows::Time;

    #[test]
    fn an_absence_is_held_against_those_before() {
        assert_eq!(absences(&[0.0, 1.0, 0.0, 0.0, 2.0, 0.0]), Absences { before: 1, after: 1, longest: 2 });
        assert_eq!(absences(&[0.0; 3]), Absences { before: 3, after: 3, longest: 0 });
    }

    #[test]
    fn who_is_not_seen_where_trace_is_lost_may_be_there() {
        let grid = Grid::new(0, 5120).unwrap();
        let mut lost = vec![0.0; BUCKETS];
        grid.add(&mut lost, 2560, 3100);
        assert!(hides(&lost[256..512], grid, 1) && !hides(&lost[256..512], grid, 4));
        assert!(!hides(&lost[0..256], grid, 1));
    }

    #[test]
    fn a_clock_was_set_where_bounds_do_not_meet() {
        let offset = |start_tsc, tsc, by| VmOffset {
            vm_id: 3,
            start_tsc,
            end_tsc: start_tsc + 80,
            tsc_offset: Time { tsc, lo: tsc - by, hi: tsc + by },
            tsc_scale: None,
        };
        let series = Series::new(Grid::new(0, 512).unwrap());
        let offsets = [offset(0, -1000, 3), offset(100, -1005, 3), offset(200, -7000, 3)];
        let found = clocks(&offsets, &series, &Names::default());
        let [found] = &found[..] else { panic!("{found:?}") };
        assert_eq!(found.title, "VM 3: its clock was set back by 5,995 ticks between 180 ticks and 200 ticks");
        assert_eq!((found.severity, found.start_tsc, found.end_tsc), (Severity::High, Some(180), Some(200)));
    }
}
