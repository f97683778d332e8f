//! One cpu: from its packets to events with their times.
//!
//! ```text
//! packets ─► walk ─► gap ──known time──► queue ──block──► told
//!                    (events since       (events with     (estimates fixed,
//!                     the last known      bounds)          sure bounds summed)
//!                     time)
//! ```
//!
//! A *known time* closes the gap: a host TSC, an MTC, or a guest TSC whose clock is known. The events of the gap lie
//! between the two known times, in their order; cycles narrow that. Then a block of events is placed together, and
//! handed on. Each of these steps is a file of this folder.
//!
//! Memory is bounded: a gap is at most [`LONGEST`] events long before it is closed by force (its events are then bounded
//! by the trace's end), and the queue holds a block and what is looked ahead.
//!
//! Sleep: no MTC edge passes an awake cpu without its MTC. So where edges are missing before a TSC, all events since
//! the last MTC lie within one period of it, and the rest of the gap is sleep. Without MTC there is no such bound; a
//! TSC outside PSB+ that comes much later than the gap's events would have taken ended a sleep.

mod anchor;
mod close;
mod place;
mod steps;
mod time;

use std::collections::VecDeque;
use std::sync::Arc;

use havana_packet::{Errata, Kind as PacketKind};
use havana_trace::Missing;
use rustc_hash::FxHashMap;

use crate::ahead::Ahead;
use crate::ctc::Ctc;
use crate::cyc::{Cycle, Cycles};
use crate::event::{Loaded, Told, What};
use crate::feed::{Content, Feed};
use crate::handlers::Handlers;
use crate::offset::Offsets;
use crate::span::{FAR, Known, Span};
use crate::spread::{Kind, Kinds, Link, Smoother};
use crate::sure::{Share, Sure};
use crate::survey::{Clocks, Start};
use crate::walk::Walker;

/// Events placed and handed on together, and how many behind them are looked at to place them.
const BLOCK: usize = 768;
const AHEAD: usize = 256;
/// What is decided is handed on each time so many bytes were read.
const STEP: u64 = 4096;
/// Without MTC the first block is longer: only many gaps together tell how long stretches last.
const FIRST_BLOCK: usize = 1 << 15;
/// How often the first block is placed and learnt from; with MTC only variances are learnt so.
const FIRST_ROUNDS: usize = 12;
const FIRST_ROUNDS_SAMPLED: usize = 3;
/// No more events wait for a known time, or to learn which VM they are of.
const LONGEST: usize = 1 << 16;
/// vCPUs of one VM whose clocks are asked when one's own is not known.
const MOST_SIBLINGS: usize = 64;
/// Guest TSCs that wait for the next host time.
const MOST_SAMPLES: usize = 1 << 12;
/// Without MTC: a TSC outside PSB+ ended a sleep where it came this many times later than expected, and so many ticks.
const SLEPT_TIMES: f64 = 3.0;
const SLEPT_TICKS: f64 = 100_000.0;
/// A pause in which the recorder's interrupt handler ran and nothing else is shorter than this, ticks.
const MOMENT: i64 = 300_000;
/// A TSC this far ahead of the last is taken only when the next one agrees (a damaged packet may look valid).
const LEAP: i64 = 1 << 44;
/// The same where no crystal confirms it.
const UNSEEN: i64 = 1 << 39;
/// So many times between known times, and the longest tells how long they are.
const MANY_GAPS: u32 = 32;

/// Packets of a stream by kind.
pub(crate) type Counts = [u64; PacketKind::ALL.len()];

#[derive(Debug, Clone, Copy)]
struct Node {
    what: What,
    /// Its bounds, and the narrower ones in which its guess lies.
    span: Span,
    link: Link,
    guest: Option<(u64, i64)>,
    cycle: Cycle,
    /// The time of PSB+'s TSC is this event's own.
    pinned: bool,
}

impl Node {
    fn known(known: Known) -> Node {
        Node {
            what: What::Known,
            span: known.span,
            guest: known.guest,
            link: Link { span: Span::exact(known.best), kind: Kind::default(), bytes: 0, free: true, slack: true },
            cycle: Cycle { count: 0, direct: false },
            pinned: true,
        }
    }

