//! Cpus in the guest, by VM, over time.

use std::collections::BTreeMap;

use havana_rows::State;
use havana_store::StoreError;

use super::grid::Grid;
use super::levels::{self, Budget, From, bits};
use super::source;
use super::sums::Sum;
use super::{Key, Kind, Opened, Window};

/// Time in the guest by bin and VM: start and end of the bin, VM, ticks of all cpus (nothing is counted).
pub(crate) fn rate(opened: &Opened, window: Window, pixels: u32) -> Result<Vec<(i64, i64, i32, Sum)>, StoreError> {
    rate_with(opened, window, pixels, Budget::MOMENT)
}

/// The same, within a budget.
pub(crate) fn rate_with(
    opened: &Opened,
    window: Window,
    pixels: u32,
    budget: Budget,
) -> Result<Vec<(i64, i64, i32, Sum)>, StoreError> {
    if window.ticks() == 0 {
        return Ok(Vec::new());
    }
    let fine = Grid::of_pixels(window, pixels);
    let from = levels::choose(&opened.dataset, source::pyramid(Kind::Cpu), window, fine.bits(), budget)?;
    let grid = match from {
        From::Rows => fine,
        From::Level(level) => Grid::of_width(window, bits(level).max(fine.bits())),
    };
    let mut bins: BTreeMap<(usize, i32), Sum> = BTreeMap::new();
    source::each(opened, Kind::Cpu, grid.window(), from, |stretch| {
        if stretch.key.state != State::Guest as u8 || stretch.key.by_kind != Key::VM {
            return;
        }
        let vm = stretch.key.by_id;
        let mut add = |bin: usize, ticks: i64| bins.entry((bin, vm)).or_default().ticks += ticks;
        if stretch.is_whole() {
            grid.spread(stretch.start, stretch.end, add);
        } else if let Some(bin) = grid.bin(stretch.start) {
            add(bin, stretch.ticks);
        }
    })?;
    // Summaries have rows of no time, where only something begins.
    bins.retain(|_, sum| sum.ticks > 0);
    Ok(bins.into_iter().map(|((bin, vm), sum)| (grid.span(bin).0, grid.span(bin).1, vm, sum)).collect())
}
