//! The rows of the time graphs, as trees. A row's id is its place among all.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use serde_json::{Value, json};

use super::Tsp;
use crate::view::interval::Track;
use crate::view::{Kind, Opened};

/// A row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    parent: Option<usize>,
    pub(super) of: Of,
}

/// What it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// The heading of all cpus.
    Node,
    /// The heading of a VM's vCPUs: side by side they have states that overlap.
    Vm(i32),
    Cpu(i32),
    Vcpu {
        id: i32,
        vm: i32,
    },
    /// A guest process on a vCPU; `id` is of [`Kind::OnVcpu`].
    Process {
        id: i32,
        process: i32,
        vcpu: i32,
        vm: i32,
    },
}

impl Of {
    /// The track that has its states; a heading has none.
    pub(super) fn track(self) -> Option<(Kind, i32)> {
        match self {
            Of::Node | Of::Vm(_) => None,
            Of::Cpu(id) => Some((Kind::Cpu, id)),
            Of::Vcpu { id, .. } => Some((Kind::Vcpu, id)),
            Of::Process { id, .. } => Some((Kind::OnVcpu, id)),
        }
    }

    /// Where its intervals are.
    pub(super) fn intervals(self) -> Option<Track> {
        match self {
            Of::Node | Of::Vm(_) => None,
            Of::Cpu(id) => Some(Track { kind: Kind::Cpu, id, vcpu: None }),
            Of::Vcpu { id, .. } => Some(Track { kind: Kind::Vcpu, id, vcpu: None }),
            Of::Process { process, vcpu, .. } => Some(Track { kind: Kind::Process, id: process, vcpu: Some(vcpu) }),
        }
    }

    /// The VM whose it is.
    pub(super) fn vm(self) -> Option<i32> {
        match self {
            Of::Node | Of::Cpu(_) => None,
            Of::Vm(vm) | Of::Vcpu { vm, .. } | Of::Process { vm, .. } => Some(vm),
        }
    }
}

/// All rows of a time graph.
#[derive(Debug, Default)]
pub(super) struct Rows {
    rows: Vec<Row>,
    places: FxHashMap<(Kind, i32), usize>,
}

impl Rows {
    fn add(&mut self, parent: Option<usize>, of: Of) -> usize {
        let place = self.rows.len();
        if let Some(track) = of.track() {
            self.places.insert(track, place);
        }
        self.rows.push(Row { parent, of });
        place
    }

    /// The cpus of the node.
    pub(super) fn of_cpus(opened: &Opened) -> Rows {
        let mut rows = Rows::default();
        let node = rows.add(None, Of::Node);
        for &cpu in &opened.dataset.manifest().cpus {
            rows.add(Some(node), Of::Cpu(cpu));
        }
        rows
    }

    /// VMs, their vCPUs, and the guest processes on each.
    pub(super) fn of_vms(opened: &Opened) -> Rows {
        let mut processes: BTreeMap<i32, Vec<(i32, i32)>> = BTreeMap::new();
        for (id, &(process, vcpu)) in opened.on_vcpus().iter().enumerate() {
            processes.entry(vcpu).or_default().push((id as i32, process));
        }
        let mut rows = Rows::default();
        for vm in opened.vms.iter().map(|vm| vm.vm_id) {
            let heading = rows.add(None, Of::Vm(vm));
            for vcpu in opened.vcpus.iter().filter(|vcpu| vcpu.vm_id == vm).map(|vcpu| vcpu.vcpu_id) {
                let of_vcpu = rows.add(Some(heading), Of::Vcpu { id: vcpu, vm });
                for (id, process) in processes.remove(&vcpu).unwrap_or_default() {
                    rows.add(Some(of_vcpu), Of::Process { id, process, vcpu, vm });
                }
            }
        }
        rows
    }

    pub(super) fn get(&self, id: i64) -> Option<Row> {
        self.rows.get(usize::try_from(id).ok()?).copied()
    }

    /// The row of a track.
    pub(super) fn of_track(&self, kind: Kind, id: i32) -> Option<usize> {
        self.places.get(&(kind, id)).copied()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (usize, Row)> {
        self.rows.iter().copied().enumerate()
    }

    /// The model of the tree.
    pub(super) fn tree(&self, tsp: &Tsp, opened: &Opened) -> Value {
        /// Rows that are all unfolded at first.
        const FEW: usize = 200;
        let vcpus: FxHashMap<i32, (i64, i64)> =
            opened.vcpus.iter().map(|vcpu| (vcpu.vcpu_id, (vcpu.first_tsc, vcpu.last_tsc))).collect();
        let entry = |(id, row): (usize, Row)| {
            let (first, last) = match row.of {
                Of::Vcpu { id: vcpu, .. } | Of::Process { vcpu, .. } => vcpus.get(&vcpu).copied(),
                _ => None,
            }
            .unwrap_or((opened.first_tsc, opened.last_tsc));
            let mut entry = json!({
                "id": id, "labels": [name(tsp, opened, row.of)], "hasData": row.of.track().is_some(),
                "start": tsp.times.time(first), "end": tsp.times.time(last), "metadata": metadata(row.of),
            });
            if let Some(parent) = row.parent {
                entry["parentId"] = parent.into();
            }
            entry
        };
        json!({
            "headers": [{ "name": "Name", "tooltip": "cpus, VMs, their vCPUs, and the guest processes on them" }],
            "entries": self.all().map(entry).collect::<Vec<Value>>(),
            "autoExpandLevel": if self.rows.len() <= FEW { -1 } else { 1 },
        })
    }
}

fn name(tsp: &Tsp, opened: &Opened, of: Of) -> String {
    match of {
        Of::Node => opened.dataset.manifest().node.clone(),
        Of::Vm(vm) => tsp.names.vm(vm),
        Of::Cpu(cpu) => format!("cpu {cpu}"),
        Of::Vcpu { id, .. } => tsp.names.vcpu(id),
        Of::Process { process, .. } => tsp.names.process(process),
    }
}

/// What a row is about, for rows of other outputs that are about the same.
fn metadata(of: Of) -> Value {
    match of {
        Of::Node => json!({}),
        Of::Vm(vm) => json!({ "vm": [vm] }),
        Of::Cpu(cpu) => json!({ "cpu": [cpu] }),
        Of::Vcpu { id, vm } => json!({ "vm": [vm], "vcpu": [id] }),
        Of::Process { process, vcpu, vm, .. } => json!({ "vm": [vm], "vcpu": [vcpu], "process": [process] }),
    }
}
