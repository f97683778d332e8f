//! How much VMs and processes had, wanted and left of windows of one length.

use std::collections::BTreeMap;

use havana_rows::VcpuStateKind as State;
use rustc_hash::FxHashMap;

use super::profile::Metric;
use crate::fingerprint::Histogram;
use crate::grid::Grid;
use crate::slices::Slice;

/// Windows that are looked at, evenly over a dataset that has more: enough for any quantile that is asked for.
const MOST: usize = 256;

/// Of each VM and process, and of the node, what each window had.
pub(super) struct Windows {
    from: i64,
    width: f64,
    /// From the begin of one to that of the next.
    stride: f64,
    count: usize,
    /// Nanoseconds a tick, or 1.
    scale: f64,
    cpus: f64,
    vms: BTreeMap<i32, Vec<Vm>>,
    processes: BTreeMap<i32, Vec<Process>>,
    vcpus: FxHashMap<i32, OnVcpu>,
}

/// Ticks and counts of one window.
#[derive(Clone, Default)]
struct Vm {
    on: f64,
    root: f64,
    preempted: f64,
    exits: f64,
    waits: f64,
    latencies: Histogram,
}

#[derive(Clone, Copy, Default)]
struct Process {
    on: f64,
    exits: f64,
}

#[derive(Default)]
struct OnVcpu {
    in_guest: bool,
    /// Since when it is in root for an exit, and how long it was so far.
    root: Option<(i64, i64)>,
}

/// Of each metric, a value each window.
pub(super) type Values = BTreeMap<Metric, Vec<f64>>;

impl Windows {
    /// Of this length, in nanoseconds or ticks; at least one, of all there is.
    pub(super) fn new(grid: Grid, scale: f64, length: f64, cpus: usize) -> Windows {
        let width = (length / scale).clamp(1.0, grid.span());
        let fit = (grid.span() / width + 1e-6) as usize;
        let count = fit.clamp(1, MOST);
        let stride = if fit > MOST { (grid.span() - width) / (MOST - 1) as f64 } else { width };
        let (vms, processes) = (BTreeMap::new(), BTreeMap::new());
        let cpus = cpus.max(1) as f64;
        Windows { from: grid.from, width, stride, count, scale, cpus, vms, processes, vcpus: FxHashMap::default() }
    }

    /// The window that a moment is in.
    fn at(&self, tsc: i64) -> Option<usize> {
        let at = (tsc - self.from) as f64 / self.stride;
        let window = at.max(0.0) as usize;
        (at >= 0.0 && window < self.count && (at - window as f64) * self.stride < self.width).then_some(window)
    }

    /// The windows that a stretch is in, and how much of it.
    fn parts(&self, start: i64, end: i64) -> impl Iterator<Item = (usize, f64)> + use<> {
        let (from, to) = ((start - self.from) as f64, (end - self.from) as f64);
        let (stride, width, count) = (self.stride, self.width, self.count);
        let first = (from / stride).max(0.0) as usize;
        (first..count)
            .map(move |window| (window, window as f64 * stride))
            .take_while(move |(_, at)| *at < to)
            .filter_map(move |(window, at)| {
                let inside = to.min(at + width) - from.max(at);
                (inside > 0.0).then_some((window, inside))
            })
    }

