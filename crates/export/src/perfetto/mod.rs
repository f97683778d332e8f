//! A Perfetto trace: the tracks and slices of its TrackEvent format, for ui.perfetto.dev and trace_processor.
//!
//! ```text
//! node NAME
//! ├── findings          an instant each; under it a track of the intervals that prove it
//! ├── cpus
//! │   └── cpu 0         a slice a state
//! │       └── losses
//! └── web-2             a VM: counters `cpus in guest`, `exits`
//!     └── vCPU 0        a slice a state
//!         ├── exits     from an exit to the re-entry; an instant where none is known
//!         └── CR3 0x…   a guest process: a slice a stretch in the guest
//! ```
//!
//! A table at a time, a slice's begin and end one after the other: readers sort by time, and of a track both are in the
//! order of time. Where stretches of one track overlap (times are estimates), it has another of the same name beside it, so
//! that slices nest rightly.

mod counters;
mod proto;
mod writer;

use std::io::Write;

use havana_rows::parquet::Table;
use havana_rows::{CpuState, CpuStateKind, Exit, FindingSpan, Time, VcpuState, VcpuStateKind, reason};
use rustc_hash::FxHashMap;

use self::counters::Counters;
use self::proto::{BOOTTIME, Clock, ClockSnapshot, REALTIME, TracePacket};
use self::writer::{Detail, Lanes, Track, Writer};
use crate::names::Names;
use crate::selection::Found;
use crate::{ExportError, Selection, slices};

/// Writes it.
///
/// # Errors
/// Where the dataset cannot be read, or the trace not be written.
pub fn write(selection: &Selection<'_>, out: impl Write) -> Result<(), ExportError> {
    let mut trace = Trace::begin(selection, out)?;
    trace.findings()?;
    trace.losses()?;
    trace.cpu_states()?;
    trace.vcpu_states()?;
    trace.exits()?;
    trace.counters()?;
    trace.writer.finish()
}

/// Where tracks of VMs begin among those of the node: after findings and cpus.
const FIRST_VM: i32 = 2;
/// Where tracks of vCPUs begin among those of a VM: after its counters.
const FIRST_VCPU: i32 = 2;

struct Trace<'a, W> {
    selection: &'a Selection<'a>,
    names: Names,
    writer: Writer<W>,
    node: Track,
    cpus: Track,
    cpu: FxHashMap<i32, Track>,
    vm: FxHashMap<i32, Track>,
    vcpu: FxHashMap<i32, Track>,
    counters: Counters,
    details: Details,
}

impl<'a, W: Write> Trace<'a, W> {
    fn begin(selection: &'a Selection<'a>, out: W) -> Result<Self, ExportError> {
        let names = selection.names()?;
        let mut writer = Writer::new(out)?;
        if selection.is_unix() {
            let at = Some(selection.stamp(selection.span().0));
            let clock = |id| Clock { clock_id: Some(id), timestamp: at };
            let clock_snapshot = Some(ClockSnapshot { clocks: vec![clock(BOOTTIME), clock(REALTIME)] });
            writer.write(&TracePacket { clock_snapshot, ..TracePacket::default() })?;
        }
        let (title, about) = if selection.is_in_ns() {
            (format!("node {}", names.node), "times are the dataset's nanoseconds".into())
        } else {
            (format!("node {} (times are ticks)", names.node), "no rate is known: a nanosecond here is a tick".into())
        };
        let node = writer.described(&title, 0, about)?;
        let cpus = writer.track("cpus", Some(node), 1)?;
        let (mut cpu, mut vm, mut vcpu) = (FxHashMap::default(), FxHashMap::default(), FxHashMap::default());
        for &number in selection.dataset.manifest().cpus.iter().filter(|&&cpu| selection.has_cpu(cpu)) {
            cpu.insert(number, writer.track(&format!("cpu {number}"), Some(cpus), number)?);
        }
        for (row, rank) in names.vms.iter().zip(FIRST_VM..) {
            vm.insert(row.vm_id, writer.track(&names.vm(row.vm_id), Some(node), rank)?);
        }
        for (row, rank) in names.vcpus.iter().zip(FIRST_VCPU..) {
            let parent = vm.get(&row.vm_id).copied();
            vcpu.insert(row.vcpu_id, writer.track(&names.vcpu(row.vcpu_id), parent, rank)?);
        }
        let counters = Counters::of(selection);
        Ok(Trace { selection, names, writer, node, cpus, cpu, vm, vcpu, counters, details: Details::default() })
    }

