//! Exits: how many over time, how long they took, and which took longest.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use havana_rows::parquet::{ExitStretch, Table};
use havana_rows::{Exit, LodExits, latency_class};
use havana_store::StoreError;

use super::grid::Grid;
use super::levels::{self, Budget, From, Pyramid, bits};
use super::sums::{Sum, pieces};
use super::{Opened, Window};

/// How many rows are read as they are rather than looked for in summaries.
const FEW_ROWS: u64 = 300_000;

/// Some exits of a vCPU.
struct Bunch {
    at: i64,
    vm: i32,
    reason: i32,
    /// -1: no re-entry is known.
    class: i32,
    sum: Sum,
}

fn latency(exit_tsc: i64, reentry_tsc: Option<i64>) -> Option<i64> {
    reentry_tsc.map(|reentry| reentry.saturating_sub(exit_tsc).max(0))
}

fn each(opened: &Opened, window: Window, from: From, mut take: impl FnMut(Bunch)) -> Result<(), StoreError> {
    match from {
        From::Rows => {
            let scan = opened.dataset.scan(Table::Exits).overlapping(window.range());
            scan.each(|row: &ExitStretch| {
                if window.contains(row.exit_tsc) {
                    let latency = latency(row.exit_tsc, row.reentry_tsc);
                    take(Bunch {
                        at: row.exit_tsc,
                        vm: row.vm_id,
                        reason: row.reason.unwrap_or(-1),
                        class: latency.map_or(-1, latency_class),
                        sum: Sum { ticks: latency.unwrap_or(0), count: 1 },
                    });
                }
            })
        }
        From::Level(level) => Pyramid::Exits.scan(&opened.dataset, level, window).each(|row: &LodExits| {
            let bucket = row.bucket_start_tsc;
            if row.level == level && window.cut(bucket, bucket + (1 << bits(level))).is_some() {
                take(Bunch {
                    at: bucket,
                    vm: row.vm_id,
                    reason: row.reason.unwrap_or(-1),
                    class: row.latency_class.unwrap_or(-1),
                    sum: Sum { ticks: row.latency_tsc, count: row.count },
                });
            }
        }),
    }
}

/// Exits by bin and VM: start and end of the bin, VM, sum.
pub(crate) fn rate(opened: &Opened, window: Window, pixels: u32) -> Result<Vec<(i64, i64, i32, Sum)>, StoreError> {
    if window.ticks() == 0 {
        return Ok(Vec::new());
    }
    let fine = Grid::of_pixels(window, pixels);
    let from = levels::choose(&opened.dataset, Pyramid::Exits, window, fine.bits(), Budget::MOMENT)?;
    let grid = match from {
        From::Rows => fine,
        From::Level(level) => Grid::of_width(window, bits(level).max(fine.bits())),
    };
    let mut bins: BTreeMap<(usize, i32), Sum> = BTreeMap::new();
    each(opened, grid.window(), from, |exits| {
        if let Some(bin) = grid.bin(exits.at) {
            bins.entry((bin, exits.vm)).or_default().add(exits.sum);
        }
    })?;
    Ok(bins.into_iter().map(|((bin, vm), sum)| (grid.span(bin).0, grid.span(bin).1, vm, sum)).collect())
}

/// Exits by VM, reason and class of their latency ([`latency_class`]); -1 where either is not known.
pub(crate) fn histogram(opened: &Opened, window: Window) -> Result<BTreeMap<(i32, i32, i32), Sum>, StoreError> {
    histogram_with(opened, window, FEW_ROWS)
}

/// The same, with summaries where there are more than `few` rows.
pub(crate) fn histogram_with(
    opened: &Opened,
    window: Window,
    few: u64,
) -> Result<BTreeMap<(i32, i32, i32), Sum>, StoreError> {
    let mut out: BTreeMap<(i32, i32, i32), Sum> = BTreeMap::new();
    for (from, piece) in exact(opened, window, few)? {
        each(opened, piece, from, |exits| {
            out.entry((exits.vm, exits.reason, exits.class)).or_default().add(exits.sum)
        })?;
    }
    Ok(out)
}

