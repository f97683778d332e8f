//! How much of each bucket guest processes and VMs had, and what vCPUs wanted.

use std::collections::BTreeMap;

use havana_rows::VcpuStateKind;

use crate::grid::{BUCKETS, Grid};
use crate::ids::ById;
use crate::slices::Slice;

/// A guest process: its time on cpus.
#[derive(Debug, Clone)]
pub(crate) struct Track {
    pub(crate) vm_id: i32,
    /// Ticks a bucket, in the guest and in root for it.
    pub(crate) on: Vec<f32>,
    /// Ticks in all: in the guest, and in root for it.
    pub(crate) guest: f64,
    pub(crate) root: f64,
    /// Ticks on each cpu, and of each vCPU.
    pub(crate) cpus: BTreeMap<i32, f64>,
    pub(crate) vcpus: BTreeMap<i32, f64>,
}

impl Track {
    fn new(vm_id: i32) -> Track {
        let (cpus, vcpus) = (BTreeMap::new(), BTreeMap::new());
        Track { vm_id, on: vec![0.0; BUCKETS], guest: 0.0, root: 0.0, cpus, vcpus }
    }

    /// Ticks on cpus.
    pub(crate) fn total(&self) -> f64 {
        self.guest + self.root
    }

    /// The cpu, or vCPU, that it mostly was on.
    pub(crate) fn mostly(on: &BTreeMap<i32, f64>) -> Option<i32> {
        on.iter().max_by(|a, b| a.1.total_cmp(b.1)).map(|(id, _)| *id)
    }
}

/// What a vCPU had, and what it wanted and had not; ticks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    pub(crate) vm_id: i32,
    pub(crate) on: f64,
    /// Ticks of it a bucket; empty where there are none.
    pub(crate) buckets: Vec<f32>,
    pub(crate) preempted: f64,
    /// Of that what a record says, and no rule.
    pub(crate) observed: f64,
}

/// All series of a dataset.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) grid: Grid,
    pub(crate) processes: ById<Track>,
    /// Ticks a bucket that a VM had of all cpus.
    pub(crate) vms: ById<Vec<f32>>,
    pub(crate) vcpus: ById<Wanted>,
}

impl Series {
    pub(crate) fn new(grid: Grid) -> Series {
        Series { grid, processes: ById::default(), vms: ById::default(), vcpus: ById::default() }
    }

    pub(crate) fn add(&mut self, slice: &Slice) {
        for row in &slice.rows {
            let (start, end) = slice.inside(row);
            let ticks = (end - start) as f64;
            let vcpu = self.vcpus.or_default(row.vcpu_id);
            vcpu.vm_id = row.vm_id;
            match row.state {
                VcpuStateKind::Guest | VcpuStateKind::Hypervisor => {}
                VcpuStateKind::Preempted => {
                    vcpu.preempted += ticks;
                    vcpu.observed += if row.evidence == havana_rows::Evidence::Observed { ticks } else { 0.0 };
                    continue;
                }
                _ => continue,
            }
            vcpu.on += ticks;
            vcpu.buckets.resize(BUCKETS, 0.0);
            self.grid.add(&mut vcpu.buckets, start, end);
            self.grid.add(self.vms.or_insert_with(row.vm_id, || vec![0.0; BUCKETS]), start, end);
            let Some(process) = row.process_id else { continue };
            let track = self.processes.or_insert_with(process, || Track::new(row.vm_id));
            self.grid.add(&mut track.on, start, end);
            let sum = if row.state == VcpuStateKind::Guest { &mut track.guest } else { &mut track.root };
            *sum += ticks;
            row.cpu.into_iter().for_each(|cpu| *track.cpus.entry(cpu).or_default() += ticks);
            *track.vcpus.entry(row.vcpu_id).or_default() += ticks;
        }
    }

    /// The processes that had most, at most so many: the first has most.
    pub(crate) fn largest(&self, most: usize) -> Vec<(i32, &Track)> {
        let mut all: Vec<(i32, &Track)> = self.processes.iter().collect();
        all.sort_by(|a, b| b.1.total().total_cmp(&a.1.total()).then(a.0.cmp(&b.0)));
        all.truncate(most);
        all
    }
}