    fn stamps(&self, (start, end): (i64, i64)) -> (u64, u64) {
        (self.selection.stamp(start), self.selection.stamp(end))
    }

    fn findings(&mut self) -> Result<(), ExportError> {
        let findings = self.selection.findings()?;
        if findings.is_empty() {
            return Ok(());
        }
        let all = self.writer.track("findings", Some(self.node), 0)?;
        let mut spans: FxHashMap<i32, Vec<FindingSpan>> = FxHashMap::default();
        for span in self.selection.finding_spans()? {
            spans.entry(span.finding_id).or_default().push(span);
        }
        for Found { finding, start, end } in findings {
            let title = self.names.finding(&finding);
            let id = finding.finding_id;
            let (at, until) = self.stamps((start, end));
            let mut details = vec![
                ("title", Detail::Text(&title)),
                ("kind", Detail::Name(finding.kind.name())),
                ("severity", Detail::Name(finding.severity.name())),
                ("score", Detail::Double(finding.score)),
                ("sure", Detail::Double(finding.sure)),
                ("finding_id", Detail::Int(id.into())),
                ("end", Detail::Int(until.cast_signed())),
            ];
            let who = [("vm_id", finding.vm_id), ("vcpu_id", finding.vcpu_id), ("process_id", finding.process_id)];
            details.extend(who.iter().filter_map(|&(name, id)| Some((name, Detail::Int(id?.into())))));
            self.writer.instant(all, at, &title, &details)?;
            let mut lanes = Lanes::default();
            let mut proof = spans.remove(&id).unwrap_or_default();
            proof.sort_by_key(|span| (span.start_tsc, span.end_tsc));
            for span in proof {
                let when = self.stamps((span.start_tsc, span.end_tsc));
                let name = format!("{}: {title}", finding.severity.name());
                let track = lanes.take(when, || self.writer.track(&name, Some(all), id))?;
                let who = [("cpu", span.cpu), ("vcpu_id", span.vcpu_id), ("process_id", span.process_id)];
                let who: Vec<_> = who.iter().filter_map(|&(name, id)| Some((name, Detail::Int(id?.into())))).collect();
                self.writer.slice(track, when, finding.kind.name(), &who)?;
            }
        }
        Ok(())
    }

    fn losses(&mut self) -> Result<(), ExportError> {
        let mut lanes: FxHashMap<i32, Lanes> = FxHashMap::default();
        for loss in self.selection.losses()? {
            let when = self.stamps((loss.start_tsc, loss.end_tsc));
            let cpu = self.cpu.get(&loss.cpu).copied().unwrap_or(self.cpus);
            let lanes = lanes.entry(loss.cpu).or_default();
            let track = lanes.take(when, || self.writer.track("losses", Some(cpu), 0))?;
            let details = [
                ("source", Detail::Text(self.names.source(&loss.source))),
                ("offset_bytes", Detail::Int(loss.offset_bytes)),
                ("bytes", Detail::Int(loss.bytes)),
            ];
            self.writer.slice(track, when, loss.cause.name(), &details)?;
        }
        Ok(())
    }