    /// It is not after `hi`.
    fn cap(&mut self, hi: i64) {
        self.span.hi = hi.max(self.span.lo);
        let likely = &mut self.link.span;
        *likely = Span { lo: self.span.clamp(likely.lo), hi: self.span.clamp(likely.hi) };
    }
}

/// Where tracing was off.
#[derive(Debug, Clone, Copy)]
struct Off {
    /// It had stopped by then.
    stopped: i64,
    /// Events of the gap that are before it.
    before: usize,
    /// Edges that wait and are before it.
    edges: usize,
    /// For a moment only.
    moment: bool,
}

/// Reads one cpu's stream.
pub(crate) struct Track<'a> {
    pub(crate) cpu: u32,
    pub(crate) source: &'a str,
    missing_at_end: Option<Missing>,
    stopped: Option<i64>,
    feed: Ahead<'a>,
    walker: Walker,
    pub(crate) counts: Counts,
    inner: Inner<'a>,
}

impl<'a> Track<'a> {
    pub(crate) fn new(feed: Feed<'a>, errata: Errata, clocks: &'a Clocks, start: &Start, window: Span) -> Self {
        let stream = feed.stream();
        let unsynced = feed.unsynced;
        let first_offset = stream.segment(0).map_or(0, |s| s.offset);
        Track {
            cpu: stream.cpu,
            source: &stream.name,
            missing_at_end: stream.end,
            stopped: steps::possible(stream.stopped),
            feed: Ahead::Here(Box::new(feed)),
            walker: Walker::new(),
            counts: [0; PacketKind::ALL.len()],
            inner: Inner {
                sure: Sure::new(window),
                last_host: steps::possible(stream.began),
                first_offset,
                ..Inner::new(clocks, start, errata, unsynced, stream.len())
            },
        }
    }

    /// Tells handlers of exits by the branches, all of which must be given.
    pub(crate) fn with_handlers(self, handlers: Option<Arc<Handlers>>) -> Self {
        Track { walker: self.walker.with_handlers(handlers), ..self }
    }

    /// A thread reads the stream ahead from now on.
    pub(crate) fn read_ahead<'scope>(&mut self, scope: &'scope std::thread::Scope<'scope, '_>)
    where
        'a: 'scope,
    {
        self.feed.start(scope);
    }

    /// The next event or share; `None` at the end of the stream.
    pub(crate) fn next(&mut self, offsets: &mut Offsets) -> Option<Told> {
        loop {
            if let Some(told) = self.inner.told.pop_front() {
                return Some(told);
            }
            if self.inner.ended {
                return None;
            }
            self.pump(offsets);
        }
    }

    fn pump(&mut self, offsets: &mut Offsets) {
        let Track { feed, walker, inner, counts, .. } = self;
        let more = feed.pump(&mut |fed| {
            if fed.at >= inner.release_at {
                inner.release();
                inner.release_at = fed.at / STEP * STEP + STEP;
            }
            // Nothing happens at those, and not all of them are given: they are no place to be.
            if !matches!(fed.what, Content::Packet(packet) if packet.kind().is_passed_over()) {
                (inner.offset, inner.at) = (fed.offset, fed.at);
            }
            match &fed.what {
                Content::Packet(packet) => {
                    counts[packet.kind().index()] += 1;
                    walker.packet(packet, &mut |step| inner.step(step, offsets));
                }
                Content::Bad(reason) => {
                    inner.bad(*reason);
                    walker.bad(*reason, fed.len, &mut |step| inner.step(step, offsets));
                }
                Content::Paused(pause) => walker.paused(*pause, &mut |step| inner.step(step, offsets)),
                Content::Missing(missing) => walker.missing(*missing, &mut |step| inner.step(step, offsets)),
            }
        });
        if !more {
            // As if something stood there.
            if self.inner.length >= self.inner.release_at {
                self.inner.release();
            }
            self.walker.end(&mut |step| self.inner.step(step, offsets));
            self.inner.end(self.missing_at_end, self.stopped, offsets);
            self.inner.release();
        }
    }

    /// Bytes of the stream.
    pub(crate) fn len(&self) -> u64 {
        self.inner.length
    }

    /// Bytes of the stream read so far.
    pub(crate) fn position(&self) -> u64 {
        self.inner.at
    }

    /// MTC tells time here.
    pub(crate) fn has_crystal(&self) -> bool {
        self.inner.ctc.is_some()
    }

    /// There was a known time.
    pub(crate) fn told_anything(&self) -> bool {
        self.inner.opened.is_some()
    }

    pub(crate) fn ever_guest(&self) -> bool {
        self.inner.ever_guest
    }

    pub(crate) fn branches(&self) -> bool {
        self.inner.branches
    }

    pub(crate) fn damaged(&self) -> u64 {
        self.inner.damaged
    }
}

