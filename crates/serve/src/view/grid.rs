//! Bins of a window: 2^n ticks wide, at multiples of that, so that they are sums of whole buckets of `lod`, and stand
//! still while a picture moves.

use super::Window;

/// Equal bins that cover a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    /// log2 of a bin's width.
    bits: u32,
    /// The number of the first bin.
    first: i64,
    pub(crate) bins: usize,
}

impl Grid {
    /// The widest bins that are no wider than one of `pixels` equal parts of the window.
    pub(crate) fn of_pixels(window: Window, pixels: u32) -> Grid {
        let pixel = (window.ticks() / i64::from(pixels.max(1))).max(1);
        Grid::of_width(window, 63 - pixel.leading_zeros())
    }

    /// Bins of 2^`bits` ticks.
    pub(crate) fn of_width(window: Window, bits: u32) -> Grid {
        let first = window.from >> bits;
        let last = (window.to - 1).max(window.from) >> bits;
        Grid { bits, first, bins: (last - first + 1) as usize }
    }

    pub(crate) fn bits(self) -> u32 {
        self.bits
    }

    /// Start and end of a bin, ticks.
    pub(crate) fn span(self, bin: usize) -> (i64, i64) {
        let start = (self.first + bin as i64) << self.bits;
        (start, start + (1 << self.bits))
    }

    /// The bin of a tick; none outside.
    pub(crate) fn bin(self, tick: i64) -> Option<usize> {
        let bin = usize::try_from((tick >> self.bits) - self.first).ok()?;
        (bin < self.bins).then_some(bin)
    }

    /// All of it, ticks.
    pub(crate) fn window(self) -> Window {
        Window { from: self.span(0).0, to: self.span(self.bins - 1).1 }
    }

    /// Gives each bin what of an interval lies in it.
    pub(crate) fn spread(self, start: i64, end: i64, mut add: impl FnMut(usize, i64)) {
        let Some((mut at, end)) = self.window().cut(start, end) else { return };
        let mut bin = ((at >> self.bits) - self.first) as usize;
        while at < end {
            let to = self.span(bin).1.min(end);
            add(bin, to - at);
            at = to;
            bin += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bins_cover_the_window_and_hold_all_of_an_interval(
            from in -1_000_000_000..1_000_000_000i64, ticks in 1..100_000_000i64, pixels in 1..4000u32,
            start in -1_000_000_000..1_000_000_000i64, length in 0..200_000_000i64,
        ) {
            let window = Window { from, to: from + ticks };
            let grid = Grid::of_pixels(window, pixels);
            let all = grid.window();
            let width = 1i64 << grid.bits();
            prop_assert!(all.from <= from && from < all.from + width);
            prop_assert!(all.to >= window.to && window.to > all.to - width);
            prop_assert!(width <= (ticks / i64::from(pixels)).max(1));
            prop_assert!(grid.bins as i64 <= 2 * i64::from(pixels) + 2 || width == 1);
            let mut sums = vec![0; grid.bins];
            grid.spread(start, start + length, |bin, ticks| sums[bin] += ticks);
            let inside = all.cut(start, start + length).map_or(0, |(start, end)| end - start);
            prop_assert_eq!(sums.iter().sum::<i64>(), inside);
            for (bin, sum) in sums.into_iter().enumerate() {
                let (from, to) = grid.span(bin);
                prop_assert_eq!(grid.bin(from), Some(bin));
                let inside = Window { from, to }.cut(start, start + length).map_or(0, |(start, end)| end - start);
                prop_assert_eq!(sum, inside);
            }
        }
    }
}