    fn cpu_states(&mut self) -> Result<(), ExportError> {
        let selection = self.selection;
        let mut lanes: FxHashMap<i32, Lanes> = FxHashMap::default();
        let read = |slice: &slices::Slice| slice.read(selection.dataset, |row: &CpuState| row.end.tsc);
        slices::each(selection, &[Table::CpuStates], read, |rows| {
            for row in rows.iter().filter(|row| selection.has_cpu(row.cpu)) {
                let Some(part) = selection.cut(row.start.tsc, row.end.tsc) else { continue };
                let when = self.stamps(part);
                let own = self.cpu.get(&row.cpu).copied();
                let lanes = lanes.entry(row.cpu).or_insert_with(|| Lanes::of(own));
                let another = || self.writer.track(&format!("cpu {}", row.cpu), Some(self.cpus), row.cpu);
                let track = lanes.take(when, another)?;
                let details = self.details.begin(row.evidence.name());
                details.id("vm_id", row.vm_id);
                details.id("vcpu_id", row.vcpu_id);
                details.id("process_id", row.process_id);
                details.id("tid", row.tid);
                details.bounds(selection, (row.start, row.end), part);
                self.writer.slice(track, when, row.state.name(), &details.0)?;
                if let (CpuStateKind::Guest, Some(vm)) = (row.state, row.vm_id.filter(|&vm| selection.has_vm(vm))) {
                    self.counters.add_guest(vm, part);
                }
            }
            Ok(())
        })
    }

    fn vcpu_states(&mut self) -> Result<(), ExportError> {
        let selection = self.selection;
        let mut lanes: FxHashMap<i32, Lanes> = FxHashMap::default();
        let mut processes: FxHashMap<(i32, i32), Lanes> = FxHashMap::default();
        let read = |slice: &slices::Slice| slice.read(selection.dataset, |row: &VcpuState| row.end.tsc);
        slices::each(selection, &[Table::VcpuStates], read, |rows| {
            for row in rows.iter().filter(|row| selection.has_state(row.vm_id, row.cpu)) {
                let Some(part) = selection.cut(row.start.tsc, row.end.tsc) else { continue };
                let when = self.stamps(part);
                let own = self.vcpu.get(&row.vcpu_id).copied();
                let lanes = lanes.entry(row.vcpu_id).or_insert_with(|| Lanes::of(own));
                let another = || {
                    let vm = self.vm.get(&row.vm_id).copied();
                    self.writer.track(&self.names.vcpu(row.vcpu_id), vm, row.vcpu_id.saturating_add(FIRST_VCPU))
                };
                let track = lanes.take(when, another)?;
                let details = self.details.begin(row.evidence.name());
                details.id("cpu", row.cpu);
                details.id("process_id", row.process_id);
                if let Some(by) = row.taken_by {
                    details.0.push(("taken_by_kind", Detail::Name(by.kind.name())));
                    details.id("taken_by_id", by.id);
                    details.id("taken_by_tid", row.taken_by_tid);
                }
                details.bounds(selection, (row.start, row.end), part);
                self.writer.slice(track, when, row.state.name(), &details.0)?;
                let (VcpuStateKind::Guest, Some(process)) = (row.state, row.process_id) else { continue };
                let lanes = processes.entry((row.vcpu_id, process)).or_default();
                let name = || self.names.process(process);
                let track = lanes.take(when, || self.writer.track(&name(), own, process.saturating_add(1)))?;
                let details = self.details.begin(row.evidence.name());
                details.id("cpu", row.cpu);
                self.writer.slice(track, when, row.state.name(), &details.0)?;
            }
            Ok(())
        })
    }

