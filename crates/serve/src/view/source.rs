//! Stretches of time of some tracks, from the rows of a table or from a level of the summaries.

use havana_rows::parquet::{CpuStretch, VcpuStretch};
use havana_rows::{Lod, State, TrackKind};
use havana_store::StoreError;

use super::levels::{From, Pyramid, bits};
use super::{Key, Kind, Opened, Window};

/// A track was in a state for a while.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    /// The track.
    pub(crate) id: i32,
    /// Which of the row's parts it is in (see `Lanes`).
    pub(crate) lane: u32,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) key: Key,
    /// How much of it: all, where it is an interval.
    pub(crate) ticks: i64,
    /// Intervals that begin in it.
    pub(crate) count: i64,
    /// Where it was, and whose; -1: not known, or several.
    pub(crate) cpu: i32,
    pub(crate) vcpu: i32,
    pub(crate) process: i32,
}

impl Stretch {
    /// An interval of a table, as it stands there.
    pub(crate) fn is_whole(&self) -> bool {
        self.ticks == self.end - self.start
    }
}

/// The summaries of a kind of row.
pub(crate) fn pyramid(kind: Kind) -> Pyramid {
    Pyramid::Tracks(match kind {
        Kind::Cpu | Kind::Node => TrackKind::Cpu,
        Kind::Vcpu | Kind::Vm => TrackKind::Vcpu,
        Kind::Process | Kind::OnVcpu => TrackKind::Process,
    })
}

/// Gives what overlaps the window of every track of a kind; of a level, whole buckets. In no order.
pub(crate) fn each(
    opened: &Opened,
    kind: Kind,
    window: Window,
    from: From,
    mut take: impl FnMut(&Stretch),
) -> Result<(), StoreError> {
    match (from, kind) {
        (From::Level(level), _) => each_of_level(opened, kind, window, level, take),
        (From::Rows, Kind::Cpu | Kind::Node) => cpus(opened, window, |row| take(&of_cpu(opened, kind, row))),
        (From::Rows, _) => vcpus(opened, window, |row| take_vcpu(opened, kind, row, &mut take)),
    }
}

/// The rows of `cpu_states` that overlap the window, or lie in it without a length.
pub(crate) fn cpus(opened: &Opened, window: Window, mut take: impl FnMut(&CpuStretch)) -> Result<(), StoreError> {
    let scan = opened.dataset.scan(havana_rows::parquet::Table::CpuStates);
    scan.overlapping(window.range()).each(|row: &CpuStretch| {
        if overlaps(window, row.start_tsc, row.end_tsc) {
            take(row);
        }
    })
}

/// The rows of `vcpu_states` that overlap the window, or lie in it without a length.
pub(crate) fn vcpus(opened: &Opened, window: Window, mut take: impl FnMut(&VcpuStretch)) -> Result<(), StoreError> {
    let scan = opened.dataset.scan(havana_rows::parquet::Table::VcpuStates);
    scan.overlapping(window.range()).each(|row: &VcpuStretch| {
        if overlaps(window, row.start_tsc, row.end_tsc) {
            take(row);
        }
    })
}

fn overlaps(window: Window, start: i64, end: i64) -> bool {
    window.cut(start, end).is_some() || (start >= end && window.contains(start))
}

pub(crate) fn of_cpu(opened: &Opened, kind: Kind, row: &CpuStretch) -> Stretch {
    let state = State::from(row.state);
    let id = if kind == Kind::Node { 0 } else { row.cpu };
    Stretch {
        id,
        lane: opened.lanes.place(kind, id, row.cpu) as u32,
        start: row.start_tsc,
        end: row.end_tsc,
        key: Key::new(state, row.evidence, state.owner(row.vm_id)),
        ticks: row.end_tsc - row.start_tsc,
        count: 1,
        cpu: row.cpu,
        vcpu: row.vcpu_id.unwrap_or(-1),
        process: row.process_id.unwrap_or(-1),
    }
}

pub(crate) fn take_vcpu(opened: &Opened, kind: Kind, row: &VcpuStretch, take: &mut impl FnMut(&Stretch)) {
    let id = match kind {
        Kind::Vm => Some(row.vm_id),
        Kind::Process => row.process_id,
        Kind::OnVcpu => row.process_id.and_then(|process| opened.lanes.on_vcpu(process, row.vcpu_id)),
        _ => Some(row.vcpu_id),
    };
    let Some(id) = id else { return };
    take(&Stretch {
        id,
        lane: opened.lanes.place(kind, id, row.vcpu_id) as u32,
        start: row.start_tsc,
        end: row.end_tsc,
        key: Key::new(State::from(row.state), row.evidence, row.taken_by),
        ticks: row.end_tsc - row.start_tsc,
        count: 1,
        cpu: row.cpu.unwrap_or(-1),
        vcpu: row.vcpu_id,
        process: row.process_id.unwrap_or(-1),
    });
}

fn each_of_level(
    opened: &Opened,
    kind: Kind,
    window: Window,
    level: i32,
    mut take: impl FnMut(&Stretch),
) -> Result<(), StoreError> {
    let pyramid = pyramid(kind);
    let Pyramid::Tracks(tracks) = pyramid else { return Ok(()) };
    let width = 1i64 << bits(level);
    pyramid.scan(&opened.dataset, level, window).each(|row: &Lod| {
        let (start, end) = (row.bucket_start_tsc, row.bucket_end_tsc);
        if row.level != level || row.track_kind != tracks || window.cut(start, end).is_none() {
            return;
        }
        let (id, member) = match kind {
            Kind::Node => (0, row.track_id),
            Kind::Vm => (opened.lanes.vm_of_vcpu.get(&row.track_id).copied().unwrap_or(-1), row.track_id),
            Kind::Process => (row.track_id, row.vcpu_id.unwrap_or(-1)),
            Kind::OnVcpu => {
                let vcpu = row.vcpu_id.unwrap_or(-1);
                (opened.lanes.on_vcpu(row.track_id, vcpu).unwrap_or(-1), vcpu)
            }
            Kind::Cpu | Kind::Vcpu => (row.track_id, row.track_id),
        };
        let whole = Stretch {
            id,
            lane: opened.lanes.place(kind, id, member) as u32,
            start,
            end,
            key: Key::new(row.state, row.evidence, row.by),
            ticks: row.busy_tsc,
            count: row.count,
            cpu: -1,
            vcpu: -1,
            process: -1,
        };
        // Of several buckets only those in the window: each is filled, and what begins begins in the first.
        if end - start > width {
            let (from, to) = (start.max(window.from >> bits(level) << bits(level)), end.min(ceil(window.to, level)));
            let count = if from == start { row.count } else { 0 };
            take(&Stretch { start: from, end: to, ticks: to - from, count, ..whole });
        } else {
            take(&whole);
        }
    })
}

fn ceil(tick: i64, level: i32) -> i64 {
    (tick + (1 << bits(level)) - 1) >> bits(level) << bits(level)
}
