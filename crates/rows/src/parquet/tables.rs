//! The columns of every table, in the order of their files.
//!
//! A field's name is its column's; which columns a field with several has, its form says ([`columns`](super::columns)).
//! Adding a column is adding a field here and to the row; what an old reader would misread must also raise
//! [`SCHEMA_VERSION`](super::SCHEMA_VERSION).

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Fields, Schema, SchemaRef};

use super::Error;
use super::clock::Scale;
use super::columns::{
    Address, Column, Form, Id, MaybeAddress, MaybeCount, MaybeId, MaybeName, MaybeOffset, MaybeRatio, MaybeTaker,
    MaybeText, MaybeTick, MaybeTimes, Name, Offset, Quantity, Ratio, Repeated, Serial, Text, Tick, Times,
};
use crate::{
    Capture, CpuState, CpuStateKind, Evidence, Exit, Finding, FindingKind, FindingSpan, Lod, LodExits, Loss, LossCause,
    Process, Severity, State, Thread, ThreadKind, TrackKind, Vcpu, VcpuState, VcpuStateKind, Vm, VmOffset,
};

/// A row of a table.
pub trait Row: Sized + sealed::Columnar {
    /// Its table.
    const TABLE: Table;

    /// By what its table is sorted: the value in [`Table::start_column`].
    fn start_tsc(&self) -> i64;

    /// The rows of a batch that has (at least) the table's columns, `_ns` not needed, appended to `out`.
    fn decode(batch: &RecordBatch, out: &mut Vec<Self>) -> Result<(), Error>;
}

/// What the writer needs of a row type and nobody else.
pub(super) mod sealed {
    use super::{ArrayRef, Scale};

    pub trait Columnar {
        type Columns: Fill<Row = Self>;
    }

    /// The columns of a table, being filled.
    pub trait Fill {
        type Row;
        fn new() -> Self;
        fn push(&mut self, row: &Self::Row);
        #[allow(private_interfaces)]
        fn take(&mut self, clock: Option<&Scale>) -> Vec<ArrayRef>;
    }
}

macro_rules! tables {
    ($(
        $(#[$doc:meta])*
        $table:ident = $file:literal of $row:ident, sorted by $start:literal = |$r:ident| $key:expr, {
            $($field:ident: $form:ty,)+
        }
    )+) => {
        /// The tables of a dataset.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Table {
            $($(#[$doc])* $table,)+
        }

        impl Table {
            /// All of them.
            pub const ALL: &'static [Table] = &[$(Table::$table),+];

            /// The name of its directory.
            pub const fn name(self) -> &'static str {
                match self { $(Table::$table => $file,)+ }
            }

            /// The column its files are sorted by.
            pub const fn start_column(self) -> &'static str {
                match self { $(Table::$table => $start,)+ }
            }

            pub(super) fn columns(self) -> Vec<Column> {
                let mut out = Vec::new();
                match self {
                    $(Table::$table => { $(<$form>::columns(stringify!($field), &mut out);)+ })+
                }
                out
            }
        }

        $(const _: () = {
            #[allow(unnameable_types)]
            pub struct Columns {
                $($field: $form,)+
            }

            impl sealed::Columnar for $row {
                type Columns = Columns;
            }

            impl sealed::Fill for Columns {
                type Row = $row;

                fn new() -> Self {
                    Columns { $($field: Form::new(),)+ }
                }

                #[inline]
                fn push(&mut self, row: &$row) {
                    $(self.$field.push(&row.$field);)+
                }

                #[allow(private_interfaces)]
                fn take(&mut self, clock: Option<&Scale>) -> Vec<ArrayRef> {
                    let mut out = Vec::new();
                    $(self.$field.take(clock, &mut out);)+
                    out
                }
            }

            impl Row for $row {
                const TABLE: Table = Table::$table;

                #[inline]
                fn start_tsc(&self) -> i64 {
                    let $r = self;
                    $key
                }

                fn decode(batch: &RecordBatch, out: &mut Vec<Self>) -> Result<(), Error> {
                    $(let $field = <$form>::find(batch, stringify!($field))?;)+
                    out.extend((0..batch.num_rows()).map(|row| $row { $($field: <$form>::get(&$field, row),)+ }));
                    Ok(())
                }
            }
        };)+
    };
}

