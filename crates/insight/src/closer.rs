//! A closer look at some processes: page tables that are a guest's kernel alone, and those that two processes had, one after
//! the other. Only where something speaks for it, since that reads the dataset again.
//!
//! * **Kernel alone.** Where the trace has the addresses that exits left: all of at least [`EXITS`] are of the upper half, and
//!   nearly all of its guest time is in runs of less than [`SHORT_NS`] before a wait, as an idle guest's are. A program's
//!   exits meet it in user mode now and then, so both together say so; a trace without addresses says nothing.
//! * **Two of one page table.** A page table is used again when its process has ended. That is told where it was away
//!   [`LONGER`] times as long as ever else, at least a 32nd of the time, and what ran before and after is farther apart than one program's
//!   captures are ([`FAR`]). A program that does something else after a long sleep looks alike: so it is low, and sure by
//!   how far apart they are, never more than nine tenths.

use std::collections::{BTreeMap, BTreeSet};

use havana_store::{Dataset, StoreError};

use crate::exits::Exits;
use crate::finding::{Finding, Kind, Severity, Span, Who};
use crate::fingerprint::{FAR, Fingerprint, Gather, Histogram};
use crate::grid::BUCKETS;
use crate::ids::ById;
use crate::names::Names;
use crate::series::{Series, Track};
use crate::slices;

/// Fewer exits say nothing.
const EXITS: u64 = 100;
/// An idle guest's tick is done by then.
const SHORT_NS: f64 = 200e3;
/// So much of its guest time is in short runs, and so many of its runs end with a wait.
const NEARLY_ALL: f64 = 0.95;
/// How much longer than ever else an absence must be.
const LONGER: usize = 4;
/// Processes that are looked at: those that had most.
const LARGEST: usize = 64;
/// All others.
const OTHERS: i32 = i32::MIN;

/// What is seen then.
#[derive(Default)]
pub(crate) struct Closer {
    pub(crate) kernels: BTreeSet<i32>,
    pub(crate) two: Vec<Two>,
}

/// A page table that two processes probably had.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Two {
    process: i32,
    /// The last bucket of one, and the first of the other.
    last: usize,
    first: usize,
    distance: f64,
}

/// The longest absence of a series, if it is far longer than any other: the bucket before it, and the one after.
fn absence(on: &[f32]) -> Option<(usize, usize)> {
    let seen: Vec<usize> = (0..on.len()).filter(|bucket| on[*bucket] > 0.0).collect();
    let mut longest = (0, 0);
    let mut next = 1;
    for pair in seen.windows(2) {
        let length = pair[1] - pair[0];
        if length > longest.1 - longest.0 {
            next = next.max(longest.1 - longest.0);
            longest = (pair[0], pair[1]);
        } else {
            next = next.max(length);
        }
    }
    let length = longest.1 - longest.0;
    (length > BUCKETS / 32 && length > LONGER * next).then_some(longest)
}

pub(crate) fn look(dataset: &Dataset, series: &Series, exits: &ById<Exits>) -> Result<Closer, StoreError> {
    let maybe_two: BTreeMap<i32, (usize, usize)> = series
        .largest(LARGEST)
        .into_iter()
        .filter_map(|(process, track)| Some((process, absence(&track.on)?)))
        .collect();
    let in_kernel =
        |process: &i32| exits.get(*process).is_some_and(|exits| exits.count >= EXITS && exits.of_kernel == exits.count);
    let maybe_kernels: BTreeSet<i32> =
        series.largest(LARGEST).into_iter().map(|(process, _)| process).filter(in_kernel).collect();
    let mut closer = Closer::default();
    if maybe_two.is_empty() && maybe_kernels.is_empty() {
        return Ok(closer);
    }
    let grid = series.grid;
    let mut gather = Gather::new(dataset.manifest().clock.tsc_hz);
    slices::each(dataset, grid, |slice| {
        gather.add(slice, |process, at| match maybe_two.get(&process) {
            // Ids are not negative.
            Some((_, first)) if at >= grid.start(*first) => -1 - process,
            Some(_) => process,
            None if maybe_kernels.contains(&process) => process,
            None => OTHERS,
        });
    })?;
    let prints: BTreeMap<i32, Fingerprint> =
        gather.finish().into_iter().map(|(process, of)| (process, of.fingerprint())).collect();
    for (process, (last, first)) in maybe_two {
        let (Some(before), Some(after)) = (prints.get(&process), prints.get(&(-1 - process))) else { continue };
        let distance = before.distance(after).filter(|_| before.is_clear() && after.is_clear());
        if let Some(distance) = distance.filter(|distance| *distance > FAR) {
            closer.two.push(Two { process, last, first, distance });
        }
    }
    let is_kernel = |process: &i32| prints.get(process).is_some_and(is_idle);
    closer.kernels = maybe_kernels.into_iter().filter(is_kernel).collect();
    Ok(closer)
}

