//! Some columns of a table, as rows: for readers that would pay for the others.

use arrow::array::RecordBatch;

use super::columns::{Column, Form, Id, MaybeAddress, MaybeId, MaybeTaker, Name, Quantity};
use super::{Error, Row, Table};
use crate::{CpuStateKind, Evidence, Taker, VcpuStateKind};

/// A row of some columns of a table.
pub trait View: Sized {
    /// The table.
    const TABLE: Table;
    /// The names of the columns.
    fn columns() -> Vec<String>;

    /// The rows of a batch that has (at least) the columns, appended to `out`.
    fn decode(batch: &RecordBatch, out: &mut Vec<Self>) -> Result<(), Error>;
}

macro_rules! views {
    ($(
        $(#[$doc:meta])*
        $view:ident of $table:ident {
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

            fn columns() -> Vec<String> {
                let mut columns = Vec::new();
                $(<$form>::columns(stringify!($field), &mut columns);)+
                names(columns)
            }

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
    CpuStretch of CpuStates {
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
    VcpuStretch of VcpuStates {
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
    /// What a vCPU did, and between which times it began with that.
    VcpuTurn of VcpuStates {
        vcpu_id: i32 = Id,
        vm_id: i32 = Id,
        start_tsc: i64 = Quantity,
        start_lo_tsc: i64 = Quantity,
        start_hi_tsc: i64 = Quantity,
        end_tsc: i64 = Quantity,
        state: VcpuStateKind = Name<VcpuStateKind>,
        evidence: Evidence = Name<Evidence>,
        cpu: Option<i32> = MaybeId,
        process_id: Option<i32> = MaybeId,
        taken_by: Option<Taker> = MaybeTaker,
    }
    /// What a cpu did, when that ended at the earliest, and whose thread was on it.
    CpuTurn of CpuStates {
        cpu: i32 = Id,
        start_tsc: i64 = Quantity,
        end_tsc: i64 = Quantity,
        end_lo_tsc: i64 = Quantity,
        state: CpuStateKind = Name<CpuStateKind>,
        vm_id: Option<i32> = MaybeId,
        tid: Option<i32> = MaybeId,
    }
    /// Between which times an exit was.
    ExitBounds of Exits {
        exit_lo_tsc: i64 = Quantity,
        exit_hi_tsc: i64 = Quantity,
    }
    /// Which vCPU a guest process was on.
    ProcessPlace of VcpuStates {
        vcpu_id: i32 = Id,
        process_id: Option<i32> = MaybeId,
    }
    /// How long an exit took.
    ExitStretch of Exits {
        exit_tsc: i64 = Quantity,
        reentry_tsc: Option<i64> = MaybeTick,
        vcpu_id: i32 = Id,
        vm_id: i32 = Id,
        reason: Option<i32> = MaybeId,
    }
    /// In which state a cpu was.
    CpuUse of CpuStates {
        cpu: i32 = Id,
        start_tsc: i64 = Quantity,
        end_tsc: i64 = Quantity,
        state: CpuStateKind = Name<CpuStateKind>,
    }
    /// Whose exit it was, why, and how long it took.
    ExitCost of Exits {
        exit_tsc: i64 = Quantity,
        reentry_tsc: Option<i64> = MaybeTick,
        vm_id: i32 = Id,
        process_id: i32 = Id,
        reason: Option<i32> = MaybeId,
    }
    /// Which guest process left its guest, and why.
    ExitOf of Exits {
        exit_tsc: i64 = Quantity,
        process_id: i32 = Id,
        reason: Option<i32> = MaybeId,
        reentry_vector: Option<i32> = MaybeId,
        guest_ip: Option<i64> = MaybeAddress,
    }
}

/// Whole rows, but for their nanoseconds.
impl<R: Row> View for R {
    const TABLE: Table = R::TABLE;

    fn columns() -> Vec<String> {
        let mut columns = names(R::TABLE.columns());
        columns.retain(|name| !name.ends_with("_ns"));
        columns
    }

    fn decode(batch: &RecordBatch, out: &mut Vec<Self>) -> Result<(), Error> {
        R::decode(batch, out)
    }
}

fn names(columns: Vec<Column>) -> Vec<String> {
    columns.into_iter().map(|column| column.field.name().clone()).collect()
}

/// A tick, or none.
type MaybeTick = super::columns::MaybeAddress;
