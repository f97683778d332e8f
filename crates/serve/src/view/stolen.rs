//! Where a VM lost its cpu to somebody: the longest intervals.

use std::cmp::Reverse;

use havana_rows::parquet::VcpuStretch;
use havana_rows::{TakerKind, VcpuStateKind};
use havana_store::StoreError;

use super::levels::{self, Budget, From, bits};
use super::source::{self, Stretch};
use super::{Kind, Opened, Window};

/// Places that are looked into at most, where there are too many intervals to look at each.
const PLACES: usize = 256;

/// Who took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taker {
    Vm(i32),
    Host,
}

/// The intervals in which a VM's vCPUs were preempted by someone, and whether none that is longer was left out.
pub(crate) struct Stolen {
    pub(crate) longest: Vec<VcpuStretch>,
    pub(crate) complete: bool,
}

/// The `n` longest intervals in which vCPUs of `vm` were preempted by `taker`.
pub(crate) fn longest(opened: &Opened, vm: i32, taker: Taker, window: Window, n: usize) -> Result<Stolen, StoreError> {
    if window.ticks() == 0 {
        return Ok(Stolen { longest: Vec::new(), complete: true });
    }
    let from =
        levels::choose(&opened.dataset, source::pyramid(Kind::Vcpu), window, bits(levels::COARSEST), Budget::PATIENT)?;
    let (windows, complete) = match from {
        From::Rows => (vec![window], true),
        From::Level(_) => (busiest(opened, vm, taker, window)?, false),
    };
    let mut longest: Vec<VcpuStretch> = Vec::new();
    let sort = |longest: &mut Vec<VcpuStretch>| {
        longest.sort_by_key(|row| (Reverse(row.end_tsc - row.start_tsc), row.start_tsc, row.vcpu_id));
        longest.dedup();
        longest.truncate(n);
    };
    for window in windows {
        source::vcpus(opened, window, |row| {
            if row.vm_id == vm && row.state == VcpuStateKind::Preempted && is_by(row, taker) {
                longest.push(*row);
                if longest.len() > 2 * n + 1024 {
                    sort(&mut longest);
                }
            }
        })?;
    }
    sort(&mut longest);
    Ok(Stolen { longest, complete })
}

fn is_by(row: &VcpuStretch, taker: Taker) -> bool {
    match (row.taken_by, taker) {
        (Some(by), Taker::Vm(id)) => by.kind == TakerKind::Vm && by.id == Some(id),
        (Some(by), Taker::Host) => by.kind == TakerKind::Host,
        (None, _) => false,
    }
}

/// The buckets in which most was taken.
fn busiest(opened: &Opened, vm: i32, taker: Taker, window: Window) -> Result<Vec<Window>, StoreError> {
    let from = levels::choose(&opened.dataset, source::pyramid(Kind::Vcpu), window, 0, Budget::PATIENT)?;
    let mut buckets: Vec<(i64, Window)> = Vec::new();
    source::each(opened, Kind::Vcpu, window, from, |stretch: &Stretch| {
        let by = match taker {
            Taker::Vm(id) => (1, id),
            Taker::Host => (2, -1),
        };
        let its = opened.lanes.vm_of_vcpu.get(&stretch.id) == Some(&vm);
        if its
            && stretch.key.state == havana_rows::State::Preempted as u8
            && (stretch.key.by_kind, stretch.key.by_id) == by
        {
            buckets.push((stretch.ticks, Window { from: stretch.start, to: stretch.end }));
        }
    })?;
    buckets.sort_by_key(|&(ticks, place)| (Reverse(ticks), place.from));
    buckets.truncate(PLACES);
    Ok(buckets.into_iter().map(|(_, place)| place).collect())
}
