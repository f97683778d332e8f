//! Summaries for drawing (`lod`, `lod_exits`), made while the rows come.
//!
//! ```text
//! row ──► Pyramid: level 4 ── a bucket is full ──► rows of level 4
//!                     └─ sixteen of it ──► level 5 ──► … ──► level 10
//! ```
//!
//! * [`pyramid`]: the arithmetic: which bucket gets how much.
//! * `output`: where the rows of a level go: memory while they are few, files of their own when not.
//! * this file: which tracks a row of `cpu_states`, `vcpu_states` or `exits` belongs to.
//!
//! Invariants: of each track and level that is there, all rows together are what the table's rows give; a test
//! computes it anew. Memory is bounded: a few numbers for each track and level.

mod output;
pub(crate) mod pyramid;
#[cfg(test)]
mod tests;

use havana_rows::parquet::{Error, Row};
use havana_rows::{
    CpuState, Evidence, Exit, Lod, LodExits, State, Taker, TakerKind, TrackKind, VcpuState, latency_class,
};

pub(crate) use output::{Output, Part};
use pyramid::{Cell, Key, Pyramid, Track};

/// A row that is summed up.
pub(crate) trait Summed: Row + Send + 'static {
    /// What rows of a bucket are told apart by.
    type Key: Key + Send;
    /// Its pyramids, one a kind of track, by the names of their files.
    const PYRAMIDS: &'static [&'static str];

    /// Adds it to each of them.
    fn add(&self, pyramids: &mut [Pyramid<Self::Key>]) -> Result<(), Error>;
}

/// What rows of one track and bucket are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StateKey {
    kind: TrackKind,
    state: State,
    evidence: Evidence,
    by: Option<Taker>,
}

impl Key for StateKey {
    type Row = Lod;

    fn row(&self, track: Track, cell: Cell, amount: i64, count: i64) -> Lod {
        Lod {
            level: cell.level,
            tile: cell.tile(),
            track_kind: self.kind,
            track_id: track.id,
            vcpu_id: (self.kind == TrackKind::Process).then_some(track.of),
            bucket_start_tsc: cell.start,
            bucket_end_tsc: cell.end,
            state: self.state,
            evidence: self.evidence,
            by: self.by,
            busy_tsc: amount,
            count,
        }
    }
}

/// Which address space of the host had a cpu is not told apart: there are many.
fn summed(taker: Option<Taker>) -> Option<Taker> {
    taker.map(|taker| match taker.kind {
        TakerKind::Vm => taker,
        TakerKind::Host => Taker { kind: TakerKind::Host, id: None },
    })
}

impl Summed for CpuState {
    type Key = StateKey;
    const PYRAMIDS: &'static [&'static str] = &["cpu"];

    #[inline]
    fn add(&self, pyramids: &mut [Pyramid<StateKey>]) -> Result<(), Error> {
        let state = State::from(self.state);
        let key = StateKey { kind: TrackKind::Cpu, state, evidence: self.evidence, by: state.owner(self.vm_id) };
        pyramids[0].interval(Track { id: self.cpu, of: 0 }, key, self.start.tsc, self.end.tsc)
    }
}

impl Summed for VcpuState {
    type Key = StateKey;
    const PYRAMIDS: &'static [&'static str] = &["vcpu", "process"];

    #[inline]
    fn add(&self, pyramids: &mut [Pyramid<StateKey>]) -> Result<(), Error> {
        let (start, end) = (self.start.tsc, self.end.tsc);
        let (state, by) = (State::from(self.state), summed(self.taken_by));
        let key = |kind| StateKey { kind, state, evidence: self.evidence, by };
        pyramids[0].interval(Track { id: self.vcpu_id, of: 0 }, key(TrackKind::Vcpu), start, end)?;
        match self.process_id {
            // Rows of a vCPU come in the order of time; those of a process on several do not.
            Some(id) => pyramids[1].interval(Track { id, of: self.vcpu_id }, key(TrackKind::Process), start, end),
            None => Ok(()),
        }
    }
}

/// What exits of one vCPU and bucket are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExitKey {
    vm_id: i32,
    reason: Option<i32>,
    class: Option<i32>,
}

impl Key for ExitKey {
    type Row = LodExits;

    fn row(&self, track: Track, cell: Cell, amount: i64, count: i64) -> LodExits {
        LodExits {
            level: cell.level,
            tile: cell.tile(),
            vcpu_id: track.id,
            vm_id: self.vm_id,
            bucket_start_tsc: cell.start,
            reason: self.reason,
            latency_class: self.class,
            latency_tsc: amount,
            count,
        }
    }
}

impl Summed for Exit {
    type Key = ExitKey;
    const PYRAMIDS: &'static [&'static str] = &["exits"];

    #[inline]
    fn add(&self, pyramids: &mut [Pyramid<ExitKey>]) -> Result<(), Error> {
        let latency = self.reentry.map(|reentry| reentry.tsc.saturating_sub(self.exit.tsc).max(0));
        let key = ExitKey { vm_id: self.vm_id, reason: self.reason, class: latency.map(latency_class) };
        pyramids[0].point(Track { id: self.vcpu_id, of: 0 }, key, self.exit.tsc, latency.unwrap_or(0))
    }
}
