//! Findings against a profile of normal.
//!
//! **What is found anyway** ([`crate::find`]) is low where it is usual: its process is one that the profile knows, and neither
//! that nor who waited for it departs from what was learnt. Losses, clocks, and VMs that come and go stay as they are.
//!
//! **What departs** is told beside, as kind `baseline`; shares are parts of a cpu, the score is by how much:
//!
//! | what | severity |
//! | --- | --- |
//! | a process that is not known in a VM that is, since it began, where it is not told as severe anyway | high: a quarter of a cpu, and others waited for it ([`Harm`]); medium: a quarter; low: a tenth |
//! | a known process that has more | the same, of what it has more; at least low |
//! | a VM whose vCPUs are kept from their cpus more | medium: a quarter of what it wanted; else low. Who had them is told as `steal` |
//! | a VM that is more in root | high: by a quarter of a cpu; medium: by a twentieth; else low |
//! | exits that take longer | medium: four times as long; else low |
//! | a known process that is gone | medium: it had a tenth; low: a hundredth |
//! | a VM that is not known | medium: it has a quarter; else low |
//! | less of anything; more exits or waits; the node | low |

use std::collections::BTreeSet;

use havana_store::Dataset;

use super::BaselineError;
use super::assign::{Assigned, assign};
use super::departs::{Departure, departs};
use super::learn::Seen;
use super::profile::{Metric, ProcessProfile, Profile, Usual, VmProfile};
use super::windows::{Values, Windows};
use crate::consumption::{Harm, LARGEST};
use crate::finding::{Finding, Kind, Severity, Span, Who};
use crate::fingerprint::{Fingerprint, Gather, Prints};
use crate::grid::Grid;
use crate::series::Track;
use crate::{Looked, dated, rank};

/// Beyond the most that was learnt by so much of a cpu is not usual, however short.
const EVER: f64 = 0.1;

/// What of a dataset is unexpected where this is normal, most severe first.
///
/// # Errors
/// Those of reading it, and where only one of both knows seconds.
pub fn find_against(dataset: &Dataset, profile: &Profile) -> Result<Vec<Finding>, BaselineError> {
    let manifest = dataset.manifest();
    if manifest.clock.tsc_hz.is_some() != profile.nanoseconds {
        return Err(BaselineError::Units { path: dataset.dir().into() });
    }
    let Some(grid) = Grid::of(dataset) else { return Ok(Vec::new()) };
    let mut gather = Gather::new(manifest.clock.tsc_hz);
    let scale = Seen::scale(dataset);
    let mut windows = Windows::new(grid, scale, profile.window, manifest.cpus.len());
    let looked = Looked::at(dataset, grid, |slice| {
        gather.add(slice, |process, _| process);
        windows.add(slice);
    })?;
    let prints = Prints::of(dataset, grid, gather, &looked.exits)?;
    let known: Vec<(Option<&str>, Vec<&Fingerprint>)> = profile.vms.iter().map(VmProfile::known).collect();
    let assigned = assign(&known, &prints);
    let against = Against { profile, looked: &looked, windows: &windows, prints: &prints, assigned: &assigned, scale };
    let mut findings = looked.findings(dataset)?;
    findings.iter_mut().for_each(|finding| against.judge(finding));
    findings.extend(against.departures(&findings));
    rank::rank(&mut findings);
    dated(&mut findings, &manifest.clock);
    Ok(findings)
}

impl VmProfile {
    fn known(&self) -> (Option<&str>, Vec<&Fingerprint>) {
        (self.name.as_deref(), self.processes.iter().map(|process| &process.fingerprint).collect())
    }
}

struct Against<'a> {
    profile: &'a Profile,
    looked: &'a Looked,
    windows: &'a Windows,
    prints: &'a Prints,
    assigned: &'a Assigned,
    /// Nanoseconds a tick, or 1.
    scale: f64,
}

fn departure(metric: Metric, values: &Values, usual: &Usual) -> Option<Departure> {
    departs(metric, values.get(&metric)?, usual.get(&metric)?)
}