    fn exits(&mut self) -> Result<(), ExportError> {
        let selection = self.selection;
        let mut lanes: FxHashMap<i32, Lanes> = FxHashMap::default();
        // Cut, it would be the exit of another time.
        let read = |slice: &slices::Slice| slice.read(selection.dataset, |row: &Exit| row.exit.tsc);
        slices::each(selection, &[Table::Exits], read, |rows| {
            for row in rows.iter().filter(|row| selection.has_exit(row)) {
                let exit = row.exit.tsc;
                let end = row.reentry.map_or(exit, |reentry| reentry.tsc.max(exit));
                let part = selection.cut(exit, end).unwrap_or((exit, exit));
                let when = self.stamps(part);
                let vcpu = self.vcpu.get(&row.vcpu_id).copied();
                let lanes = lanes.entry(row.vcpu_id).or_default();
                let track = lanes.take(when, || self.writer.track("exits", vcpu, 0))?;
                let details = self.details.begin(row.evidence.name());
                details.id("exit_id", Some(row.exit_id));
                details.id("cpu", Some(row.cpu));
                details.id("process_id", Some(row.process_id));
                details.id("reason", row.reason);
                if let Some(evidence) = row.reason_evidence {
                    details.0.push(("reason_evidence", Detail::Name(evidence.name())));
                }
                details.id("reentry_cpu", row.reentry_cpu);
                details.id("reentry_vector", row.reentry_vector);
                let address = row.guest_ip.filter(|_| !selection.redact);
                details.0.extend(address.map(|address| ("guest_ip", Detail::Address(address))));
                let name = row.reason.map_or_else(|| "exit".into(), reason::name);
                if let Some(reentry) = row.reentry {
                    details.bounds(selection, (row.exit, reentry), part);
                    self.writer.slice(track, when, &name, &details.0)?;
                } else {
                    details.bound(selection, row.exit, ["start_earlier", "start_later"]);
                    self.writer.instant(track, when.0, &name, &details.0)?;
                }
                self.counters.add_exit(row.vm_id, exit);
            }
            Ok(())
        })
    }

    fn counters(&mut self) -> Result<(), ExportError> {
        let Trace { counters, writer, names, vm, selection, .. } = self;
        // Per second; without a rate, per million ticks.
        let hz = selection.dataset.manifest().clock.tsc_hz.filter(|_| selection.is_in_ns());
        let (often, per) = hz.map_or((1e6, "per million ticks"), |hz| (hz as f64, "per second"));
        for row in &names.vms {
            let Some(&track) = vm.get(&row.vm_id) else { continue };
            let kinds = [("cpus in guest", "cpus", 1.0, &counters.guest), ("exits", per, often, &counters.exits)];
            for ((name, unit, factor, sums), rank) in kinds.into_iter().zip(0..) {
                let Some(sums) = sums.get(&row.vm_id) else { continue };
                let counter = writer.counter(name, track, rank, unit)?;
                for (at, level) in counters.levels(sums) {
                    writer.count(counter, selection.stamp(at), level * factor)?;
                }
            }
        }
        Ok(())
    }
}

/// The details of an event.
#[derive(Default)]
struct Details(Vec<(&'static str, Detail<'static>)>);

impl Details {
    fn begin(&mut self, evidence: &'static str) -> &mut Details {
        self.0.clear();
        self.0.push(("evidence", Detail::Name(evidence)));
        self
    }

    fn id(&mut self, name: &'static str, id: Option<i32>) {
        self.0.extend(id.map(|id| (name, Detail::Int(id.into()))));
    }

    /// How much earlier and later both ends may be. A cut is exact.
    fn bounds(&mut self, selection: &Selection<'_>, (start, end): (Time, Time), (from, to): (i64, i64)) {
        if start.tsc == from {
            self.bound(selection, start, ["start_earlier", "start_later"]);
        }
        if end.tsc == to {
            self.bound(selection, end, ["end_earlier", "end_later"]);
        }
    }

    /// Nothing, where it is exact.
    fn bound(&mut self, selection: &Selection<'_>, at: Time, [earlier, later]: [&'static str; 2]) {
        for (name, from, to) in [(earlier, at.lo, at.tsc), (later, at.tsc, at.hi)] {
            if from != to {
                self.0.push((name, Detail::Int(selection.time(to) - selection.time(from))));
            }
        }
    }
}
