//! Captures of one node that follow each other, as one.
//!
//! ```text
//! ids      VMs by host CR3, vCPUs by VMCS, processes by CR3: the same in all captures, one id
//! rows     of one capture after the other, with these ids
//! between  where nothing was traced cpus are lost, and that is a loss
//! ```
//!
//! What was found stays found, each in its time. Names and clocks that one capture knows and another does not are known.

use std::collections::BTreeMap;
use std::path::Path;

use havana_rows::{
    CpuState, CpuStateKind, Evidence, Exit, Finding, FindingSpan, Loss, LossCause, Process, Sink, Taker, TakerKind,
    Thread, Time, Vcpu, VcpuState, Vm, VmOffset,
};

use crate::{Dataset, DatasetWriter, Manifest, StoreError, WriterOptions};

/// Clocks of captures that are one may differ by so much, ns: less than who reads them together would notice.
const APART_NS: i64 = 100_000_000;

/// Why captures cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Apart {
    /// They are of different nodes.
    Node,
    /// Their clocks count from other moments, or at other rates: the host was started again.
    Clock,
    /// One begins before another ends.
    Overlap,
    /// One has no rows.
    Empty,
}

/// Whether the second can be the continuation of the first.
pub fn follows(first: &Manifest, second: &Manifest) -> Result<(), Apart> {
    if first.node != second.node {
        return Err(Apart::Node);
    }
    let (Some(end), Some(begin)) = (first.last_tsc, second.first_tsc) else { return Err(Apart::Empty) };
    if first.clock.hz() != second.clock.hz() || first.clock.epoch != second.clock.epoch {
        return Err(Apart::Clock);
    }
    match (first.clock.ns(), second.clock.ns()) {
        (Some(a), Some(b)) if a.ns(begin).abs_diff(b.ns(begin)) <= APART_NS.unsigned_abs() => {}
        _ => return Err(Apart::Clock),
    }
    if begin < end { Err(Apart::Overlap) } else { Ok(()) }
}

/// Makes one dataset of several, each of which [follows](follows) the one before.
///
/// # Errors
/// One cannot be read; the other not be written.
///
/// # Panics
/// Never; of none there is none.
pub fn merge(datasets: &[Dataset], dir: &Path, options: WriterOptions) -> Result<Option<Dataset>, StoreError> {
    let Some(first) = datasets.first() else { return Ok(None) };
    let mut merged = Merged::default();
    let ids = datasets.iter().map(|dataset| merged.take(dataset)).collect::<Result<Vec<_>, _>>()?;
    let ns_clock = first.manifest().clock.ns();
    let mut writer = DatasetWriter::create(dir, WriterOptions { ns_clock, ..options })?;
    merged.tell(&mut writer)?;
    let mut exits = 0;
    let mut end: Option<&Manifest> = None;
    for (dataset, ids) in datasets.iter().zip(&ids) {
        if let Some(end) = end.replace(dataset.manifest()) {
            between(end, dataset.manifest(), &mut writer)?;
        }
        for row in dataset.cpu_states()? {
            writer.cpu_state(ids.cpu_state(row?))?;
        }
        for row in dataset.vcpu_states()? {
            writer.vcpu_state(ids.vcpu_state(row?))?;
        }
        for row in dataset.exits()? {
            let row = row?;
            writer.exit(Exit { exit_id: exits, ..ids.exit(row) })?;
            exits = exits.saturating_add(1);
        }
        for row in dataset.losses()? {
            writer.loss(row?)?;
        }
    }
    let ended = writer.end(about(datasets))?;
    ended.put(found(datasets, &ids)?).map(Some)
}

/// What the manifest says of them all.
fn about(datasets: &[Dataset]) -> Manifest {
    let mut manifest = datasets[0].manifest().clone();
    for other in datasets[1..].iter().map(Dataset::manifest) {
        manifest.sources.extend(other.sources.iter().cloned());
        for (kind, count) in &other.packets {
            *manifest.packets.entry(kind.clone()).or_default() += count;
        }
        manifest.settings.psb_count += other.settings.psb_count;
        for warning in &other.warnings {
            if !manifest.warnings.contains(warning) {
                manifest.warnings.push(warning.clone());
            }
        }
    }
    manifest
}

/// Cpus are lost where nothing was traced.
fn between(before: &Manifest, after: &Manifest, writer: &mut DatasetWriter) -> Result<(), StoreError> {
    let (Some(start), Some(end)) = (before.last_tsc, after.first_tsc) else { return Ok(()) };
    if start >= end {
        return Ok(());
    }
    for &cpu in after.cpus.iter().filter(|cpu| before.cpus.contains(cpu)) {
        writer.cpu_state(CpuState {
            cpu,
            start: Time::exact(start),
            end: Time::exact(end),
            state: CpuStateKind::Lost,
            evidence: Evidence::Lost,
            vm_id: None,
            vcpu_id: None,
            process_id: None,
            host_cr3: None,
            guest_cr3: None,
            tid: None,
        })?;
        writer.loss(Loss {
            cpu,
            start_tsc: start,
            end_tsc: end,
            cause: LossCause::TraceOff,
            source: after.sources.first().map(|source| source.name.clone()).unwrap_or_default(),
            offset_bytes: 0,
            bytes: 0,
        })?;
    }
    Ok(())
}

