//! The interval at a moment, and its neighbours, with all that is known of it.

use havana_rows::parquet::View;
use havana_rows::{CpuState, Time, VcpuState};
use havana_store::StoreError;

use super::{Kind, Opened, Window};

/// An interval of a cpu or a vCPU.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Interval {
    Cpu(CpuState),
    Vcpu(VcpuState),
}

/// Whose intervals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Track {
    pub(crate) kind: Kind,
    pub(crate) id: i32,
    /// Of a process: on this vCPU only.
    pub(crate) vcpu: Option<i32>,
}

/// Which way to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Next,
    Previous,
}

impl Interval {
    pub(crate) fn start(&self) -> Time {
        match self {
            Interval::Cpu(row) => row.start,
            Interval::Vcpu(row) => row.start,
        }
    }

    pub(crate) fn end(&self) -> Time {
        match self {
            Interval::Cpu(row) => row.end,
            Interval::Vcpu(row) => row.end,
        }
    }

    fn window(&self) -> Window {
        Window { from: self.start().tsc, to: self.end().tsc }
    }
}

impl Track {
    /// Gives its intervals that overlap the window, in no order. Those without a length are passed over.
    fn each(self, opened: &Opened, window: Window, mut take: impl FnMut(Interval)) -> Result<(), StoreError> {
        let mut wanted = |interval: Interval| {
            let within = interval.window();
            if window.cut(within.from, within.to).is_some() {
                take(interval);
            }
        };
        fn scan<V: View>(opened: &Opened, window: Window, take: impl FnMut(&V)) -> Result<(), StoreError> {
            opened.dataset.scan(V::TABLE).overlapping(window.range()).each(take)
        }
        match self.kind {
            Kind::Cpu => scan(opened, window, |row: &CpuState| {
                if row.cpu == self.id {
                    wanted(Interval::Cpu(*row));
                }
            }),
            _ => scan(opened, window, |row: &VcpuState| {
                let its = match self.kind {
                    Kind::Process => {
                        row.process_id == Some(self.id) && self.vcpu.is_none_or(|vcpu| vcpu == row.vcpu_id)
                    }
                    _ => row.vcpu_id == self.id,
                };
                if its {
                    wanted(Interval::Vcpu(*row));
                }
            }),
        }
    }

    /// The interval at a tick; of several the one that began last.
    pub(crate) fn at(self, opened: &Opened, tick: i64) -> Result<Option<Interval>, StoreError> {
        let mut found: Option<Interval> = None;
        self.each(opened, Window { from: tick, to: tick.saturating_add(1) }, |interval| {
            if found.is_none_or(|found| interval.start().tsc > found.start().tsc) {
                found = Some(interval);
            }
        })?;
        Ok(found)
    }

    /// The interval after or before the one at a tick; where there is none there, after or before that tick.
    pub(crate) fn step(self, opened: &Opened, tick: i64, step: Step) -> Result<Option<Interval>, StoreError> {
        let here = self.at(opened, tick)?.map_or(Window { from: tick, to: tick }, |at| at.window());
        let all = Window { from: opened.first_tsc, to: opened.last_tsc };
        let (mut from, mut reach) = (if step == Step::Next { here.to } else { here.from }, 1i64 << 16);
        // Further each time: what is next is near, mostly.
        loop {
            let window = match step {
                Step::Next => Window { from, to: from.saturating_add(reach).min(all.to) },
                Step::Previous => Window { from: from.saturating_sub(reach).max(all.from), to: from },
            };
            if window.ticks() == 0 {
                return Ok(None);
            }
            let mut found: Option<Interval> = None;
            self.each(opened, window, |interval| {
                let within = interval.window();
                let better = match step {
                    Step::Next => within.from >= here.to && found.is_none_or(|found| within.from < found.start().tsc),
                    Step::Previous => within.to <= here.from && found.is_none_or(|found| within.to > found.end().tsc),
                };
                if better {
                    found = Some(interval);
                }
            })?;
            if found.is_some() {
                return Ok(found);
            }
            from = if step == Step::Next { window.to } else { window.from };
            reach = reach.saturating_mul(16);
        }
    }
}

/// Whether the dataset has the track.
pub(crate) fn exists(opened: &Opened, track: Track) -> bool {
    match track.kind {
        Kind::Cpu => opened.dataset.manifest().cpus.contains(&track.id),
        Kind::Vcpu => opened.vcpus.iter().any(|vcpu| vcpu.vcpu_id == track.id),
        Kind::Process => opened.processes.iter().any(|process| process.process_id == track.id),
        Kind::OnVcpu | Kind::Vm | Kind::Node => false,
    }
}