/// Whether it only ever wakes up for a moment.
fn is_idle(print: &Fingerprint) -> bool {
    let long = print.runs.lengths.above(Histogram::class(SHORT_NS));
    print.is_clear()
        && long <= (1.0 - NEARLY_ALL) * print.runs.lengths.total()
        && print.waited >= NEARLY_ALL * print.runs.count
}

pub(crate) fn findings(two: &[Two], series: &Series, names: &Names) -> Vec<Finding> {
    let finding = |two: &Two| {
        let track = series.processes.get(two.process)?;
        let grid = series.grid;
        let title = format!(
            "{} is probably two: one to {}, and from {} on another that works at another rhythm",
            names.process_of(track.vm_id, two.process),
            names.moment(grid.start(two.last + 1)),
            names.moment(grid.start(two.first)),
        );
        let score = track.total() / grid.span();
        let mut finding = Finding::new(Kind::Trace, Severity::Low, score, title);
        finding.sure = (0.5 + 0.5 * (two.distance - FAR) / (1.0 - FAR)).min(0.9);
        let vcpu_id = Track::mostly(&track.vcpus);
        finding.who = Who { vm_id: Some(track.vm_id), vcpu_id, process_id: Some(two.process) };
        (finding.start_tsc, finding.end_tsc) = (Some(grid.start(two.last + 1)), Some(grid.start(two.first)));
        let span = |start_tsc, end_tsc| Span { cpu: None, vcpu_id, process_id: Some(two.process), start_tsc, end_tsc };
        finding.spans = vec![span(grid.from, grid.start(two.last + 1)), span(grid.start(two.first), grid.to)];
        Some(finding)
    };
    two.iter().filter_map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_alone_wakes_for_a_moment() {
        let print = |runs: &[(f64, f64)], waited: f64| {
            let mut print = Fingerprint { waited, ..Fingerprint::default() };
            for (length, count) in runs {
                print.runs.lengths.add(*length, length * count);
                print.runs.count += count;
                print.turns.count += count;
            }
            print
        };
        assert!(is_idle(&print(&[(20e3, 200.0), (60e3, 50.0)], 250.0)));
        assert!(!is_idle(&print(&[(20e3, 200.0), (400e3, 20.0)], 220.0)), "a program between ticks");
        assert!(!is_idle(&print(&[(20e3, 200.0)], 100.0)), "others go on after it");
        assert!(!is_idle(&print(&[(20e3, 3.0)], 3.0)), "too little is seen");
    }

    #[test]
    fn an_absence_is_far_longer_than_any_other() {
        let on = |stretches: &[(usize, usize)]| {
            let mut on = vec![0.0; BUCKETS];
            stretches.iter().for_each(|(from, to)| on[*from..*to].fill(1.0));
            on
        };
        assert_eq!(absence(&on(&[(0, 100), (200, 300)])), Some((99, 200)));
        assert_eq!(absence(&on(&[(0, 100), (150, 160), (260, 300)])), None, "it was away half as long before");
        assert_eq!(absence(&on(&[(0, 100), (110, 512)])), None, "short");
        assert_eq!(absence(&on(&[(300, 512)])), None, "it began");
        assert_eq!(absence(&[]), None);
    }
}