/// Findings, and what proves them.
type Found = (Vec<Finding>, Vec<FindingSpan>);

/// What was found in each, by the new ids; none where nobody looked in one.
fn found(datasets: &[Dataset], ids: &[Ids]) -> Result<Option<Found>, StoreError> {
    let (mut findings, mut spans) = (Vec::new(), Vec::new());
    for (dataset, ids) in datasets.iter().zip(ids) {
        let Some(rows) = dataset.findings()? else { return Ok(None) };
        let offset = i32::try_from(findings.len()).unwrap_or(i32::MAX);
        let manifest = dataset.manifest();
        let (first, last) = (manifest.first_tsc, manifest.last_tsc);
        for row in rows {
            findings.push(Finding {
                finding_id: row.finding_id + offset,
                vm_id: ids.vms.of(row.vm_id),
                vcpu_id: ids.vcpus.of(row.vcpu_id),
                process_id: ids.processes.of(row.process_id),
                // "All along" was its capture.
                start_tsc: row.start_tsc.or(first),
                end_tsc: row.end_tsc.or(if row.start_tsc.is_none() { last } else { row.end_tsc }),
                ..row
            });
        }
        for row in dataset.finding_spans()? {
            spans.push(FindingSpan {
                finding_id: row.finding_id + offset,
                vcpu_id: ids.vcpus.of(row.vcpu_id),
                process_id: ids.processes.of(row.process_id),
                ..row
            });
        }
    }
    // The most severe first, as in each of them.
    let mut order: Vec<usize> = (0..findings.len()).collect();
    order.sort_by_key(|&at| (std::cmp::Reverse(findings[at].severity), at));
    let mut place: BTreeMap<i32, i32> = BTreeMap::new();
    let findings = (0..).zip(order).map(|(id, at)| {
        place.insert(findings[at].finding_id, id);
        Finding { finding_id: id, ..findings[at].clone() }
    });
    let findings: Vec<Finding> = findings.collect();
    for span in &mut spans {
        span.finding_id = place.get(&span.finding_id).copied().unwrap_or(span.finding_id);
    }
    spans.sort_by_key(|span| (span.start_tsc, span.finding_id));
    Ok(Some((findings, spans)))
}

/// From the ids of a capture to those of all.
#[derive(Debug, Default)]
struct Map(BTreeMap<i32, i32>);

impl Map {
    fn to(&self, id: i32) -> i32 {
        // Rows name what their tables have.
        self.0.get(&id).copied().unwrap_or(id)
    }

    fn of(&self, id: Option<i32>) -> Option<i32> {
        id.map(|id| self.to(id))
    }
}

/// The ids of a capture.
#[derive(Debug, Default)]
struct Ids {
    vms: Map,
    vcpus: Map,
    processes: Map,
}

impl Ids {
    fn cpu_state(&self, row: CpuState) -> CpuState {
        CpuState {
            vm_id: self.vms.of(row.vm_id),
            vcpu_id: self.vcpus.of(row.vcpu_id),
            process_id: self.processes.of(row.process_id),
            ..row
        }
    }

    fn vcpu_state(&self, row: VcpuState) -> VcpuState {
        let taken_by = row.taken_by.map(|by| Taker {
            id: match by.kind {
                TakerKind::Vm => self.vms.of(by.id),
                TakerKind::Host => self.processes.of(by.id),
            },
            ..by
        });
        VcpuState {
            vm_id: self.vms.to(row.vm_id),
            vcpu_id: self.vcpus.to(row.vcpu_id),
            process_id: self.processes.of(row.process_id),
            taken_by,
            ..row
        }
    }

    fn exit(&self, row: Exit) -> Exit {
        Exit {
            vm_id: self.vms.to(row.vm_id),
            vcpu_id: self.vcpus.to(row.vcpu_id),
            process_id: self.processes.to(row.process_id),
            ..row
        }
    }
}

/// Who there is in all of them.
#[derive(Debug, Default)]
struct Merged {
    vms: Vec<Vm>,
    vcpus: Vec<Vcpu>,
    processes: Vec<Process>,
    offsets: Vec<VmOffset>,
    threads: Vec<Thread>,
}

/// Whether two that are known are the same; what is not known may be.
fn may_be<T: PartialEq>(a: Option<&T>, b: Option<&T>) -> bool {
    a.zip(b).is_none_or(|(a, b)| a == b)
}

fn learn<T>(known: &mut Option<T>, said: Option<T>) {
    if known.is_none() {
        *known = said;
    }
}

