//! Rectangles of rows: the intervals themselves where they are few, else shares of bins.

use havana_store::StoreError;
use rustc_hash::FxHashMap;

use super::grid::Grid;
use super::levels::{self, Budget, From};
use super::source::{self, Stretch};
use super::{Key, Kind, Opened, Window};

/// Intervals of an answer, at most.
const INTERVALS: usize = 40_000;

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
    Ok(canvas.finish(opened, kind, exact))
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
    bins: Vec<(Key, Vec<i64>)>,
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
        let key = track.bins.iter().position(|(key, _)| *key == stretch.key);
        let key = key.unwrap_or_else(|| {
            track.bins.push((stretch.key, vec![0; self.grid.bins]));
            track.bins.len() - 1
        });
        let ticks = &mut track.bins[key].1;
        if stretch.is_whole() {
            self.grid.spread(stretch.start, stretch.end, ticks);
        } else if let Some(bin) = self.grid.bin(stretch.start) {
            ticks[bin] += stretch.ticks;
        }
    }

    fn finish(self, opened: &Opened, kind: Kind, exact: bool) -> Picture {
        let lanes = |id: i32| opened.lanes.count(kind, id);
        if let Some(mut intervals) = self.intervals {
            intervals.sort_by_key(|(place, stretch)| (*place, stretch.start, stretch.lane));
            let segments = intervals.into_iter().map(|(_, of)| {
                let count = lanes(of.id) as f32;
                Segment {
                    id: of.id,
                    start: of.start,
                    end: of.end,
                    key: of.key,
                    y0: of.lane as f32 / count,
                    y1: (of.lane + 1) as f32 / count,
                    cpu: of.cpu,
                    vcpu: of.vcpu,
                    process: of.process,
                }
            });
            return Picture { segments: segments.collect(), binned: false, exact: true };
        }
        let mut segments = Vec::new();
        for mut track in self.tracks {
            track.bins.sort_by_key(|(key, _)| *key);
            let full = (lanes(track.id) as f64) * (1u64 << self.grid.bits()) as f64;
            for bin in 0..self.grid.bins {
                let (start, end) = self.grid.span(bin);
                let mut below = 0i64;
                for (key, ticks) in track.bins.iter().filter(|(_, ticks)| ticks[bin] > 0) {
                    let above = below + ticks[bin];
                    let (y0, y1) = ((below as f64 / full) as f32, (above as f64 / full) as f32);
                    below = above;
                    segments.push(Segment {
                        id: track.id,
                        start,
                        end,
                        key: *key,
                        y0,
                        y1,
                        cpu: -1,
                        vcpu: -1,
                        process: -1,
                    });
                }
            }
        }
        Picture { segments, binned: true, exact }
    }
}
