//! How long each vCPU was in which state, with which guest process current on it: sums for flame graphs.

use std::collections::BTreeMap;

use havana_rows::parquet::{Table, VcpuStretch};
use havana_rows::{Exit, VcpuStateKind};

use crate::{ExportError, Selection};

/// Whose time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stack {
    pub(crate) vm_id: i32,
    pub(crate) vcpu_id: i32,
    pub(crate) process_id: Option<i32>,
    pub(crate) state: VcpuStateKind,
}

/// How much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sum {
    pub(crate) ticks: i64,
    /// Exits, at the state they left: `guest`.
    pub(crate) exits: i64,
}

/// Sums of a part of a dataset.
pub(crate) fn sum(selection: &Selection<'_>) -> Result<BTreeMap<Stack, Sum>, ExportError> {
    let mut sums: BTreeMap<Stack, Sum> = BTreeMap::new();
    selection.scan(Table::VcpuStates).each(|row: &VcpuStretch| {
        let VcpuStretch { vm_id, vcpu_id, process_id, state, .. } = *row;
        let part = selection.cut(row.start_tsc, row.end_tsc).filter(|_| selection.has_state(vm_id, row.cpu));
        if let Some((start, end)) = part {
            sums.entry(Stack { vm_id, vcpu_id, process_id, state }).or_default().ticks += end - start;
        }
    })?;
    selection.scan(Table::Exits).each(|row: &Exit| {
        if selection.has_exit(row) {
            let Exit { vm_id, vcpu_id, process_id, .. } = *row;
            let stack = Stack { vm_id, vcpu_id, process_id: Some(process_id), state: VcpuStateKind::Guest };
            sums.entry(stack).or_default().exits += 1;
        }
    })?;
    Ok(sums)
}

/// What a stack's process is called where none is known.
pub(crate) const NO_PROCESS: &str = "no process known";
