//! Intervals of tracks, summed up in buckets of 16, 16², 16³ … of the finest.
//!
//! Each track has one open bucket a level. What comes for a later bucket closes it: its sums become rows, and are added
//! to the open bucket of the level above. Buckets that one interval fills are a single row a tile, so that an idle hour
//! costs little; they go up as they are. What comes for an earlier bucket opens that once more: rows of one bucket add up.
//!
//! The finest level is not kept where it would not pay: when it has more rows than a quarter of the intervals it is
//! dropped, and the next one is the finest.

use havana_rows::Lod;
use havana_rows::parquet::{Error, Row};
use rustc_hash::FxHashMap;

use super::Output;

/// Buckets of 16^4 ticks, some 25 µs, are the finest …
pub(crate) const FINEST: i32 = 4;
/// … and these the coarsest.
pub(crate) const COARSEST: i32 = Lod::COARSEST;
const LEVELS: usize = (COARSEST - FINEST + 1) as usize;

/// Rows that a level may have, whatever its intervals are …
const FREE_ROWS: u64 = 256 << 10;
/// … and how many intervals a row must stand for beyond that.
const INTERVALS_A_ROW: u64 = 4;

/// Buckets of a tile are 16².
const TILE_LEVELS: i32 = 2;

const fn bits(level: i32) -> u32 {
    Lod::bits(level)
}

/// What rows of one track and bucket are told apart by.
pub(crate) trait Key: Copy + Eq {
    /// The row of a summary.
    type Row: Row + Send + 'static;
    /// `amount`: ticks.
    fn row(&self, track: Track, cell: Cell, amount: i64, count: i64) -> Self::Row;
}

/// Whose intervals: they come in the order of time, or nearly so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Track {
    pub(crate) id: i32,
    /// Which of several sources.
    pub(crate) of: i32,
}

/// A bucket, or several of one tile that follow each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) level: i32,
    pub(crate) start: i64,
    pub(crate) end: i64,
}

impl Cell {
    pub(crate) fn tile(self) -> i64 {
        self.start >> bits(self.level + TILE_LEVELS)
    }
}

struct Sum<K> {
    key: K,
    amount: i64,
    count: i64,
}

/// The open bucket of a track at a level.
struct Open<K> {
    bucket: i64,
    sums: Vec<Sum<K>>,
}

/// The sums of one kind of tracks.
pub(crate) struct Pyramid<K: Key> {
    tracks: FxHashMap<Track, [Open<K>; LEVELS]>,
    intervals: u64,
    /// Rows of each level.
    rows: [u64; LEVELS],
    finest: i32,
    out: Output<K::Row>,
}

/// What a bucket gets: of one track, into one output.
struct Pen<'a, K: Key> {
    track: Track,
    open: &'a mut [Open<K>; LEVELS],
    rows: &'a mut [u64; LEVELS],
    /// Rows that a level may have by now.
    limit: u64,
    out: &'a mut Output<K::Row>,
}

fn place(level: i32) -> usize {
    (level - FINEST) as usize
}

impl<K: Key> Pyramid<K> {
    pub(crate) fn new(out: Output<K::Row>) -> Self {
        Pyramid { tracks: FxHashMap::default(), intervals: 0, rows: [0; LEVELS], finest: FINEST, out }
    }

    /// A track was in a state from `start` to `end`.
    #[inline]
    pub(crate) fn interval(&mut self, track: Track, key: K, start: i64, end: i64) -> Result<(), Error> {
        // Beyond these no tick ever is, and the end of a bucket would not be a number.
        let start = start.clamp(-(1 << 62), 1 << 62);
        let end = end.clamp(start, 1 << 62);
        self.intervals += 1;
        let finest = self.finest;
        self.pen(track).span(finest, key, start, end, 1)?;
        self.drop_what_does_not_pay()
    }

    /// Something happened on a track, and took `amount`.
    #[inline]
    pub(crate) fn point(&mut self, track: Track, key: K, at: i64, amount: i64) -> Result<(), Error> {
        self.intervals += 1;
        let finest = self.finest;
        self.pen(track).part(finest, at >> bits(finest), key, amount, 1)?;
        self.drop_what_does_not_pay()
    }

