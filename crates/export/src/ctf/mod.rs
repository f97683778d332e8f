//! CTF, the Common Trace Format, for Trace Compass and babeltrace2: a directory of streams and their metadata.
//!
//! ```text
//! DIR/metadata       what the streams hold: TSDL in CTF 1.8, JSON in CTF 2
//! DIR/cpu0, cpu1, …  what each cpu did: its states, the exits on it, its losses
//! DIR/vcpus          what the vCPUs did
//! DIR/notes          who there is (VMs, vCPUs, guest processes, when they were first seen), and what was found
//! ```
//!
//! Streams are the same in both versions. In each, events are in the order of time; a state is told when it begins.

mod json;
mod packets;
mod schema;
mod tsdl;

use std::fs;
use std::path::Path;

use havana_rows::parquet::Table;
use havana_rows::{CpuState, Exit, Loss, Time, VcpuState};
use rustc_hash::FxHashMap;

use self::packets::Stream;
use self::schema::{Event, Streams};
use crate::names::Names;
use crate::slices::{self, Slice};
use crate::{ExportError, Selection};

/// The file of the metadata.
pub const METADATA: &str = "metadata";

/// A version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// CTF 1.8.
    V1,
    /// CTF 2.
    V2,
}

/// Writes a trace into a directory that is empty.
///
/// # Errors
/// Where the dataset cannot be read, or the trace not be written.
pub fn write(selection: &Selection<'_>, dir: &Path, version: Version) -> Result<(), ExportError> {
    let names = selection.names()?;
    let facts = Facts::of(selection, &names);
    let metadata = match version {
        Version::V1 => tsdl::metadata(&facts),
        Version::V2 => json::metadata(&facts),
    };
    fs::write(dir.join(METADATA), metadata)?;
    cpus(selection, &names, dir)?;
    vcpus(selection, dir)?;
    notes(selection, &names, dir)
}

/// What the metadata says of the trace.
struct Facts {
    node: String,
    /// What times are.
    clock: &'static str,
    is_unix: bool,
}

impl Facts {
    fn of(selection: &Selection<'_>, names: &Names) -> Facts {
        let is_unix = selection.is_unix();
        let clock = match (selection.is_in_ns(), is_unix) {
            (_, true) => "nanoseconds since 1970",
            (true, false) => "nanoseconds since the first event",
            (false, false) => "ticks of the TSC, whose rate is not known",
        };
        Facts { node: names.node.clone(), clock, is_unix }
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        vec![("tracer_name", "havana".into()), ("hostname", self.node.clone()), ("clock", self.clock.into())]
    }
}

/// A state's begin and its bounds; a cut is exact.
fn bounds(selection: &Selection<'_>, start: Time, from: i64) -> [i64; 2] {
    if start.tsc == from { [start.lo, start.hi] } else { [from; 2] }.map(|tsc| selection.time(tsc))
}

/// What cpus did, a stream each: of a slice of time, events of all kinds together.
fn cpus(selection: &Selection<'_>, names: &Names, dir: &Path) -> Result<(), ExportError> {
    enum Row {
        State(CpuState, i64),
        Exit(Exit),
        Loss(Loss),
    }
    let mut streams: FxHashMap<i32, Stream> = FxHashMap::default();
    let read = |slice: &Slice| -> Result<Vec<(i64, i32, Row)>, havana_store::StoreError> {
        let dataset = selection.dataset;
        let mut rows = Vec::new();
        for row in slice.read(dataset, |row: &CpuState| row.end.tsc)? {
            if let Some((start, end)) = selection.cut(row.start.tsc, row.end.tsc) {
                rows.push((start, row.cpu, Row::State(row, end)));
            }
        }
        let exits = slice.read(dataset, |row: &Exit| row.exit.tsc)?;
        rows.extend(exits.into_iter().map(|row| (row.exit.tsc, row.cpu, Row::Exit(row))));
        let losses = slice.read(dataset, |row: &Loss| row.end_tsc)?.into_iter();
        rows.extend(losses.map(|row| (row.start_tsc, row.cpu, Row::Loss(row))));
        rows.sort_by_key(|row| row.0);
        Ok(rows)
    };
    slices::each(selection, &[Table::CpuStates, Table::Exits, Table::Losses], read, |rows| {
        for (at, cpu, row) in rows {
            if !selection.has_cpu(cpu) {
                continue;
            }
            let number = u32::try_from(cpu).unwrap_or(u32::MAX);
            let path = || dir.join(format!("cpu{cpu}"));
            let stream = streams.entry(cpu).or_insert_with(|| Stream::new(path(), Streams::Cpu, number));
            match row {
                Row::State(row, end) => {
                    let [lo, hi] = bounds(selection, row.start, at);
                    let record = stream.begin(Event::CpuState, selection.stamp(at))?;
                    let record = record.name(Some(row.state as u8)).name(Some(row.evidence as u8));
                    let record = record.number(selection.time(end)).number(lo).number(hi);
                    record.id(row.vm_id).id(row.vcpu_id).id(row.process_id).id(row.tid);
                }
                Row::Exit(row) => {
                    if !selection.has_exit(&row) {
                        continue;
                    }
                    let record = stream.begin(Event::Exit, selection.stamp(at))?;
                    let record = record.id(Some(row.exit_id)).id(Some(row.vm_id)).id(Some(row.vcpu_id));
                    let record = record.id(Some(row.process_id)).id(row.reason).name(Some(row.evidence as u8));
                    let record = record.number(selection.time(row.exit.lo)).number(selection.time(row.exit.hi));
                    let reentry = row.reentry.map_or(-1, |reentry| selection.time(reentry.tsc));
                    let record = record.number(reentry).id(row.reentry_cpu);
                    let address = |address: i64| if selection.redact { 0 } else { address };
                    record.number(address(row.guest_cr3)).number(address(row.guest_ip.unwrap_or(0)));
                }
                Row::Loss(row) => {
                    let Some((start, end)) = selection.cut(row.start_tsc, row.end_tsc) else { continue };
                    let record = stream.begin(Event::Loss, selection.stamp(start))?;
                    let record = record.name(Some(row.cause as u8)).number(selection.time(end));
                    record.number(row.offset_bytes).number(row.bytes).text(names.source(&row.source));
                }
            }
        }
        Ok(())
    })?;
    streams.values_mut().try_for_each(Stream::flush)
}