impl Merged {
    /// Finds those of a capture among those that are known, and adds the others.
    fn take(&mut self, dataset: &Dataset) -> Result<Ids, StoreError> {
        let mut ids = Ids::default();
        for vm in dataset.vms()? {
            let is_it = |known: &&mut Vm| {
                known.host_cr3 == vm.host_cr3
                    && may_be(known.pid.as_ref(), vm.pid.as_ref())
                    && may_be(known.uuid.as_ref(), vm.uuid.as_ref())
                    && may_be(known.name.as_ref(), vm.name.as_ref())
            };
            let old = vm.vm_id;
            let id = match self.vms.iter_mut().find(is_it) {
                Some(known) => {
                    known.first_tsc = known.first_tsc.min(vm.first_tsc);
                    known.last_tsc = known.last_tsc.max(vm.last_tsc);
                    known.tsc_offset = known.tsc_offset.zip(vm.tsc_offset).and_then(both);
                    learn(&mut known.name, vm.name);
                    learn(&mut known.uuid, vm.uuid);
                    learn(&mut known.pid, vm.pid);
                    known.vm_id
                }
                None => {
                    let id = self.vms.len() as i32;
                    self.vms.push(Vm { vm_id: id, ..vm });
                    id
                }
            };
            ids.vms.0.insert(old, id);
        }
        for vcpu in dataset.vcpus()? {
            let (old, vm_id) = (vcpu.vcpu_id, ids.vms.to(vcpu.vm_id));
            let is_it = |known: &&mut Vcpu| {
                known.vm_id == vm_id && known.vmcs == vcpu.vmcs && may_be(known.index.as_ref(), vcpu.index.as_ref())
            };
            let id = match self.vcpus.iter_mut().find(is_it) {
                Some(known) => {
                    known.first_tsc = known.first_tsc.min(vcpu.first_tsc);
                    known.last_tsc = known.last_tsc.max(vcpu.last_tsc);
                    known.guest_lo_tsc += vcpu.guest_lo_tsc;
                    known.guest_hi_tsc += vcpu.guest_hi_tsc;
                    learn(&mut known.index, vcpu.index);
                    learn(&mut known.tid, vcpu.tid);
                    learn(&mut known.name, vcpu.name);
                    known.vcpu_id
                }
                None => {
                    let id = self.vcpus.len() as i32;
                    self.vcpus.push(Vcpu { vcpu_id: id, vm_id, ..vcpu });
                    id
                }
            };
            ids.vcpus.0.insert(old, id);
        }
        for process in dataset.processes()? {
            let (old, vm_id) = (process.process_id, ids.vms.of(process.vm_id));
            let is_it = |known: &&mut Process| {
                known.vm_id == vm_id && known.cr3 == process.cr3 && may_be(known.name.as_ref(), process.name.as_ref())
            };
            let id = match self.processes.iter_mut().find(is_it) {
                Some(known) => {
                    known.first_tsc = known.first_tsc.min(process.first_tsc);
                    known.last_tsc = known.last_tsc.max(process.last_tsc);
                    learn(&mut known.name, process.name);
                    known.process_id
                }
                None => {
                    let id = self.processes.len() as i32;
                    self.processes.push(Process { process_id: id, vm_id, ..process });
                    id
                }
            };
            ids.processes.0.insert(old, id);
        }
        let offsets = dataset.vm_offsets()?.into_iter();
        self.offsets.extend(offsets.map(|row| VmOffset { vm_id: ids.vms.to(row.vm_id), ..row }));
        for row in dataset.threads()? {
            let row = row?;
            let (vm_id, vcpu_id) = (ids.vms.of(row.vm_id), ids.vcpus.of(row.vcpu_id));
            let is_it = |known: &&mut Thread| {
                known.tid == row.tid
                    && known.pid == row.pid
                    && known.kind == row.kind
                    && may_be(known.name.as_ref(), row.name.as_ref())
            };
            // A tid is used again: the last that had it may still be it.
            match self.threads.iter_mut().rev().find(is_it) {
                Some(known) => {
                    known.last_tsc = known.last_tsc.max(row.last_tsc);
                    learn(&mut known.name, row.name);
                    learn(&mut known.vm_id, vm_id);
                    learn(&mut known.vcpu_id, vcpu_id);
                }
                None => self.threads.push(Thread { vm_id, vcpu_id, ..row }),
            }
        }
        Ok(ids)
    }

    fn tell(self, writer: &mut DatasetWriter) -> Result<(), StoreError> {
        self.vms.into_iter().try_for_each(|row| writer.vm(row))?;
        self.offsets.into_iter().try_for_each(|row| writer.vm_offset(row))?;
        self.vcpus.into_iter().try_for_each(|row| writer.vcpu(row))?;
        self.processes.into_iter().try_for_each(|row| writer.process(row))?;
        self.threads.into_iter().try_for_each(|row| writer.thread(row))
    }
}

/// An offset that both captures allow; none: it was set anew.
fn both((a, b): (Time, Time)) -> Option<Time> {
    let (lo, hi) = (a.lo.max(b.lo), a.hi.min(b.hi));
    (lo <= hi).then(|| Time { tsc: a.tsc.midpoint(b.tsc).clamp(lo, hi), lo, hi })
}
