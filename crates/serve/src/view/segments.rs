//! Rectangles of rows: the intervals themselves where they are few, else shares of bins.

use havana_store::StoreError;
use rustc_hash::FxHashMap;

use super::grid::Grid;
use super::levels::{self, Budget, From};
use super::source::{self, Stretch};
use super::{Key, Kind, Opened, Window};

/// Intervals of an answer, at most.
const INTERVALS: usize = 40_000;
/// Parts of bins of an answer, about: where they would be more, bins are wider.
const PARTS: usize = 60_000;
/// VMs that are all told apart in a bin. Where there are more, those are that have a sixteenth of it: a pixel of a row's height.
const TOLD_APART: usize = 16;
const LEAST_SHARE: f64 = 1.0 / 16.0;

/// A rectangle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Segment {
    pub(crate) id: i32,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) key: Key,
    /// Heights of its lower and upper edge, of the row's.
    pub(crate) y0: f32,
    pub(crate) y1: f32,
    /// How much of its time it stands for: all, where it is an interval.
    pub(crate) ticks: i64,
    pub(crate) cpu: i32,
    pub(crate) vcpu: i32,
    pub(crate) process: i32,
}

/// A picture of some rows.
#[derive(Debug, Default)]
pub(crate) struct Picture {
    /// By row as asked for, then by start.
    pub(crate) segments: Vec<Segment>,
    /// They are shares of bins.
    pub(crate) binned: bool,
    /// No finer picture would show more.
    pub(crate) exact: bool,
}

/// Draws rows `ids` of a kind.
pub(crate) fn draw(
    opened: &Opened,
    kind: Kind,
    ids: &[i32],
    window: Window,
    pixels: u32,
    budget: Budget,
) -> Result<Picture, StoreError> {
    if window.ticks() == 0 || ids.is_empty() {
        return Ok(Picture { exact: true, ..Picture::default() });
    }
    let fine = Grid::of_pixels(window, pixels);
    let from = levels::choose(&opened.dataset, source::pyramid(kind), window, fine.bits(), budget)?;
    let coarse = match from {
        From::Rows => fine.bits(),
        From::Level(level) => levels::bits(level).max(fine.bits()),
    };
    let grid = Grid::of_width(window, coarse);
    let mut canvas = Canvas::new(ids, grid, pixels, from == From::Rows);
    // Of the first and last bin all, though the window begins or ends inside.
    source::each(opened, kind, grid.window(), from, |stretch| canvas.add(stretch, window))?;
    let exact = coarse == fine.bits();
    Ok(canvas.finish(opened, kind, window, exact))
}

/// What is gathered while rows come.
struct Canvas {
    grid: Grid,
    /// Of each id its place in the answer.
    places: FxHashMap<i32, usize>,
    tracks: Vec<Track>,
    /// None: they are too many.
    intervals: Option<Vec<(usize, Stretch)>>,
    a_track: usize,
}

#[derive(Default)]
struct Track {
    id: i32,
    intervals: usize,
    keys: Vec<Key>,
    /// The place of each of them.
    codes: FxHashMap<Key, u32>,
    /// Ticks by bin and place of the key: few of all there could be.
    ticks: FxHashMap<(u32, u32), i64>,
}

impl Canvas {
    fn new(ids: &[i32], grid: Grid, pixels: u32, intervals: bool) -> Canvas {
        let mut places = FxHashMap::default();
        let mut tracks = Vec::new();
        for &id in ids {
            places.entry(id).or_insert_with(|| {
                tracks.push(Track { id, ..Track::default() });
                tracks.len() - 1
            });
        }
        let a_track = 2 * pixels as usize;
        Canvas { grid, places, tracks, intervals: intervals.then(Vec::new), a_track }
    }

    fn add(&mut self, stretch: &Stretch, window: Window) {
        let Some(&place) = self.places.get(&stretch.id) else { return };
        let track = &mut self.tracks[place];
        if let Some(intervals) = &mut self.intervals
            && window.cut(stretch.start, stretch.end).is_some()
        {
            track.intervals += 1;
            intervals.push((place, *stretch));
            if intervals.len() > INTERVALS || (track.intervals > self.a_track && self.grid.bits() > 0) {
                self.intervals = None;
            }
        }
        let Track { keys, codes, .. } = track;
        let key = *codes.entry(stretch.key).or_insert_with(|| {
            keys.push(stretch.key);
            keys.len() as u32 - 1
        });
        let mut add = |bin: usize, ticks: i64| *track.ticks.entry((bin as u32, key)).or_default() += ticks;
        if stretch.is_whole() {
            self.grid.spread(stretch.start, stretch.end, add);
        } else if let Some(bin) = self.grid.bin(stretch.start) {
            add(bin, stretch.ticks);
        }
    }

    fn finish(self, opened: &Opened, kind: Kind, window: Window, exact: bool) -> Picture {
        let lanes = |id: i32| opened.lanes.count(kind, id);
        match self.intervals {
            Some(intervals) => Picture { segments: whole(intervals, lanes), binned: false, exact: true },
            None => binned(self.tracks, self.grid, window, lanes, exact),
        }
    }
}

/// The intervals themselves, each in its part of the row's height.
fn whole(mut intervals: Vec<(usize, Stretch)>, lanes: impl Fn(i32) -> usize) -> Vec<Segment> {
    intervals.sort_by_key(|(place, stretch)| (*place, stretch.start, stretch.lane));
    let segment = |of: Stretch| {
        let count = lanes(of.id) as f32;
        let (y0, y1) = (of.lane as f32 / count, (of.lane + 1) as f32 / count);
        let Stretch { id, start, end, key, ticks, cpu, vcpu, process, .. } = of;
        Segment { id, start, end, key, y0, y1, ticks, cpu, vcpu, process }
    };
    intervals.into_iter().map(|(_, stretch)| segment(stretch)).collect()
}