/// What vCPUs did.
fn vcpus(selection: &Selection<'_>, dir: &Path) -> Result<(), ExportError> {
    let mut stream = Stream::new(dir.join("vcpus"), Streams::Vcpus, 0);
    let read = |slice: &Slice| slice.read(selection.dataset, |row: &VcpuState| row.end.tsc);
    slices::each(selection, &[Table::VcpuStates], read, |rows| {
        for row in rows.iter().filter(|row| selection.has_state(row.vm_id, row.cpu)) {
            let Some((start, end)) = selection.cut(row.start.tsc, row.end.tsc) else { continue };
            let [lo, hi] = bounds(selection, row.start, start);
            let record = stream.begin(Event::VcpuState, selection.stamp(start))?;
            let record = record.name(Some(row.state as u8)).name(Some(row.evidence as u8));
            let record = record.number(selection.time(end)).number(lo).number(hi);
            let record = record.id(Some(row.vm_id)).id(Some(row.vcpu_id)).id(row.cpu).id(row.process_id);
            record.name(row.taken_by.map(|by| by.kind as u8)).id(row.taken_by.and_then(|by| by.id));
        }
        Ok(())
    })?;
    stream.flush()
}

/// Who there is, and what was found.
fn notes(selection: &Selection<'_>, names: &Names, dir: &Path) -> Result<(), ExportError> {
    enum Note<'a> {
        Vm(&'a havana_rows::Vm),
        Vcpu(&'a havana_rows::Vcpu),
        Process(&'a havana_rows::Process),
        Finding(&'a havana_rows::Finding, i64),
    }
    let (first, last) = selection.span();
    let inside = |tsc: i64| tsc.clamp(first, last.max(first));
    let findings = selection.findings()?;
    let mut notes: Vec<(i64, Note<'_>)> = Vec::new();
    notes.extend(names.vms.iter().map(|row| (inside(row.first_tsc), Note::Vm(row))));
    notes.extend(names.vcpus.iter().map(|row| (inside(row.first_tsc), Note::Vcpu(row))));
    notes.extend(names.processes.iter().map(|row| (inside(row.first_tsc), Note::Process(row))));
    notes.extend(findings.iter().map(|found| (found.start, Note::Finding(&found.finding, found.end))));
    notes.sort_by_key(|note| note.0);
    let mut stream = Stream::new(dir.join("notes"), Streams::Notes, 0);
    let address = |address: i64| if selection.redact { 0 } else { address };
    for (at, note) in notes {
        let at = selection.stamp(at);
        match note {
            Note::Vm(row) => {
                let record = stream.begin(Event::Vm, at)?.id(Some(row.vm_id)).number(address(row.host_cr3));
                record.text(&names.vm(row.vm_id));
            }
            Note::Vcpu(row) => {
                let record = stream.begin(Event::Vcpu, at)?.id(Some(row.vcpu_id)).id(Some(row.vm_id));
                record.number(address(row.vmcs)).text(&names.vcpu(row.vcpu_id));
            }
            Note::Process(row) => {
                let record = stream.begin(Event::Process, at)?.id(Some(row.process_id)).id(row.vm_id);
                record.number(address(row.cr3)).text(&names.process(row.process_id));
            }
            Note::Finding(row, end) => {
                let record = stream.begin(Event::Finding, at)?.id(Some(row.finding_id));
                let record = record.name(Some(row.kind as u8)).name(Some(row.severity as u8)).ratio(row.score);
                let record = record.number(selection.time(end)).id(row.vm_id).id(row.vcpu_id).id(row.process_id);
                record.text(&names.finding(row));
            }
        }
    }
    stream.flush()
}