struct Inner<'a> {
    clocks: &'a Clocks,
    ctc: Option<Ctc>,
    /// SKL168: an MTC right before a PSB may be missing.
    errata: Errata,
    cycles: Cycles,
    has_cycles: bool,
    ratio: u8,
    branches: bool,
    damaged: u64,

    /// File offset of the packet at hand, and of the stream.
    offset: u64,
    first_offset: u64,
    /// Bytes of the stream before it; how many it has.
    at: u64,
    /// What is decided is handed on when so many were read: where the bytes say so, and not where a batch ends, so that
    /// rows do not depend on who reads them.
    release_at: u64,
    unsynced: u64,
    length: u64,

    nr: Option<bool>,
    ever_guest: bool,
    host_cr3: Option<u64>,
    loaded: Loaded,
    epoch: u32,

    /// The last known time, and whether it stands in the queue.
    opened: Option<Known>,
    opened_stands: bool,
    /// Bytes of the stream before the packet that told it.
    known_at: u64,
    gap: Vec<Node>,
    /// The stretch that is going on, where the gap has no event yet.
    stretch: (Kind, u64),
    longest_gap: i64,
    /// Gaps that a PSB+ ended.
    gaps: u32,
    /// The last moment whose upper bound is hard.
    latest: i64,
    siblings: FxHashMap<u64, Vec<u64>>,
    lost: bool,
    /// Tracing was off, for a moment or for long, and no time is known since.
    off: Option<Off>,
    /// MTCs since a loss, that are not known yet.
    edges: Vec<anchor::Edge>,
    /// A packet said that the cpu sleeps, and nothing since that it woke.
    asleep: bool,
    doubt: Option<i64>,

    samples: Vec<(u64, i64)>,
    last_host: Option<i64>,

    queue: VecDeque<Node>,
    events: usize,
    kinds: Kinds,
    smoother: Smoother,
    placed: Option<(i64, Link)>,
    links: Vec<Link>,
    times: Vec<i64>,

    sure: Sure,
    shares: Vec<Share>,
    told: VecDeque<Told>,
    /// The latest moment at which an event that was told may lie.
    told_hi: i64,
    ended: bool,
}

impl<'a> Inner<'a> {
    fn new(clocks: &'a Clocks, start: &Start, errata: Errata, unsynced: u64, length: u64) -> Self {
        Inner {
            clocks,
            ctc: clocks.crystal(start),
            errata,
            cycles: Cycles::new(),
            has_cycles: false,
            ratio: 0,
            branches: false,
            damaged: 0,
            offset: 0,
            first_offset: 0,
            at: 0,
            release_at: 0,
            unsynced,
            length,
            nr: None,
            ever_guest: false,
            host_cr3: None,
            loaded: Loaded::Unknown(0),
            epoch: 0,
            opened: None,
            opened_stands: false,
            known_at: 0,
            gap: Vec::new(),
            stretch: (Kind::default(), 0),
            longest_gap: 0,
            gaps: 0,
            latest: 0,
            siblings: FxHashMap::default(),
            lost: false,
            asleep: false,
            off: None,
            edges: Vec::new(),
            doubt: None,
            samples: Vec::new(),
            last_host: None,
            queue: VecDeque::new(),
            events: 0,
            kinds: Kinds::new(),
            smoother: Smoother::default(),
            placed: None,
            links: Vec::new(),
            times: Vec::new(),
            sure: Sure::new(Span::ANY),
            shares: Vec::new(),
            told: VecDeque::new(),
            told_hi: -FAR,
            ended: false,
        }
    }
}