    #[inline]
    fn pen(&mut self, track: Track) -> Pen<'_, K> {
        let open = self
            .tracks
            .entry(track)
            .or_insert_with(|| std::array::from_fn(|_| Open { bucket: i64::MIN, sums: Vec::new() }));
        let limit = FREE_ROWS + self.intervals / INTERVALS_A_ROW;
        Pen { track, open, rows: &mut self.rows, limit, out: &mut self.out }
    }

    #[inline]
    fn drop_what_does_not_pay(&mut self) -> Result<(), Error> {
        let limit = self.limit();
        let kept = place(self.finest)..place(COARSEST);
        if self.rows[kept].iter().any(|&rows| rows > limit) { self.drop_finest() } else { Ok(()) }
    }

    /// Drops the levels that have too many rows, and those below.
    #[cold]
    fn drop_finest(&mut self) -> Result<(), Error> {
        while self.rows[place(self.finest)..place(COARSEST)].iter().any(|&rows| rows > self.limit()) {
            self.close(self.finest)?;
            self.out.abandon(self.finest)?;
            self.finest += 1;
        }
        Ok(())
    }

    fn limit(&self) -> u64 {
        FREE_ROWS + self.intervals / INTERVALS_A_ROW
    }

    /// Closes the open buckets of a level.
    fn close(&mut self, level: i32) -> Result<(), Error> {
        let tracks: Vec<Track> = self.tracks.keys().copied().collect();
        tracks.into_iter().try_for_each(|track| self.pen(track).close(level))
    }

    /// Ends it: its finest level, and what it wrote.
    pub(crate) fn finish(mut self) -> Result<(i32, Output<K::Row>), Error> {
        for level in self.finest..=COARSEST {
            self.close(level)?;
        }
        Ok((self.finest, self.out))
    }
}

impl<K: Key> Pen<'_, K> {
    /// An interval at a level and those above; `count` is of its first bucket.
    #[inline]
    fn span(&mut self, level: i32, key: K, start: i64, end: i64, mut count: i64) -> Result<(), Error> {
        let width = 1 << bits(level);
        let (first, last) = (start >> bits(level), end >> bits(level));
        if first == last {
            return self.part(level, first, key, end - start, count);
        }
        let mut at = first << bits(level);
        if at < start {
            at += width;
            self.part(level, first, key, at - start, count)?;
            count = 0;
        }
        let whole = last << bits(level);
        if at < whole {
            self.filled(level, key, at, whole, count)?;
            count = 0;
        }
        if whole < end { self.part(level, last, key, end - whole, count) } else { Ok(()) }
    }

    /// Part of a bucket.
    #[inline]
    fn part(&mut self, level: i32, bucket: i64, key: K, amount: i64, count: i64) -> Result<(), Error> {
        if self.open[place(level)].bucket != bucket {
            self.close(level)?;
            self.open[place(level)].bucket = bucket;
        }
        let sums = &mut self.open[place(level)].sums;
        match sums.iter_mut().find(|sum| sum.key == key) {
            Some(sum) => {
                sum.amount += amount;
                sum.count += count;
            }
            None => sums.push(Sum { key, amount, count }),
        }
        Ok(())
    }

    /// Buckets from `start` to `end` that one interval fills.
    #[cold]
    fn filled(&mut self, level: i32, key: K, start: i64, end: i64, count: i64) -> Result<(), Error> {
        self.close(level)?;
        let tile = bits(level + TILE_LEVELS);
        let (mut from, mut first) = (start, count);
        // A level that has too many rows is dropped in a moment. A gap in time may be any number of tiles long.
        while from < end && (level == COARSEST || self.rows[place(level)] <= self.limit) {
            let to = (((from >> tile) + 1) << tile).min(end);
            self.write(level, Cell { level, start: from, end: to }, key, to - from, first)?;
            first = 0;
            from = to;
        }
        if level < COARSEST { self.span(level + 1, key, start, end, count) } else { Ok(()) }
    }

    /// Makes rows of the open bucket of a level, and adds it to the one above.
    fn close(&mut self, level: i32) -> Result<(), Error> {
        let open = &mut self.open[place(level)];
        if open.sums.is_empty() {
            return Ok(());
        }
        let bucket = open.bucket;
        let mut sums = std::mem::take(&mut open.sums);
        let cell = Cell { level, start: bucket << bits(level), end: (bucket + 1) << bits(level) };
        for sum in sums.drain(..) {
            self.write(level, cell, sum.key, sum.amount, sum.count)?;
            if level < COARSEST {
                self.part(level + 1, bucket >> 4, sum.key, sum.amount, sum.count)?;
            }
        }
        self.open[place(level)].sums = sums;
        Ok(())
    }

    fn write(&mut self, level: i32, cell: Cell, key: K, amount: i64, count: i64) -> Result<(), Error> {
        self.rows[place(level)] += 1;
        self.out.push(level, key.row(self.track, cell, amount, count))
    }
}