    pub(super) fn add(&mut self, slice: &Slice) {
        let count = self.count;
        for row in slice.rows.iter().filter(|row| slice.begins(row)) {
            let here = self.at(row.start_tsc);
            let runs = matches!(row.state, State::Guest | State::Hypervisor);
            let of = self.vcpus.entry(row.vcpu_id).or_default();
            let left = std::mem::replace(&mut of.in_guest, row.state == State::Guest) && row.state != State::Guest;
            let root = match (row.state, &mut of.root) {
                (State::Guest, root) => root.take(),
                (State::Hypervisor, root) => {
                    let (since, so_far) = root.unwrap_or((row.start_tsc, 0));
                    *root = (left || root.is_some()).then_some((since, so_far + row.end_tsc - row.start_tsc));
                    None
                }
                // It did not go on from there: that was no handling of an exit.
                (_, root) => {
                    *root = None;
                    None
                }
            };
            let handled = root.and_then(|(since, length)| Some((self.at(since)?, length as f64 * self.scale)));
            let parts: Vec<(usize, f64)> = self.parts(row.start_tsc, row.end_tsc).collect();
            let vm = self.vms.entry(row.vm_id).or_insert_with(|| vec![Vm::default(); count]);
            if let Some((window, length)) = handled {
                vm[window].latencies.add(length, 1.0);
            }
            for (window, ticks) in &parts {
                let window = &mut vm[*window];
                match row.state {
                    State::Guest => window.on += ticks,
                    State::Hypervisor => (window.on, window.root) = (window.on + ticks, window.root + ticks),
                    State::Preempted => window.preempted += ticks,
                    _ => {}
                }
            }
            if let Some(window) = here {
                vm[window].exits += f64::from(u8::from(left));
                vm[window].waits += f64::from(u8::from(row.state == State::Waiting));
            }
            let Some(process) = row.process_id else { continue };
            let process = self.processes.entry(process).or_insert_with(|| vec![Process::default(); count]);
            parts.iter().filter(|_| runs).for_each(|(window, ticks)| process[*window].on += ticks);
            here.into_iter().filter(|_| left).for_each(|window| process[window].exits += 1.0);
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// A count as a rate: a second's, or 10⁹ ticks'.
    fn rate(&self, count: f64) -> f64 {
        count * 1e9 / (self.width * self.scale)
    }

    /// Of all VMs together.
    pub(super) fn node(&self) -> Values {
        let sum = |of: fn(&Vm) -> f64| -> Vec<f64> {
            (0..self.count).map(|window| self.vms.values().map(|vm| of(&vm[window])).sum()).collect()
        };
        let part = |of: Vec<f64>| of.into_iter().map(|ticks| ticks / (self.width * self.cpus)).collect();
        let exits = sum(|vm| vm.exits).into_iter().map(|count| self.rate(count)).collect();
        let (on, root) = (part(sum(|vm| vm.on)), part(sum(|vm| vm.root)));
        [(Metric::Share, on), (Metric::Root, root), (Metric::Exits, exits)].into()
    }

    /// Of a VM. A window has no latency without exits, and none was wanted where nothing ran: that says nothing.
    pub(super) fn vm(&self, id: i32) -> Values {
        let Some(windows) = self.vms.get(&id) else { return Values::new() };
        let all = |of: &dyn Fn(&Vm) -> Option<f64>| windows.iter().filter_map(of).collect();
        [
            (Metric::Share, all(&|of| Some(of.on / self.width))),
            (Metric::Root, all(&|of| Some(of.root / self.width))),
            (Metric::Steal, all(&|of| (of.on > 0.0).then(|| of.preempted / (of.on + of.preempted)))),
            (Metric::Exits, all(&|of| Some(self.rate(of.exits)))),
            (Metric::LatencyMedian, all(&|of| of.latencies.quantile(0.5))),
            (Metric::LatencyHigh, all(&|of| of.latencies.quantile(0.9))),
            (Metric::Waits, all(&|of| Some(self.rate(of.waits)))),
        ]
        .into()
    }

    /// Of a process.
    pub(super) fn process(&self, id: i32) -> Values {
        let Some(windows) = self.processes.get(&id) else { return Values::new() };
        let shares = windows.iter().map(|of| of.on / self.width).collect();
        let exits = windows.iter().map(|of| self.rate(of.exits)).collect();
        [(Metric::Share, shares), (Metric::Exits, exits)].into()
    }

    /// When a window begins and ends.
    pub(super) fn span(&self, window: usize) -> (i64, i64) {
        let start = window as f64 * self.stride;
        (self.from + start as i64, self.from + (start + self.width) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use havana_rows::Evidence;
    use havana_rows::parquet::VcpuTurn;

    #[test]
    fn each_window_has_what_is_in_it() {
        let row = |(start_tsc, end_tsc), state| VcpuTurn {
            vcpu_id: 0,
            vm_id: 4,
            start_tsc,
            start_lo_tsc: start_tsc,
            start_hi_tsc: start_tsc,
            end_tsc,
            state,
            evidence: Evidence::Observed,
            cpu: Some(0),
            process_id: Some(7),
            taken_by: None,
        };
        let rows = [
            row((0, 300), State::Guest),
            row((300, 320), State::Hypervisor),
            row((320, 400), State::Guest),
            row((400, 440), State::Hypervisor),
            row((440, 900), State::Waiting),
            row((900, 1024), State::Guest),
        ];
        let grid = Grid::new(0, 1024).unwrap();
        let mut windows = Windows::new(grid, 1.0, 256.0, 1);
        for (from, to) in [(0, 410), (410, 1024)] {
            let inside = |row: &VcpuTurn| row.start_tsc < to && row.end_tsc > from;
            windows.add(&Slice::new((from, to), rows.iter().copied().filter(inside).collect()));
        }
        assert_eq!(windows.count(), 4);
        let vm = windows.vm(4);
        assert_eq!(vm[&Metric::Share], [256.0, 184.0, 0.0, 124.0].map(|ticks| ticks / 256.0));
        assert_eq!(vm[&Metric::Root], [0.0, 60.0, 0.0, 0.0].map(|ticks| ticks / 256.0));
        assert_eq!(vm[&Metric::Exits], [0.0, 2e9 / 256.0, 0.0, 0.0]);
        assert_eq!(vm[&Metric::Waits], [0.0, 1e9 / 256.0, 0.0, 0.0]);
        // The exit that ended with a wait was not only handled.
        assert_eq!(vm[&Metric::LatencyMedian].len(), 1);
        assert_eq!(windows.process(7)[&Metric::Share], vm[&Metric::Share]);
        assert_eq!(windows.span(3), (768, 1024));
        // More than are looked at: spread over all of the time.
        let many = Windows::new(grid, 1.0, 1.0, 1);
        assert_eq!((many.count(), many.span(MOST - 1)), (MOST, (1023, 1024)));
        assert_eq!([many.at(0), many.at(1), many.at(1023)], [Some(0), None, Some(MOST - 1)]);
    }
}
