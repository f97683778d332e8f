//! Exact sums over any stretch of time: whole buckets from the summaries, coarse ones where they fit, and what is left at
//! both ends from the rows.

use std::sync::{Arc, Mutex, PoisonError};

use havana_rows::TrackKind;
use havana_store::StoreError;
use rustc_hash::FxHashMap;

use super::levels::{COARSEST, From, Pyramid, bits};
use super::source::{self, Stretch};
use super::{Key, Kind, Opened, Window};

/// Time of a track in a state: ticks, and intervals that begin.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Sum {
    pub(crate) ticks: i64,
    pub(crate) count: i64,
}

/// Of which track: 0 a cpu, 1 a vCPU, 2 a process, and its id.
pub(crate) type Of = (u8, i32, Key);

/// How many rows are read as they are rather than looked for in summaries.
const FEW_ROWS: u64 = 100_000;
/// Sums of a kind that are too many for a page.
const MANY: usize = 50_000;

/// Cuts a window into pieces, each to be read from where it costs least: at most fifteen buckets of a level at either side.
pub(crate) fn pieces(window: Window, finest: Option<i32>) -> Vec<(From, Window)> {
    let mut out = Vec::new();
    cover(window, COARSEST, finest.unwrap_or(COARSEST + 1), &mut out);
    out
}

fn cover(window: Window, level: i32, finest: i32, out: &mut Vec<(From, Window)>) {
    if window.ticks() == 0 {
        return;
    }
    if level < finest {
        return out.push((From::Rows, window));
    }
    let width = 1i64 << bits(level);
    let inside = Window {
        from: (window.from + width - 1) >> bits(level) << bits(level),
        to: window.to >> bits(level) << bits(level),
    };
    if inside.ticks() == 0 {
        return cover(window, level - 1, finest, out);
    }
    out.push((From::Level(level), inside));
    cover(Window { from: window.from, to: inside.from }, level - 1, finest, out);
    cover(Window { from: inside.to, to: window.to }, level - 1, finest, out);
}

/// Sums over the whole dataset: what every page asks for first, worked out once.
#[derive(Default)]
pub(crate) struct Whole(Mutex<Option<Arc<Sums>>>);

/// Sums of all tracks, in their order.
pub(crate) type Sums = Vec<(Of, Sum)>;

impl Whole {
    /// Who asks while it is being worked out waits for it.
    pub(crate) fn get(&self, opened: &Opened) -> Result<Arc<Sums>, StoreError> {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*sums {
            Some(sums) => Ok(Arc::clone(sums)),
            None => {
                let whole = Window { from: opened.first_tsc, to: opened.last_tsc };
                Ok(Arc::clone(sums.insert(Arc::new(of(opened, whole)?))))
            }
        }
    }
}

/// Sums over a window.
pub(crate) fn of(opened: &Opened, window: Window) -> Result<Sums, StoreError> {
    with(opened, window, FEW_ROWS)
}

/// The same, with summaries where there are more than `few` rows.
pub(crate) fn with(opened: &Opened, window: Window, few: u64) -> Result<Sums, StoreError> {
    if window.ticks() == 0 {
        return Ok(Vec::new());
    }
    // Processes cost as much as cpus and vCPUs together.
    let (processes, others) = std::thread::scope(|scope| {
        let processes = scope.spawn(|| of_kind(opened, window, few, (2, Kind::Process, TrackKind::Process)));
        let others = || -> Result<Sums, StoreError> {
            let mut sums = of_kind(opened, window, few, (0, Kind::Cpu, TrackKind::Cpu))?;
            sums.extend(of_kind(opened, window, few, (1, Kind::Vcpu, TrackKind::Vcpu))?);
            Ok(sums)
        };
        let others = others();
        (processes.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), others)
    });
    let mut sums = others?;
    sums.extend(processes?);
    Ok(sums)
}

fn of_kind(
    opened: &Opened,
    window: Window,
    few: u64,
    (code, kind, tracks): (u8, Kind, TrackKind),
) -> Result<Vec<(Of, Sum)>, StoreError> {
    let mut sums = FxHashMap::default();
    let pyramid = Pyramid::Tracks(tracks);
    let table = opened.dataset.scan(pyramid.table()).overlapping(window.range());
    let finest = if table.rows_at_most()? <= few { None } else { pyramid.finest(&opened.dataset) };
    for (from, piece) in pieces(window, finest) {
        source::each(opened, kind, piece, from, |stretch| add(&mut sums, code, piece, from, stretch))?;
    }
    if sums.len() > MANY {
        // Of a process with a share of every VM's doing only that it was VMs.
        let mut fewer: FxHashMap<Of, Sum> = FxHashMap::default();
        for ((code, id, mut key), sum) in sums {
            if kind == Kind::Process && key.by_kind == Key::VM {
                key.by_id = Key::SEVERAL;
            }
            fewer.entry((code, id, key)).or_default().add(sum);
        }
        sums = fewer;
    }
    let mut sums: Vec<(Of, Sum)> = sums.into_iter().filter(|(_, sum)| sum.ticks != 0 || sum.count != 0).collect();
    sums.sort_unstable_by_key(|(of, _)| *of);
    Ok(sums)
}

fn add(sums: &mut FxHashMap<Of, Sum>, code: u8, piece: Window, from: From, stretch: &Stretch) {
    let sum = sums.entry((code, stretch.id, stretch.key)).or_default();
    match from {
        From::Level(_) => {
            sum.ticks += stretch.ticks;
            sum.count += stretch.count;
        }
        From::Rows => {
            sum.ticks += piece.cut(stretch.start, stretch.end).map_or(0, |(start, end)| end - start);
            sum.count += i64::from(piece.contains(stretch.start));
        }
    }
}

impl Sum {
    pub(crate) fn add(&mut self, other: Sum) {
        self.ticks += other.ticks;
        self.count += other.count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_are_the_window_without_gap_or_overlap(
            from in -(1i64 << 44)..1 << 44, ticks in prop_oneof![1..100_000i64, 1..1i64 << 44], finest in 4..=COARSEST,
        ) {
            let window = Window { from, to: from + ticks };
            let mut pieces = pieces(window, Some(finest));
            for (from, piece) in &pieces {
                prop_assert!(piece.from < piece.to);
                match from {
                    From::Level(level) => {
                        prop_assert!(*level >= finest);
                        prop_assert_eq!((piece.from | piece.to) & ((1 << bits(*level)) - 1), 0);
                        prop_assert!(*level == COARSEST || piece.ticks() >> bits(*level) < 31);
                    }
                    From::Rows => prop_assert!(piece.ticks() < 2 << bits(finest)),
                }
            }
            pieces.sort_by_key(|(_, piece)| piece.from);
            let mut at = window.from;
            for (_, piece) in pieces {
                prop_assert_eq!(piece.from, at);
                at = piece.to;
            }
            prop_assert_eq!(at, window.to);
        }
    }
}