/// Whether the most of it, but for one window, is beyond all that was learnt.
fn more_than_ever(values: &Values, usual: &Usual) -> bool {
    let (Some(values), Some(usual)) = (values.get(&Metric::Share), usual.get(&Metric::Share)) else { return false };
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    let most = sorted.len().checked_sub(2).map_or_else(|| sorted.first(), |at| sorted.get(at));
    most.is_some_and(|most| *most > usual.quantile(1.0) + EVER)
}

impl Against<'_> {
    fn vm(&self, id: i32) -> Option<&VmProfile> {
        self.profile.vms.get(*self.assigned.vms.get(&id)?)
    }

    fn process(&self, vm: i32, id: i32) -> Option<&ProcessProfile> {
        self.vm(vm)?.processes.get(*self.assigned.processes.get(&id)?)
    }

    /// What of a finding is not usual; none: all is.
    fn unusual(&self, finding: &Finding) -> Option<&'static str> {
        const UNKNOWN: &str = "the baseline does not know it";
        const MORE: &str = "more than in the baseline";
        if let (Some(vm), Some(process)) = (finding.who.vm_id, finding.who.process_id) {
            let Some(known) = self.process(vm, process) else { return Some(UNKNOWN) };
            let values = self.windows.process(process);
            let more = |metric| departure(metric, &values, &known.usual).is_some_and(|departure| departure.more);
            if more(Metric::Share) || more(Metric::Exits) || more_than_ever(&values, &known.usual) {
                return Some(MORE);
            }
        }
        // Who waited: whose vCPUs prove it.
        let vcpus: BTreeSet<i32> = finding.spans.iter().filter_map(|span| span.vcpu_id).collect();
        for vcpu in vcpus.iter().filter(|_| finding.kind == Kind::Steal) {
            let Some(wanted) = self.looked.series.vcpus.get(*vcpu) else { continue };
            let Some(known) = self.vm(wanted.vm_id) else { return Some(UNKNOWN) };
            let departure = departure(Metric::Steal, &self.windows.vm(wanted.vm_id), &known.usual);
            if departure.is_some_and(|departure| departure.more) {
                return Some(MORE);
            }
        }
        None
    }

    /// What the profile makes of what is found anyway.
    fn judge(&self, finding: &mut Finding) {
        if finding.kind == Kind::Trace {
            return;
        }
        match self.unusual(finding) {
            Some(why) => finding.title += &format!("; {why}"),
            None => {
                finding.severity = Severity::Low;
                finding.title += "; usual in the baseline";
            }
        }
    }

    /// What departs, and is not among the findings as it is.
    fn departures(&self, found: &[Finding]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (process, track) in self.looked.series.largest(LARGEST) {
            // All of a VM that is not known is not.
            let Some(vm) = self.vm(track.vm_id) else { continue };
            let departed = match self.process(track.vm_id, process) {
                Some(known) => self.changed(process, track, known),
                None => self.unknown(process, track, vm, found),
            };
            findings.extend(departed);
        }
        for (vm, on) in self.looked.series.vms.iter() {
            match self.vm(vm) {
                Some(known) => {
                    findings.extend(self.vm_changed(vm, known));
                    findings.extend(self.gone(vm, known));
                }
                None => findings.push(self.unknown_vm(vm, on)),
            }
        }
        let usual = &self.profile.node;
        findings.extend(departure(Metric::Share, &self.windows.node(), usual).map(|departure| {
            let percent = |share| self.looked.names.percent(share);
            let (now, was) = (percent(departure.now), percent(departure.usual));
            let title = format!("all VMs together had {now} of the cpus; {was} is usual");
            self.finding(Severity::Low, departure, Who::default(), title)
        }));
        findings
    }

    /// One of a departure, without what proves it.
    fn finding(&self, severity: Severity, departure: Departure, who: Who, title: String) -> Finding {
        let by = (departure.now - departure.usual).abs();
        let score = by / departure.now.max(departure.usual).max(1.0);
        let mut finding = Finding::new(Kind::Baseline, severity, score, title);
        (finding.sure, finding.who) = (departure.sure, who);
        finding
    }

    /// The windows that are beyond what is usual, those that follow each other as one.
    fn spans(&self, values: &[f64], departure: Departure, who: Who) -> Vec<Span> {
        let beyond = |value: &f64| if departure.more { *value > departure.beyond } else { *value < departure.beyond };
        let mut spans: Vec<Span> = Vec::new();
        for (window, _) in values.iter().enumerate().filter(|(_, value)| beyond(value)) {
            let (start_tsc, end_tsc) = self.windows.span(window);
            match spans.last_mut() {
                Some(last) if (start_tsc - last.end_tsc).abs() <= 1 => last.end_tsc = end_tsc,
                _ => {
                    spans.push(Span { cpu: None, vcpu_id: who.vcpu_id, process_id: who.process_id, start_tsc, end_tsc })
                }
            }
        }
        spans.sort_by_key(|span| span.start_tsc - span.end_tsc);
        spans.truncate(8);
        spans
    }

    fn who(vm: i32, process: i32, track: &Track) -> Who {
        Who { vm_id: Some(vm), vcpu_id: Track::mostly(&track.vcpus), process_id: Some(process) }
    }

    /// More of a cpu, and who waited for it.
    fn severity(&self, share: f64, harm: &Harm<'_>) -> Severity {
        match () {
            () if share >= 0.25 && harm.paid => Severity::High,
            () if share >= 0.25 => Severity::Medium,
            () => Severity::Low,
        }
    }

    fn unknown(&self, process: i32, track: &Track, vm: &VmProfile, found: &[Finding]) -> Option<Finding> {
        let (names, grid) = (&self.looked.names, self.looked.series.grid);
        let first = track.on.iter().position(|ticks| *ticks > 0.0)?;
        let since = (grid.to - grid.start(first)) as f64;
        let share = track.total() / since;
        // Of little that is not known nothing is told: what is seen of it may not be enough to know it by.
        if share < 0.1 || vm.processes.is_empty() {
            return None;
        }
        let harm = Harm::of(process, track, first..track.on.len(), &self.looked.series, &self.looked.steal);
        let severity = self.severity(share, &harm);
        let told = |other: &Finding| {
            other.kind == Kind::Consumption && other.who.process_id == Some(process) && other.severity >= severity
        };
        if found.iter().any(told) {
            return None;
        }
        let title = format!(
            "{} is not known, and took {} of a cpu{}{}",
            names.process_of(track.vm_id, process),
            names.percent(share),
            if first > 0 { format!(" from {} on", names.moment(grid.start(first))) } else { String::new() },
            harm.told(names, since),
        );
        let mut finding = Finding::new(Kind::Baseline, severity, share * since / grid.span(), title);
        finding.who = Against::who(track.vm_id, process, track);
        finding.start_tsc = (first > 0).then(|| grid.start(first));
        finding.spans = vec![Span {
            cpu: Track::mostly(&track.cpus),
            vcpu_id: finding.who.vcpu_id,
            process_id: Some(process),
            start_tsc: grid.start(first),
            end_tsc: grid.to,
        }];
        Some(finding)
    }

    fn changed(&self, process: i32, track: &Track, known: &ProcessProfile) -> Option<Finding> {
        let (names, series) = (&self.looked.names, &self.looked.series);
        let values = self.windows.process(process);
        let departure = departure(Metric::Share, &values, &known.usual)?;
        let harm = Harm::of(process, track, 0..track.on.len(), series, &self.looked.steal);
        let severity =
            if departure.more { self.severity(departure.now - departure.usual, &harm) } else { Severity::Low };
        let title = format!(
            "{} took {} of a cpu; {} is usual{}",
            names.process_of(track.vm_id, process),
            names.percent(departure.now),
            names.percent(departure.usual),
            if departure.more { harm.told(names, series.grid.span()) } else { String::new() },
        );
        let who = Against::who(track.vm_id, process, track);
        let mut finding = self.finding(severity, departure, who, title);
        finding.spans = self.spans(&values[&Metric::Share], departure, who);
        Some(finding)
    }

    fn vm_changed(&self, vm: i32, known: &VmProfile) -> Vec<Finding> {
        let names = &self.looked.names;
        let values = self.windows.vm(vm);
        let told = |metric: Metric| {
            let departure = departure(metric, &values, &known.usual)?;
            let Departure { more, usual, now, .. } = departure;
            let by = now - usual;
            let least = |high: bool, medium: bool| match () {
                () if high => Severity::High,
                () if medium => Severity::Medium,
                () => Severity::Low,
            };
            let percent = |share| names.percent(share);
            let length = |length| names.length(length / self.scale);
            let rate = |rate| names.often(rate, 1e9 / self.scale);
            let (severity, what, now, usual) = match metric {
                Metric::Share => (Severity::Low, "had {} of a cpu", percent(now), percent(usual)),
                Metric::Steal if more => {
                    let what = "was kept from its cpus for {} of what it wanted";
                    (least(false, now >= 0.25), what, percent(now), percent(usual))
                }
                Metric::Root if more => {
                    let what = "left its guest's work to the hypervisor for {} of a cpu";
                    (least(by >= 0.25, by >= 0.05), what, percent(now), percent(usual))
                }
                Metric::Exits if more => (Severity::Low, "left its guest {}", rate(now), rate(usual)),
                Metric::LatencyMedian if more => {
                    let what = "had half of its exits take over {}";
                    (least(false, now >= 4.0 * usual), what, length(now), length(usual))
                }
                Metric::LatencyHigh if more => {
                    let what = "had a tenth of its exits take over {}";
                    (least(false, now >= 4.0 * usual), what, length(now), length(usual))
                }
                Metric::Waits if more => (Severity::Low, "halted {}", rate(now), rate(usual)),
                _ => return None,
            };
            let title = format!("{} {}; {usual} is usual", names.vm(vm), what.replace("{}", &now));
            let who = Who { vm_id: Some(vm), ..Who::default() };
            let mut finding = self.finding(severity, departure, who, title);
            finding.spans = self.spans(&values[&metric], departure, who);
            Some(finding)
        };
        known.usual.keys().filter_map(|metric| told(*metric)).collect()
    }

    /// Processes that always were, and are not.
    fn gone(&self, vm: i32, known: &VmProfile) -> Vec<Finding> {
        let names = &self.looked.names;
        let mine = || self.prints.processes.iter().filter(|(_, print)| print.vm_id == vm);
        let taken: BTreeSet<usize> =
            mine().filter_map(|(process, _)| self.assigned.processes.get(process).copied()).collect();
        let strange = mine().filter(|(process, _)| !self.assigned.processes.contains_key(process));
        let strange: f64 = strange.map(|(_, print)| print.share).sum();
        let told = |(at, process): (usize, &ProcessProfile)| {
            let usual = process.usual.get(&Metric::Share)?;
            let (median, rare) = (usual.quantile(0.5), usual.quantile(0.25));
            // What is not known there may be it.
            if taken.contains(&at) || process.datasets < known.datasets || rare < 0.01 || strange >= median / 2.0 {
                return None;
            }
            let severity = if median >= 0.1 { Severity::Medium } else { Severity::Low };
            let title = format!(
                "{}: a process that usually takes {} of a cpu is not there",
                names.vm(vm),
                names.percent(median)
            );
            let mut finding = Finding::new(Kind::Baseline, severity, median, title);
            finding.sure = 0.75;
            finding.who.vm_id = Some(vm);
            finding.spans = vec![self.whole(None)];
            Some(finding)
        };
        known.processes.iter().enumerate().filter_map(told).collect()
    }

    fn unknown_vm(&self, vm: i32, on: &[f32]) -> Finding {
        let (names, grid) = (&self.looked.names, self.looked.series.grid);
        let share = on.iter().map(|ticks| f64::from(*ticks)).sum::<f64>() / grid.span();
        let severity = if share >= 0.25 { Severity::Medium } else { Severity::Low };
        let title = format!("{} is not in the baseline, and had {} of a cpu", names.vm(vm), names.percent(share));
        let mut finding = Finding::new(Kind::Baseline, severity, share, title);
        finding.who.vm_id = Some(vm);
        finding.spans = vec![self.whole(None)];
        finding
    }

    fn whole(&self, process_id: Option<i32>) -> Span {
        let grid = self.looked.series.grid;
        Span { cpu: None, vcpu_id: None, process_id, start_tsc: grid.from, end_tsc: grid.to }
    }
}
