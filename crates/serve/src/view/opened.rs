//! An opened dataset, and what every answer needs of it.

use std::collections::{BTreeMap, BTreeSet};

use havana_rows::parquet::{ProcessPlace, Table};
use havana_rows::{Lod, Process, TrackKind, Vcpu, Vm};
use havana_store::{Dataset, StoreError};

use super::levels::COARSEST;
use super::{Kind, Window};

/// A dataset with its small tables.
pub(crate) struct Opened {
    pub(crate) dataset: Dataset,
    pub(crate) vms: Vec<Vm>,
    pub(crate) vcpus: Vec<Vcpu>,
    pub(crate) processes: Vec<Process>,
    /// The first tick: times outside count from it.
    pub(crate) first_tsc: i64,
    pub(crate) last_tsc: i64,
    pub(crate) lanes: Lanes,
}

impl Opened {
    pub(crate) fn new(dataset: Dataset) -> Result<Opened, StoreError> {
        let (vms, vcpus, processes) = (dataset.vms()?, dataset.vcpus()?, dataset.processes()?);
        let manifest = dataset.manifest();
        let first_tsc = manifest.first_tsc.unwrap_or(0);
        let last_tsc = manifest.last_tsc.unwrap_or(first_tsc);
        let lanes = Lanes::of(&dataset, &vcpus)?;
        Ok(Opened { dataset, vms, vcpus, processes, first_tsc, last_tsc, lanes })
    }

    /// Absolute ticks of a window that a page asked for, no wider than needed: anything beyond the dataset is empty.
    pub(crate) fn window(&self, from: f64, to: f64) -> Window {
        let tick = |rel: f64| self.first_tsc.saturating_add(rel as i64);
        Window { from: tick(from.floor()), to: tick(to.ceil()) }
    }

    /// Which guest process was on which vCPU: the tracks of [`Kind::OnVcpu`].
    pub(crate) fn on_vcpus(&self) -> &[(i32, i32)] {
        &self.lanes.on_vcpus
    }

    /// Ticks since the first one.
    pub(crate) fn rel(&self, tsc: i64) -> f64 {
        tsc.saturating_sub(self.first_tsc) as f64
    }
}

/// Which members a row sums up, each with an equal part of its height: cpus of the node, vCPUs of a VM or process.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    cpus: Vec<i32>,
    vms: BTreeMap<i32, Vec<i32>>,
    processes: BTreeMap<i32, Vec<i32>>,
    /// Which process was on which vCPU, ascending.
    on_vcpus: Vec<(i32, i32)>,
    pub(crate) vm_of_vcpu: BTreeMap<i32, i32>,
}

impl Lanes {
    fn of(dataset: &Dataset, vcpus: &[Vcpu]) -> Result<Lanes, StoreError> {
        let mut vms: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for vcpu in vcpus {
            vms.entry(vcpu.vm_id).or_default().push(vcpu.vcpu_id);
        }
        vms.values_mut().for_each(|vcpus| vcpus.sort_unstable());
        let mut places: BTreeSet<(i32, i32)> = BTreeSet::new();
        if dataset.manifest().lod.contains_key("process") {
            let scan = dataset.scan(Table::Lod).only("level", COARSEST).only_named("track_kind", "process");
            scan.each(|row: &Lod| {
                if let (TrackKind::Process, COARSEST, Some(vcpu)) = (row.track_kind, row.level, row.vcpu_id) {
                    places.insert((row.track_id, vcpu));
                }
            })?;
        } else {
            dataset.scan(Table::VcpuStates).each(|row: &ProcessPlace| {
                places.extend(row.process_id.map(|process| (process, row.vcpu_id)));
            })?;
        }
        let mut processes: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for &(process, vcpu) in &places {
            processes.entry(process).or_default().push(vcpu);
        }
        let vm_of_vcpu = vcpus.iter().map(|vcpu| (vcpu.vcpu_id, vcpu.vm_id)).collect();
        let on_vcpus = places.into_iter().collect();
        Ok(Lanes { cpus: dataset.manifest().cpus.clone(), vms, processes, on_vcpus, vm_of_vcpu })
    }

    fn members(&self, kind: Kind, id: i32) -> &[i32] {
        match kind {
            Kind::Cpu | Kind::Vcpu | Kind::OnVcpu => &[],
            Kind::Node => &self.cpus,
            Kind::Vm => self.vms.get(&id).map_or(&[], Vec::as_slice),
            Kind::Process => self.processes.get(&id).map_or(&[], Vec::as_slice),
        }
    }

    /// The track of a process on a vCPU.
    pub(crate) fn on_vcpu(&self, process: i32, vcpu: i32) -> Option<i32> {
        self.on_vcpus.binary_search(&(process, vcpu)).ok().map(|place| place as i32)
    }

    /// How many parts the row of a track has.
    pub(crate) fn count(&self, kind: Kind, id: i32) -> usize {
        self.members(kind, id).len().max(1)
    }

    /// Which of them a member's is: the cpu, or the vCPU.
    pub(crate) fn place(&self, kind: Kind, id: i32, member: i32) -> usize {
        self.members(kind, id).binary_search(&member).unwrap_or(0)
    }
}