/// What makes exact sums of a window.
fn exact(opened: &Opened, window: Window, few: u64) -> Result<Vec<(From, Window)>, StoreError> {
    if window.ticks() == 0 {
        return Ok(Vec::new());
    }
    let rows = opened.dataset.scan(Table::Exits).overlapping(window.range()).rows_at_most()?;
    let finest = if rows <= few { None } else { Pyramid::Exits.finest(&opened.dataset) };
    Ok(pieces(window, finest))
}

/// The `n` exits that took longest until their vCPU was in its guest again, of a VM or all; slowest first.
///
/// Among many, they are looked for only where the summaries have exits of the highest classes.
pub(crate) fn slowest(opened: &Opened, window: Window, n: usize, vm: Option<i32>) -> Result<Vec<Exit>, StoreError> {
    slowest_with(opened, window, n, vm, FEW_ROWS)
}

/// The same, with summaries where there are more than `few` rows.
pub(crate) fn slowest_with(
    opened: &Opened,
    window: Window,
    n: usize,
    vm: Option<i32>,
    few: u64,
) -> Result<Vec<Exit>, StoreError> {
    let mut places = Vec::new();
    let mut most: Vec<(i32, Window, i64)> = Vec::new();
    for (from, piece) in exact(opened, window, few)? {
        match from {
            From::Rows => places.push(piece),
            From::Level(level) => {
                let level = fine(opened, piece, level)?;
                each(opened, piece, From::Level(level), |exits| {
                    if exits.class >= 0 && vm.is_none_or(|vm| vm == exits.vm) {
                        let bucket = Window { from: exits.at, to: exits.at + (1 << bits(level)) };
                        most.push((exits.class, bucket, exits.sum.count));
                    }
                })?;
            }
        }
    }
    // Classes from above, until those of a class and above it are enough: the slowest are among them.
    most.sort_by_key(|&(class, place, _)| (Reverse(class), place.from));
    let mut found = 0;
    let mut lowest = i32::MAX;
    for (class, place, count) in most {
        if found >= n as i64 && class < lowest {
            break;
        }
        (found, lowest) = (found + count, class);
        places.push(place);
    }
    read_slowest(opened, merged(places), n, vm)
}

/// A level for a search: the finest there is that is not too much to read.
fn fine(opened: &Opened, piece: Window, level: i32) -> Result<i32, StoreError> {
    for finer in Pyramid::Exits.finest(&opened.dataset).unwrap_or(level)..level {
        if Pyramid::Exits.scan(&opened.dataset, finer, piece).rows_at_most()? <= 2 * FEW_ROWS {
            return Ok(finer);
        }
    }
    Ok(level)
}

/// Windows in the order of time, those that touch as one.
fn merged(mut windows: Vec<Window>) -> Vec<Window> {
    windows.sort_by_key(|window| (window.from, window.to));
    let mut out: Vec<Window> = Vec::new();
    for window in windows {
        match out.last_mut() {
            Some(last) if window.from <= last.to => last.to = last.to.max(window.to),
            _ => out.push(window),
        }
    }
    out
}

fn read_slowest(opened: &Opened, windows: Vec<Window>, n: usize, vm: Option<i32>) -> Result<Vec<Exit>, StoreError> {
    let latency = |row: &Exit| latency(row.exit.tsc, row.reentry.map(|reentry| reentry.tsc));
    let mut slowest: Vec<Exit> = Vec::new();
    let sort = |slowest: &mut Vec<Exit>| {
        slowest.sort_by_key(|row| (Reverse(latency(row)), row.exit_id));
        slowest.truncate(n);
    };
    for window in windows {
        let scan = opened.dataset.scan(Table::Exits).overlapping(window.range());
        scan.each(|row: &Exit| {
            let wanted = window.contains(row.exit.tsc) && row.reentry.is_some() && vm.is_none_or(|vm| vm == row.vm_id);
            if wanted {
                slowest.push(*row);
                if slowest.len() >= 2 * n + 1024 {
                    sort(&mut slowest);
                }
            }
        })?;
    }
    sort(&mut slowest);
    Ok(slowest)
}
