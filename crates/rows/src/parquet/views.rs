//! Some columns of a table, as rows: for readers that would pay for the others.

use arrow::array::RecordBatch;

use super::columns::{Form, Id, MaybeId, MaybeTaker, Name, Quantity};
use super::{Error, Table};
use crate::{CpuStateKind, Evidence, Taker, VcpuStateKind};

/// A row of some columns of a table.
pub trait View: Sized {
    /// The table.
    const TABLE: Table;
    /// The columns, in no order.
    const COLUMNS: &'static [&'static str];

    /// The rows of a batch that has (at least) the columns, appended to `out`.
    fn decode(batch: &RecordBatch, out: &mut Vec<Self>) -> Result<(), Error>;
}

macro_rules! views {
    ($(
        $(#[$doc:meta])*
        $view:ident of $table:ident [$($column:literal),+] {
            $($field:ident: $value:ty = $form:ty,)+
        }
    )+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub struct $view {
            $(pub $field: $value,)+
        }

        impl View for $view {
            const TABLE: Table = Table::$table;
            const COLUMNS: &'static [&'static str] = &[$($column),+];

            fn decode(batch: &RecordBatch, out: &mut Vec<Self>) -> Result<(), Error> {
                $(let $field = <$form>::find(batch, stringify!($field))?;)+
                out.extend((0..batch.num_rows()).map(|row| $view { $($field: <$form>::get(&$field, row),)+ }));
                Ok(())
            }
        }
    )+};
}

views! {
    /// What a cpu did, and for whom.
    CpuStretch of CpuStates
    ["cpu", "start_tsc", "end_tsc", "state", "evidence", "vm_id", "vcpu_id", "process_id"] {
        cpu: i32 = Id,
        start_tsc: i64 = Quantity,
        end_tsc: i64 = Quantity,
        state: CpuStateKind = Name<CpuStateKind>,
        evidence: Evidence = Name<Evidence>,
        vm_id: Option<i32> = MaybeId,
        vcpu_id: Option<i32> = MaybeId,
        process_id: Option<i32> = MaybeId,
    }
    /// What a vCPU did, and who had its cpu.
    VcpuStretch of VcpuStates
    ["vcpu_id", "vm_id", "start_tsc", "end_tsc", "state", "evidence", "cpu", "process_id", "taken_by_kind", "taken_by_id"] {
        vcpu_id: i32 = Id,
        vm_id: i32 = Id,
        start_tsc: i64 = Quantity,
        end_tsc: i64 = Quantity,
        state: VcpuStateKind = Name<VcpuStateKind>,
        evidence: Evidence = Name<Evidence>,
        cpu: Option<i32> = MaybeId,
        process_id: Option<i32> = MaybeId,
        taken_by: Option<Taker> = MaybeTaker,
    }
    /// Between which times an exit was.
    ExitBounds of Exits ["exit_lo_tsc", "exit_hi_tsc"] {
        exit_lo_tsc: i64 = Quantity,
        exit_hi_tsc: i64 = Quantity,
    }
    /// Which vCPU a guest process was on.
    ProcessPlace of VcpuStates ["vcpu_id", "process_id"] {
        vcpu_id: i32 = Id,
        process_id: Option<i32> = MaybeId,
    }
    /// How long an exit took.
    ExitStretch of Exits ["exit_tsc", "reentry_tsc", "vcpu_id", "vm_id", "reason"] {
        exit_tsc: i64 = Quantity,
        reentry_tsc: Option<i64> = MaybeTick,
        vcpu_id: i32 = Id,
        vm_id: i32 = Id,
        reason: Option<i32> = MaybeId,
    }
}

macro_rules! whole {
    ($($row:ident of $table:ident [$($column:literal),+];)+) => {$(
        impl View for crate::$row {
            const TABLE: Table = Table::$table;
            const COLUMNS: &'static [&'static str] = &[$($column),+];

            fn decode(batch: &RecordBatch, out: &mut Vec<Self>) -> Result<(), Error> {
                <Self as super::Row>::decode(batch, out)
            }
        }
    )+};
}

// Whole rows, but for their nanoseconds.
whole! {
    Lod of Lod [
        "level", "tile", "track_kind", "track_id", "vcpu_id", "bucket_start_tsc", "bucket_end_tsc", "state", "evidence",
        "by_kind", "by_id", "busy_tsc", "count"
    ];
    LodExits of LodExits [
        "level", "tile", "vcpu_id", "vm_id", "bucket_start_tsc", "reason", "latency_class", "latency_tsc", "count"
    ];
    CpuState of CpuStates [
        "cpu", "start_tsc", "start_lo_tsc", "start_hi_tsc", "end_tsc", "end_lo_tsc", "end_hi_tsc", "state", "evidence",
        "vm_id", "vcpu_id", "process_id", "host_cr3", "guest_cr3", "tid"
    ];
    VcpuState of VcpuStates [
        "vcpu_id", "vm_id", "start_tsc", "start_lo_tsc", "start_hi_tsc", "end_tsc", "end_lo_tsc", "end_hi_tsc", "state",
        "evidence", "cpu", "process_id", "taken_by_kind", "taken_by_id", "taken_by_tid"
    ];
    Exit of Exits [
        "exit_id", "vcpu_id", "vm_id", "cpu", "entry_tsc", "entry_lo_tsc", "entry_hi_tsc", "exit_tsc", "exit_lo_tsc",
        "exit_hi_tsc", "reentry_tsc", "reentry_lo_tsc", "reentry_hi_tsc", "reentry_cpu", "guest_cr3", "process_id",
        "reason", "guest_ip", "evidence"
    ];
}

/// A tick, or none.
type MaybeTick = super::columns::MaybeAddress;