/// Stacks of shares.
fn binned(tracks: Vec<Track>, grid: Grid, window: Window, lanes: impl Fn(i32) -> usize, exact: bool) -> Picture {
    let full = |track: &Track, grid: Grid| lanes(track.id) as f64 * (1u64 << grid.bits()) as f64;
    let mut parts: Vec<Vec<(u32, Key, i64)>> = tracks.iter().map(Track::parts).collect();
    for (track, parts) in tracks.iter().zip(&mut parts) {
        tell_few_apart(parts, full(track, grid));
    }
    let mut wider = 0;
    while parts.iter().map(Vec::len).sum::<usize>() > PARTS && wider < 4 {
        wider += 1;
        let (from, to) = (Grid::of_width(window, grid.bits() + wider - 1), Grid::of_width(window, grid.bits() + wider));
        for parts in &mut parts {
            for (bin, ..) in parts.iter_mut() {
                *bin = to.bin(from.span(*bin as usize).0).unwrap_or(0) as u32;
            }
            sum_up(parts);
        }
    }
    let grid = Grid::of_width(window, grid.bits() + wider);
    let mut segments = Vec::new();
    for (track, mut parts) in tracks.iter().zip(parts) {
        let full = full(track, grid);
        tell_few_apart(&mut parts, full);
        let (mut at, mut below) = (u32::MAX, 0);
        for (bin, key, ticks) in parts {
            if bin != at {
                (at, below) = (bin, 0);
            }
            let (start, end) = grid.span(bin as usize);
            let above = below + ticks;
            let (y0, y1) = ((below as f64 / full) as f32, (above as f64 / full) as f32);
            below = above;
            segments.push(Segment { id: track.id, start, end, key, y0, y1, ticks, cpu: -1, vcpu: -1, process: -1 });
        }
    }
    Picture { segments, binned: true, exact: exact && wider == 0 }
}

impl Track {
    /// Bins and what is in them, in the order in which that is stacked.
    fn parts(&self) -> Vec<(u32, Key, i64)> {
        let parts = self.ticks.iter().filter(|(_, ticks)| **ticks > 0);
        let mut parts: Vec<_> = parts.map(|(&(bin, key), &ticks)| (bin, self.keys[key as usize], ticks)).collect();
        parts.sort_unstable_by_key(|&(bin, key, _)| (bin, key));
        parts
    }
}

/// Makes one of parts of the same bin and key.
fn sum_up(parts: &mut Vec<(u32, Key, i64)>) {
    parts.sort_unstable_by_key(|&(bin, key, _)| (bin, key));
    parts.dedup_by(|next, kept| {
        let same = (next.0, next.1) == (kept.0, kept.1);
        if same {
            kept.2 += next.2;
        }
        same
    });
}

/// Where a bin has many VMs, makes "several" of those that have little of it.
fn tell_few_apart(parts: &mut Vec<(u32, Key, i64)>, full: f64) {
    let mut changed = false;
    let mut vms = Vec::new();
    for bin in parts.chunk_by_mut(|a, b| a.0 == b.0).filter(|bin| bin.len() > TOLD_APART) {
        vms.clear();
        vms.extend(bin.iter().filter(|(_, key, _)| key.by_kind == Key::VM).map(|(_, key, _)| key.by_id));
        vms.sort_unstable();
        vms.dedup();
        if vms.len() <= TOLD_APART {
            continue;
        }
        for (_, key, ticks) in bin {
            if key.by_kind == Key::VM && (*ticks as f64) < LEAST_SHARE * full {
                key.by_id = Key::SEVERAL;
                changed = true;
            }
        }
    }
    if changed {
        sum_up(parts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(vm: i32) -> Key {
        Key { state: 0, evidence: 0, by_kind: Key::VM, by_id: vm }
    }

    #[test]
    fn of_many_vms_those_that_have_little_are_several() {
        let mut few: Vec<_> = (0..16).map(|vm| (0, key(vm), 1)).collect();
        let before = few.clone();
        tell_few_apart(&mut few, 1000.0);
        assert_eq!(few, before, "they can be told apart");

        let mut many: Vec<_> = (0..20).map(|vm| (3, key(vm), if vm == 7 { 500 } else { 10 })).collect();
        many.insert(0, (2, key(0), 1));
        tell_few_apart(&mut many, 1000.0);
        assert_eq!(many, [(2, key(0), 1), (3, key(Key::SEVERAL), 190), (3, key(7), 500)]);
    }

    #[test]
    fn bins_get_wider_where_there_would_be_too_many_parts() {
        let window = Window { from: 1000, to: 1000 + (1 << 24) };
        let mut canvas = Canvas::new(&[5], Grid::of_pixels(window, 8000), 8000, false);
        for n in 0..1 << 20 {
            let start = 1000 + n * 16;
            let stretch = Stretch {
                id: 5,
                lane: 0,
                start,
                end: start + 16,
                key: key((n % 12) as i32),
                ticks: 16,
                count: 1,
                cpu: 0,
                vcpu: 0,
                process: 0,
            };
            canvas.add(&stretch, window);
        }
        let picture = binned(canvas.tracks, canvas.grid, window, |_| 1, true);
        assert!(picture.segments.len() <= PARTS && !picture.exact);
        let ticks: f64 = picture.segments.iter().map(|s| f64::from(s.y1 - s.y0) * (s.end - s.start) as f64).sum();
        assert!((ticks / (1 << 24) as f64 - 1.0).abs() < 1e-4, "{ticks}");
    }
}