tables! {
    /// A cpu in one state.
    CpuStates = "cpu_states" of CpuState, sorted by "start_tsc" = |row| row.start.tsc, {
        cpu: Id,
        start: Times,
        end: Times,
        state: Name<CpuStateKind>,
        evidence: Name<Evidence>,
        vm_id: MaybeId,
        vcpu_id: MaybeId,
        process_id: MaybeId,
        host_cr3: MaybeAddress,
        guest_cr3: MaybeAddress,
        tid: MaybeId,
    }
    /// A vCPU in one state.
    VcpuStates = "vcpu_states" of VcpuState, sorted by "start_tsc" = |row| row.start.tsc, {
        vcpu_id: Id,
        vm_id: Id,
        start: Times,
        end: Times,
        state: Name<VcpuStateKind>,
        evidence: Name<Evidence>,
        cpu: MaybeId,
        process_id: MaybeId,
        taken_by: MaybeTaker,
        taken_by_tid: MaybeId,
    }
    /// A VM exit and the stretch in the guest before it.
    Exits = "exits" of Exit, sorted by "exit_tsc" = |row| row.exit.tsc, {
        exit_id: Serial,
        vcpu_id: Id,
        vm_id: Id,
        cpu: Id,
        entry: MaybeTimes,
        exit: Times,
        reentry: MaybeTimes,
        reentry_cpu: MaybeId,
        reentry_vector: MaybeId,
        guest_cr3: Address,
        process_id: Id,
        reason: MaybeId,
        reason_evidence: MaybeName<Evidence>,
        guest_ip: MaybeAddress,
        evidence: Name<Evidence>,
    }
    /// A VM.
    Vms = "vms" of Vm, sorted by "first_tsc" = |row| row.first_tsc, {
        vm_id: Id,
        host_cr3: Address,
        first_tsc: Quantity,
        last_tsc: Quantity,
        tsc_offset: MaybeOffset,
        tsc_scale: MaybeRatio,
        name: MaybeText,
        uuid: MaybeText,
        pid: MaybeId,
    }
    /// A VM's clock while it did not change.
    VmOffsets = "vm_offsets" of VmOffset, sorted by "start_tsc" = |row| row.start_tsc, {
        vm_id: Id,
        start_tsc: Quantity,
        end_tsc: Quantity,
        tsc_offset: Offset,
        tsc_scale: MaybeRatio,
    }
    /// A vCPU.
    Vcpus = "vcpus" of Vcpu, sorted by "first_tsc" = |row| row.first_tsc, {
        vcpu_id: Id,
        vm_id: Id,
        vmcs: Address,
        first_tsc: Quantity,
        last_tsc: Quantity,
        guest_lo_tsc: Quantity,
        guest_hi_tsc: Quantity,
        index: MaybeId,
        tid: MaybeId,
        name: MaybeText,
    }
    /// An address space.
    Processes = "processes" of Process, sorted by "first_tsc" = |row| row.first_tsc, {
        process_id: Id,
        vm_id: MaybeId,
        cr3: Address,
        first_tsc: Quantity,
        last_tsc: Quantity,
        evidence: Name<Evidence>,
        name: MaybeText,
    }
    /// A thread of the host.
    Threads = "threads" of Thread, sorted by "first_tsc" = |row| row.first_tsc, {
        tid: Id,
        pid: Id,
        kind: Name<ThreadKind>,
        first_tsc: Quantity,
        last_tsc: Quantity,
        name: MaybeText,
        vm_id: MaybeId,
        vcpu_id: MaybeId,
    }
    /// A stretch of trace not usable.
    Losses = "losses" of Loss, sorted by "start_tsc" = |row| row.start_tsc, {
        cpu: Id,
        start_tsc: Tick,
        end_tsc: Tick,
        cause: Name<LossCause>,
        source: Text,
        offset_bytes: Quantity,
        bytes: Quantity,
    }
    /// What is unexpected; the first is read first.
    Findings = "findings" of Finding, sorted by "finding_id" = |row| i64::from(row.finding_id), {
        finding_id: Serial,
        kind: Name<FindingKind>,
        severity: Name<Severity>,
        score: Ratio,
        sure: Ratio,
        title: Text,
        vm_id: MaybeId,
        vcpu_id: MaybeId,
        process_id: MaybeId,
        start_tsc: MaybeTick,
        end_tsc: MaybeTick,
    }
    /// The intervals that prove findings.
    FindingSpans = "finding_spans" of FindingSpan, sorted by "start_tsc" = |row| row.start_tsc, {
        finding_id: Id,
        cpu: MaybeId,
        vcpu_id: MaybeId,
        process_id: MaybeId,
        start_tsc: Tick,
        end_tsc: Tick,
    }
    /// The capture: one row.
    Captures = "captures" of Capture, sorted by "first_tsc" = |row| row.first_tsc.unwrap_or_default(), {
        schema_version: Id,
        tool_version: Text,
        tsc_hz: MaybeCount,
        epoch: Text,
        first_tsc: MaybeTick,
        last_tsc: MaybeTick,
        cpus: Id,
    }
    /// Summaries of cpus, vCPUs and guest processes, for drawing.
    Lod = "lod" of Lod, sorted by "bucket_start_tsc" = |row| row.bucket_start_tsc, {
        level: Id,
        tile: Repeated,
        track_kind: Name<TrackKind>,
        track_id: Id,
        vcpu_id: MaybeId,
        bucket_start_tsc: Repeated,
        bucket_end_tsc: Repeated,
        state: Name<State>,
        evidence: Name<Evidence>,
        by: MaybeTaker,
        busy_tsc: Repeated,
        count: Repeated,
    }
    /// Summaries of exits, for drawing.
    LodExits = "lod_exits" of LodExits, sorted by "bucket_start_tsc" = |row| row.bucket_start_tsc, {
        level: Id,
        tile: Repeated,
        vcpu_id: Id,
        vm_id: Id,
        bucket_start_tsc: Repeated,
        reason: MaybeId,
        latency_class: MaybeId,
        latency_tsc: Repeated,
        count: Repeated,
    }
}

impl Table {
    /// The column that says where a row ends that has a length.
    pub const fn end_column(self) -> Option<&'static str> {
        match self {
            Table::CpuStates | Table::VcpuStates | Table::Losses | Table::FindingSpans => Some("end_tsc"),
            Table::Lod => Some("bucket_end_tsc"),
            _ => None,
        }
    }

    /// Its columns, as Arrow has them.
    pub fn schema(self) -> SchemaRef {
        let fields: Fields = self.columns().into_iter().map(|column| column.field).collect();
        Arc::new(Schema::new(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and types are promised to every reader of a dataset: this is the promise.
    #[test]
    fn the_columns_of_every_table() {
        let mut text = String::new();
        for &table in Table::ALL {
            text += &format!("{} by {}\n", table.name(), table.start_column());
            for field in table.schema().fields() {
                let optional = if field.is_nullable() { "?" } else { "" };
                let data_type = match field.data_type() {
                    arrow::datatypes::DataType::Dictionary(..) => "name".to_string(),
                    other => other.to_string(),
                };
                text += &format!("    {}{optional} {data_type}\n", field.name());
            }
        }
        assert_eq!(text, include_str!("columns.txt"));
    }
}
