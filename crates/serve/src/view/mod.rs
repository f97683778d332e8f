//! What a page draws and sums, worked out from a dataset. No HTTP here.
//!
//! ```text
//! few rows in sight ──► source: rows of the tables ─────┐
//! many              ──► source: rows of a level of lod ─┴─► segments, sums, exits
//! ```
//!
//! * `opened`: the dataset, and what is asked of it each time (names, lanes).
//! * [`source`]: stretches of time, from whichever table is cheaper; [`levels`]: which that is.
//! * [`grid`]: bins of 2^n ticks. [`segments`], [`sums`], [`exits`], [`busy`], [`interval`], [`stolen`]: one question each.
//!
//! Invariants: times are absolute ticks in here, and relative to the dataset's first one outside. What is said of a
//! stretch is exact, whichever way it was read; only how fine a picture is depends on that.

pub(crate) mod busy;
pub(crate) mod exits;
pub(crate) mod grid;
pub(crate) mod interval;
pub(crate) mod levels;
mod opened;
pub(crate) mod segments;
pub(crate) mod source;
pub(crate) mod stolen;
pub(crate) mod sums;
#[cfg(test)]
mod tests;

pub(crate) use opened::Opened;

use std::ops::RangeInclusive;

use havana_rows::{Evidence, State, Taker, TakerKind};

/// What has a row in a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Cpu,
    Vcpu,
    /// A guest process, on all vCPUs.
    Process,
    /// A guest process on one vCPU; its id is its place in [`Opened::on_vcpus`].
    OnVcpu,
    /// A VM: its vCPUs together.
    Vm,
    /// All cpus together.
    Node,
}

impl Kind {
    pub(crate) fn from_name(name: &str) -> Option<Kind> {
        Some(match name {
            "cpu" => Kind::Cpu,
            "vcpu" => Kind::Vcpu,
            "process" => Kind::Process,
            "vm" => Kind::Vm,
            "node" => Kind::Node,
            _ => return None,
        })
    }
}

/// What parts of a bin are told apart by, in the order in which they are stacked. Codes are those of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) state: u8,
    pub(crate) evidence: u8,
    pub(crate) by_kind: u8,
    pub(crate) by_id: i32,
}

impl Key {
    /// `by_kind` of a VM …
    pub(crate) const VM: u8 = 1;
    /// … and `by_id`, where it is several that are not told apart.
    pub(crate) const SEVERAL: i32 = -1;

    pub(crate) fn new(state: State, evidence: Evidence, by: Option<Taker>) -> Key {
        let (by_kind, by_id) = match by {
            None => (0, -1),
            Some(Taker { kind: TakerKind::Vm, id }) => (Self::VM, id.unwrap_or(Self::SEVERAL)),
            // Which address space: see `rows::Lod`.
            Some(Taker { kind: TakerKind::Host, .. }) => (2, -1),
        };
        Key { state: state as u8, evidence: evidence as u8, by_kind, by_id }
    }
}

/// A stretch of time, absolute ticks: from `from` to before `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) from: i64,
    pub(crate) to: i64,
}

impl Window {
    pub(crate) fn ticks(self) -> i64 {
        self.to.saturating_sub(self.from).max(0)
    }

    /// Its ticks, as a scan wants them.
    pub(crate) fn range(self) -> RangeInclusive<i64> {
        self.from..=self.to - 1
    }

    /// What of an interval lies in it.
    pub(crate) fn cut(self, start: i64, end: i64) -> Option<(i64, i64)> {
        let (start, end) = (start.max(self.from), end.min(self.to));
        (start < end).then_some((start, end))
    }

    pub(crate) fn contains(self, tick: i64) -> bool {
        (self.from..self.to).contains(&tick)
    }
}
