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
//! handed on. Memory is bounded: a gap is at most [`LONGEST`] events long before it is closed by force (its events are
//! then bounded by the trace's end), and the queue holds a block and what is looked ahead.
//!
//! Sleep: no MTC edge passes an awake cpu without its MTC. So where edges are missing before a TSC, all events since
//! the last MTC lie within one period of it, and the rest of the gap is sleep. Without MTC there is no such bound; a
//! TSC outside PSB+ that comes much later than the gap's events would have taken ended a sleep.

use std::collections::VecDeque;

use havana_packet::{BadReason, Errata, Kind as PacketKind, Packet};
use havana_rows::{LossCause, Time};
use havana_trace::{Cause, Missing, Stream};
use rustc_hash::FxHashMap;

use crate::ctc::{Ctc, Edge};
use crate::cyc::{Cycle, Cycles};
use crate::event::{Loaded, Told, What};
use crate::feed::{Content, Feed};
use crate::offset::{Offsets, Seen};
use crate::span::{FAR, Known, Span};
use crate::spread::{Kind, Kinds, Link, Smoother};
use crate::sure::{Share, Sure};
use crate::survey::{Clocks, Start};
use crate::walk::{Exit, Lost, Step, Tsc, Walker, space_of};

/// Events placed and handed on together, and how many behind them are looked at to place them.
const BLOCK: usize = 768;
const AHEAD: usize = 256;
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
/// A TSC this far ahead of the last is taken only when the next one agrees (a damaged packet may look valid).
const LEAP: i64 = 1 << 44;

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
}

impl Node {
    /// It is not after `hi`.
    fn cap(&mut self, hi: i64) {
        self.span.hi = hi.max(self.span.lo);
        let likely = &mut self.link.span;
        *likely = Span { lo: self.span.clamp(likely.lo), hi: self.span.clamp(likely.hi) };
    }
}

/// Reads one cpu's stream.
pub(crate) struct Track<'a> {
    pub(crate) cpu: u32,
    pub(crate) source: &'a str,
    missing_at_end: Option<Missing>,
    feed: Feed<'a>,
    walker: Walker,
    pub(crate) counts: Counts,
    inner: Inner<'a>,
}

impl<'a> Track<'a> {
    pub(crate) fn new(stream: &'a Stream, errata: Errata, clocks: &'a Clocks, start: &Start, window: Span) -> Self {
        let feed = Feed::new(stream, errata);
        let unsynced = feed.unsynced;
        let first_offset = stream.segment(0).map_or(0, |s| s.offset);
        Track {
            cpu: stream.cpu,
            source: &stream.name,
            missing_at_end: stream.end,
            feed,
            walker: Walker::new(),
            counts: [0; PacketKind::ALL.len()],
            inner: Inner {
                sure: Sure::new(window),
                last_host: stream.began,
                first_offset,
                ..Inner::new(clocks, start, errata, unsynced, stream.len())
            },
        }
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
        let more = feed.pump(2048, &mut |fed| {
            (inner.offset, inner.at) = (fed.offset, fed.at);
            match &fed.what {
                Content::Packet(packet) => {
                    counts[packet.kind().index()] += 1;
                    // The bulk of a branch trace: neither time nor envelope.
                    if let Packet::Tnt8 { .. } | Packet::Pad = packet {
                        return;
                    }
                    walker.packet(packet, &mut |step| inner.step(step, offsets));
                }
                Content::Bad(reason) => {
                    inner.bad(*reason);
                    walker.bad(*reason, fed.len, &mut |step| inner.step(step, offsets));
                }
                Content::Paused => walker.paused(&mut |step| inner.step(step, offsets)),
                Content::Missing(missing) => walker.missing(*missing, &mut |step| inner.step(step, offsets)),
            }
        });
        if !more {
            self.walker.end(&mut |step| self.inner.step(step, offsets));
            self.inner.end(self.missing_at_end, offsets);
        }
        self.inner.release();
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
    gap: Vec<Node>,
    /// The stretch that is going on, where the gap has no event yet.
    stretch: (Kind, u64),
    longest_gap: i64,
    /// The last moment whose upper bound is hard.
    latest: i64,
    siblings: FxHashMap<u64, Vec<u64>>,
    lost: bool,
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
            unsynced,
            length,
            nr: None,
            ever_guest: false,
            host_cr3: None,
            loaded: Loaded::Unknown(0),
            epoch: 0,
            opened: None,
            opened_stands: false,
            gap: Vec::new(),
            stretch: (Kind::default(), 0),
            longest_gap: 0,
            latest: 0,
            siblings: FxHashMap::default(),
            lost: false,
            asleep: false,
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
            ended: false,
        }
    }

    fn bad(&mut self, reason: BadReason) {
        self.damaged += u64::from(reason != BadReason::Erratum);
    }

    #[inline]
    fn step(&mut self, step: Step, offsets: &mut Offsets) {
        match step {
            Step::Mtc(payload) => return self.mtc(payload),
            Step::Cyc(cycles) => {
                self.has_cycles = true;
                return self.cycles.cyc(cycles);
            }
            Step::Branch => {
                if !self.branches {
                    self.branches = true;
                    self.kinds.tell_by_bytes();
                }
            }
            Step::Cbr(ratio) => {
                self.ratio = ratio;
                return self.cycles.cbr(ratio);
            }
            Step::Paused => {
                if let Some(ctc) = &mut self.ctc {
                    ctc.veil();
                }
            }
            Step::Missing(missing) => self.missing(missing),
            Step::Sleep => self.sleep(),
            Step::Wake => self.wake(),
            Step::Tsc(tsc) => self.tsc(tsc, offsets),
            Step::Entry(cr3) => {
                self.acts();
                self.nr = Some(true);
                self.ever_guest = true;
                let what = What::Entry { cr3, host_cr3: self.host_cr3, loaded: self.loaded };
                self.learn_sibling();
                self.event(what, Kind::new(true, cr3, false));
            }
            Step::Exit(Exit { cr3, guest_ip, reason }) => {
                self.acts();
                self.nr = Some(false);
                if self.host_cr3.is_none() {
                    self.tell_host(cr3);
                }
                self.host_cr3 = Some(cr3);
                self.event(What::Exit { host_cr3: cr3, guest_ip, reason }, Kind::new(false, cr3, true));
            }
            Step::GuestCr3(cr3) => {
                self.acts();
                self.event(What::GuestCr3(cr3), Kind::new(true, cr3, false));
            }
            Step::HostCr3(cr3) => {
                self.acts();
                self.host_cr3 = Some(cr3);
                self.event(What::HostCr3(cr3), Kind::new(false, cr3, false));
            }
            Step::Vmcs(vmcs) => {
                self.loaded = vmcs.map_or(Loaded::Nothing, Loaded::Vmcs);
                let kind = self.stretch.0;
                self.event(What::Load(self.loaded), kind);
            }
            Step::VmcsState(vmcs) => self.vmcs_state(vmcs),
            Step::Found { nr, cr3, psb } => {
                self.acts();
                self.nr = Some(nr);
                self.ever_guest |= nr;
                if !nr {
                    self.host_cr3 = Some(cr3);
                }
                let what = What::Found { nr, cr3, host_cr3: self.host_cr3, loaded: self.loaded };
                self.event(what, Kind::new(nr, cr3, false));
                if let (true, Some(node)) = (psb, self.gap.last_mut()) {
                    node.pinned = true;
                }
            }
            Step::Lost(lost) => self.lose(lost),
        }
        self.cycles.direct = false;
    }

    /// An event of the gap.
    fn event(&mut self, what: What, kind: Kind) {
        self.close_stretch(self.at);
        self.stretch = (kind, self.at);
        self.kinds.begin(kind);
        self.gap.push(Node {
            what,
            span: Span::ANY,
            guest: None,
            link: Link { span: Span::ANY, kind, bytes: 0, free: false, slack: false },
            cycle: self.cycles.at(),
            pinned: false,
        });
        if self.gap.len() >= LONGEST {
            self.force();
        }
    }

    /// This VMCS belongs to the VM of this host CR3. Needed only where guests' TSCs tell time.
    fn learn_sibling(&mut self) {
        if let (None, Some(cr3), Some(vmcs)) = (&self.ctc, self.host_cr3, self.loaded.vmcs()) {
            let all = self.siblings.entry(space_of(cr3)).or_default();
            if all.last() != Some(&vmcs) && !all.contains(&vmcs) && all.len() < MOST_SIBLINGS {
                all.push(vmcs);
            }
        }
    }

    /// The stretch that is going on ends `at` so many bytes of the stream: its own are known.
    fn close_stretch(&mut self, at: u64) {
        let work = self.work(at);
        if let Some(node) = self.gap.last_mut().or_else(|| self.queue.iter_mut().rev().find(|n| n.what != What::Known))
        {
            node.link.bytes = work;
        }
    }

    /// Bytes since the stretch began. A core of half the frequency makes half the bytes.
    fn work(&self, at: u64) -> u32 {
        let bytes = at.saturating_sub(self.stretch.1).min(1 << 24);
        (bytes * 256 / u64::from(self.ratio.max(1))).min(u64::from(u32::MAX)) as u32
    }

    /// PSB+ names the loaded VMCS: what was not known since the last VMCS packet or loss is known now.
    fn vmcs_state(&mut self, vmcs: Option<u64>) {
        let now = vmcs.map_or(Loaded::Nothing, Loaded::Vmcs);
        if let Loaded::Unknown(epoch) = self.loaded {
            for node in self.gap.iter_mut().rev().chain(self.queue.iter_mut().rev()) {
                if let What::Lost { .. } = node.what {
                    // What was before the loss is of another epoch.
                    break;
                }
                let (What::Entry { loaded, .. } | What::Found { loaded, .. } | What::Load(loaded)) = &mut node.what
                else {
                    continue;
                };
                if *loaded == Loaded::Unknown(epoch) {
                    *loaded = now;
                }
            }
        } else if self.loaded != now {
            // Loaded while nothing was traced (ContextEn = 0).
            self.event(What::Load(now), self.stretch.0);
        }
        self.loaded = now;
    }

    /// The host CR3 that the guest was entered from, known by the exit.
    fn tell_host(&mut self, cr3: u64) {
        for node in self.gap.iter_mut().rev().chain(self.queue.iter_mut().rev()) {
            match &mut node.what {
                What::Found { nr: true, host_cr3, .. } | What::Entry { host_cr3, .. } => {
                    host_cr3.get_or_insert(cr3);
                    return;
                }
                What::Found { .. } | What::Lost { .. } | What::Exit { .. } | What::HostCr3(_) => return,
                _ => {}
            }
        }
    }

    fn lose(&mut self, lost: Lost) {
        let (cause, bytes) = match lost {
            Lost::Overflow => (LossCause::Overflow, 0),
            Lost::Damaged { bytes } => (LossCause::Damaged, bytes),
            Lost::Truncated { bytes } => (LossCause::Truncated, bytes),
            Lost::Contradiction => (LossCause::Inconsistent, 0),
        };
        self.lose_for(cause, self.offset, bytes);
    }

    /// Trace is missing, and where it is known when it stopped and went on, that is a known time.
    fn missing(&mut self, missing: Missing) {
        let Missing { cause, stopped, resumed, bytes, .. } = missing;
        let loss = match cause {
            Cause::Dropped => LossCause::Dropped,
            Cause::Off => LossCause::TraceOff,
            Cause::Truncated => LossCause::Truncated,
        };
        let loaded = self.loaded;
        // At the end of a stream: by the time until which it is known to be missing, at the latest.
        let stopped = stopped.or(resumed.filter(|_| self.ended));
        match (self.opened, stopped) {
            (Some(opened), Some(stopped)) => {
                self.close_stretch(self.at);
                // While it was on and the cpu awake, no MTC went by.
                let due = self.ctc.as_ref().and_then(Ctc::due).unwrap_or(stopped).min(stopped);
                let span = Span { lo: opened.span.lo, hi: due.max(opened.span.lo) };
                self.close(Known { span, best: span.hi, guest: None }, None);
                let lost = What::Lost { cause: loss, offset: self.offset, bytes };
                if !self.opened_stands {
                    self.queue.push_back(Node::known(self.opened.unwrap_or(opened)));
                }
                self.push_free(lost, self.opened.map_or(span, |o| o.span));
                self.forget();
                // The kernel says that it went on a moment after it did, so that is no bound; at the end it is.
                let on = resumed.filter(|_| self.ended).unwrap_or(stopped).max(stopped).max(span.hi);
                if let (Some(ctc), Some(resumed)) = (&mut self.ctc, resumed) {
                    ctc.resume(resumed);
                }
                self.opened = Some(Known::exact(on));
                self.opened_stands = false;
                self.latest = on;
            }
            _ => self.lose_for(loss, self.offset, bytes),
        }
        // KVM loads the VMCS of a thread that comes back, unless it still is loaded.
        if cause == Cause::Off && missing.at_packet {
            self.loaded = loaded;
        }
    }

    /// Something happens that a sleeping cpu does not do.
    fn acts(&mut self) {
        self.lost = false;
        self.wake();
    }

    /// The cpu begins to sleep. In a guest it stays the guest's.
    fn sleep(&mut self) {
        if self.nr == Some(true) || self.asleep || self.opened.is_none() {
            return;
        }
        self.event(What::Sleep { seen: true }, Kind::default());
        if let Some(node) = self.gap.last_mut() {
            node.link.free = true;
        }
        self.asleep = true;
    }

    fn wake(&mut self) {
        if std::mem::take(&mut self.asleep) {
            self.event(What::Wake, self.woken());
        }
    }

    /// The stretch after a sleep.
    fn woken(&self) -> Kind {
        Kind::new(false, self.host_cr3.unwrap_or(0) | 1 << 60, false)
    }

    fn lose_for(&mut self, cause: LossCause, offset: u64, bytes: u64) {
        self.event(What::Lost { cause, offset, bytes }, Kind::default());
        if let Some(node) = self.gap.last_mut() {
            node.link.free = true;
        }
        self.forget();
    }

    /// What was known of the cpu's state is not any more.
    fn forget(&mut self) {
        self.lost = true;
        self.asleep = false;
        self.nr = None;
        self.host_cr3 = None;
        self.epoch += 1;
        self.loaded = Loaded::Unknown(self.epoch);
        if let Some(ctc) = &mut self.ctc {
            ctc.lose();
        }
    }

    fn mtc(&mut self, payload: u8) {
        let Some(ctc) = &mut self.ctc else {
            self.cycles.direct = false;
            return;
        };
        let due = ctc.due();
        let period = ctc.period();
        match ctc.mtc(payload) {
            Edge::Next(at) => {
                let at = Known::at(at);
                self.kinds.edge(self.stretch.0, period as f64);
                self.close(at, None);
            }
            Edge::Skipped(at) => {
                let wake = Span { lo: at.lo - period, hi: at.hi };
                self.close(Known::at(at), due.map(|due| (due, wake)));
            }
            Edge::None => {}
        }
        self.cycles.direct = false;
    }

    fn tsc(&mut self, tsc: Tsc, offsets: &mut Offsets) {
        let value = tsc.tsc as i64;
        if let (Some(ctc), true) = (&mut self.ctc, tsc.psb && self.errata.skl168) {
            ctc.veil();
        }
        match tsc.nr {
            Some(true) => self.guest_tsc(value, tsc, offsets),
            // Where nothing is known of NR, only a trace without guests can be trusted.
            None if self.ever_guest => {}
            _ => self.host_tsc(value, tsc, offsets),
        }
    }

    fn host_tsc(&mut self, tsc: i64, packet: Tsc, offsets: &mut Offsets) {
        if let Some(opened) = self.opened {
            // A damaged packet that looks valid, or a clock that was written: believed when it is said twice.
            let astray = tsc < opened.span.lo || tsc - opened.span.hi > LEAP;
            let agrees = self.doubt.is_some_and(|d| (0..LEAP).contains(&(tsc - d)));
            if astray && !(agrees && tsc >= opened.span.lo) {
                self.doubt = Some(tsc);
                return;
            }
            self.doubt = None;
            if astray {
                self.lose_for(LossCause::Inconsistent, self.offset, 0);
            }
        }
        let mut slept = None;
        if let Some(ctc) = &mut self.ctc {
            let due = ctc.due();
            if ctc.host_tsc(tsc, packet.tma) {
                slept = due;
            }
        } else if !packet.psb && !self.asleep && self.took_too_long(tsc) {
            slept = Some(FAR);
        }
        if self.asleep && !packet.psb {
            // However short it was: this TSC is of the wake.
            slept = slept.or(Some(tsc));
        }
        self.host_samples(tsc, offsets);
        self.close(Known::exact(tsc), slept.map(|due| (due, Span::exact(tsc))));
    }

    /// A TSC packet made by a guest: a known time where its clock is known, and a sample of that clock.
    fn guest_tsc(&mut self, value: i64, packet: Tsc, offsets: &mut Offsets) {
        let vmcs = self.loaded.vmcs();
        let after = self.opened.map_or(-FAR, |o| o.span.lo);
        if let Some(ctc) = &mut self.ctc {
            let due = ctc.due();
            // Outside PSB+ the cpu may have slept: then only the guest's clock says for how long.
            let about = match vmcs {
                Some(vmcs) if !packet.psb => {
                    offsets.host_time(vmcs, value, after).and_then(|span| span.and(Span { lo: after, hi: FAR }))
                }
                _ => None,
            };
            let known = match packet.tma {
                Some(tma) if self.clocks.guest_tma && (packet.psb || about.is_some()) => ctc.guest_tma(tma, about),
                _ => None,
            };
            match known {
                Some((at, slept)) => {
                    if let Some(vmcs) = vmcs {
                        offsets.sample(vmcs, value, at, None);
                    }
                    let due = if slept { due } else { None };
                    return self.close(Known::at(at), due.map(|due| (due, at)));
                }
                None if packet.psb => {
                    ctc.veil();
                    // A cpu that makes a PSB is awake: it is before the next edge, or the one after, where the TSC stood
                    // for an MTC.
                    if let (Some(vmcs), Some(hi)) = (vmcs, ctc.due()) {
                        offsets.sample(vmcs, value, Span { lo: after, hi: hi.max(after) }, None);
                    }
                }
                None => ctc.lose(),
            }
        }
        let Some(vmcs) = vmcs else { return };
        if self.samples.len() < MOST_SAMPLES {
            self.samples.push((vmcs, value));
        }
        if self.ctc.is_none() {
            let span = self.clocks.offsets.host_time(vmcs, value, after);
            if span.is_none() {
                return self.sibling_time(vmcs, value, after);
            }
            if let Some((wide, span)) = span.and_then(|s| Some((s, s.and(Span { lo: after, hi: FAR })?))) {
                self.close(Known { span, best: span.clamp(wide.mid()), guest: Some((vmcs, value)) }, None);
            }
        }
    }

    /// Nothing says how this vCPU's clock stands. Those of a VM mostly stand alike: that bounds nothing, and is a good guess.
    fn sibling_time(&mut self, vmcs: u64, value: i64, after: i64) {
        let Some(from) = self.opened else { return };
        let Some(vmcss) = self.host_cr3.and_then(|cr3| self.siblings.get(&space_of(cr3))) else { return };
        let offsets = &self.clocks.offsets;
        let guess = vmcss.iter().find_map(|&sibling| offsets.host_time(sibling, value, after));
        if let Some(guess) = guess {
            let span = Span { lo: from.span.lo, hi: FAR };
            self.close(Known { span, best: guess.mid().max(from.best), guest: Some((vmcs, value)) }, None);
        }
    }

    /// The guest TSCs since the last host time lie between it and this one.
    fn host_samples(&mut self, tsc: i64, offsets: &mut Offsets) {
        if !self.samples.is_empty() {
            let last = self.last_host.filter(|last| *last <= tsc);
            let host = Span { lo: last.unwrap_or(-FAR), hi: tsc };
            let mut before = last.map(Seen::host);
            for (vmcs, guest) in self.samples.drain(..) {
                before = Some(offsets.sample(vmcs, guest, host, before));
            }
            if let Some(before) = before {
                offsets.follow(before, Seen::host(tsc));
            }
        }
        self.last_host = Some(tsc);
    }

    /// Without MTC: whether so long a gap can only be explained by sleep.
    fn took_too_long(&self, tsc: i64) -> bool {
        let Some(opened) = self.opened else { return false };
        let length = (tsc - opened.best) as f64;
        let here = Link { span: Span::ANY, kind: self.stretch.0, bytes: self.work(self.at), free: false, slack: false };
        let before = self.gap[..self.gap.len().saturating_sub(1)].iter().map(|n| n.link);
        match self.kinds.expected(before.chain([here])) {
            Some(expected) => length > SLEPT_TIMES * expected + SLEPT_TICKS,
            None => length > 10.0 * SLEPT_TICKS,
        }
    }

    /// A known time: the events of the gap lie before it. `slept`: when sleep began at the latest, and when it ended.
    fn close(&mut self, at: Known, slept: Option<(i64, Span)>) {
        let Some(from) = self.opened else { return self.first(at) };
        let span = Span { lo: at.span.lo.max(from.span.lo), hi: at.span.hi.max(from.span.lo) };
        let cycles = self.has_cycles.then(|| self.cycles.close(Some(from.span), span));
        if span.hi < FAR {
            self.longest_gap = self.longest_gap.max(span.hi - self.latest);
            self.latest = span.hi;
            self.tighten(span.hi);
        }
        let from = self.opened.unwrap_or(from);
        let at = Known { span, best: span.clamp(at.best.max(from.best)), guest: at.guest };
        let asleep = slept.filter(|_| self.nr != Some(true));
        if self.gap.is_empty() && asleep.is_none() && !self.lost {
            self.opened = Some(at);
            self.opened_stands = false;
            return;
        }
        if !self.opened_stands {
            self.queue.push_back(Node::known(from));
        }
        let end = slept.map_or(span.hi, |(due, _)| due.min(span.hi)).max(from.span.lo);
        let within = Span { lo: from.span.lo, hi: end };
        let likely = Span { lo: from.best, hi: end.min(at.best).max(from.best) };
        let mut lo = from.span.lo;
        // The first event behind that has a later CYC.
        let mut next = 0;
        let slack = slept.is_some() || self.gap.iter().any(|n| n.link.free);
        for i in 0..self.gap.len() {
            let mut node = self.gap[i];
            node.link.slack = slack;
            (node.span, node.link.span) =
                if node.pinned { (from.span, Span::exact(from.best)) } else { (within, likely) };
            if let (Some(cycles), false) = (&cycles, node.pinned)
                && cycles.tells()
            {
                while self.gap.get(next).is_some_and(|n| n.cycle.count <= node.cycle.count) {
                    next += 1;
                }
                node.span = cycles.narrow(within, node.cycle, self.gap.get(next).map(|n| n.cycle.count));
                node.link.span = node.span;
            }
            lo = lo.max(node.span.lo);
            node.span.lo = lo;
            node.span.hi = node.span.hi.max(lo);
            self.queue.push_back(node);
        }
        self.events += self.gap.len();
        self.order(self.gap.len());
        self.gap.clear();
        if let Some((_, wake)) = asleep {
            if !std::mem::take(&mut self.asleep) {
                self.push_free(What::Sleep { seen: false }, Span { lo, hi: end.max(lo) });
            }
            lo = wake.lo.max(lo);
            self.push_free(What::Wake, Span { lo, hi: wake.hi.max(lo) });
            let kind = self.woken();
            if let Some(node) = self.queue.back_mut() {
                node.link.free = false;
                node.link.kind = kind;
                self.stretch = (node.link.kind, self.at);
            }
        }
        // It is not before the events before it, which cycles may have narrowed.
        let span = Span { lo: lo.clamp(span.lo, span.hi), ..span };
        let at = Known { span, best: span.clamp(at.best), ..at };
        if self.lost {
            self.lost = false;
            self.push_free(What::Resume, span);
        }
        self.queue.push_back(Node::known(at));
        self.opened = Some(at);
        self.opened_stands = true;
    }

    fn push_free(&mut self, what: What, span: Span) {
        let node = Node { what, pinned: false, ..Node::known(Known::at(span)) };
        self.queue.push_back(Node { link: Link { span, ..node.link }, ..node });
        self.events += 1;
    }

    /// The `count` events at the end of the queue are in order, among them and after those before: none can be after
    /// what a later one cannot be after, nor its guess outside its bounds.
    fn order(&mut self, count: usize) {
        let mut hi = FAR;
        for (i, node) in self.queue.iter_mut().rev().enumerate() {
            if i >= count && node.span.hi <= hi {
                break;
            }
            hi = hi.min(node.span.hi);
            node.cap(hi);
        }
    }

    /// Nothing before a known time is after it.
    fn tighten(&mut self, hi: i64) {
        for node in self.queue.iter_mut().rev() {
            if node.span.hi <= hi {
                break;
            }
            node.cap(hi);
        }
        if let Some(opened) = &mut self.opened {
            opened.span.hi = opened.span.hi.min(hi).max(opened.span.lo);
            opened.best = opened.span.clamp(opened.best);
        }
    }

    /// The first known time. What was before it has no time, and is lost.
    fn first(&mut self, at: Known) {
        self.latest = at.span.hi;
        self.opened = Some(at);
        self.opened_stands = true;
        self.cycles.close(None, at.span);
        self.queue.push_back(Node::known(at));
        if self.unsynced > 0 {
            self.push_free(
                What::Lost { cause: LossCause::BeforeSync, offset: self.first_offset, bytes: self.unsynced },
                at.span,
            );
        }
        // A loss has no time either, but it was one.
        for i in 0..self.gap.len() {
            if let lost @ What::Lost { .. } = self.gap[i].what {
                self.push_free(lost, at.span);
            }
        }
        let state = self.gap.iter().rev().find_map(|node| match node.what {
            What::Found { nr, cr3, .. } => Some((nr, cr3)),
            What::Entry { cr3, .. } | What::GuestCr3(cr3) => Some((true, cr3)),
            What::Exit { host_cr3: cr3, .. } | What::HostCr3(cr3) => Some((false, cr3)),
            _ => None,
        });
        self.gap.clear();
        self.lost = false;
        match state {
            Some((nr, cr3)) => {
                let what = What::Found { nr, cr3, host_cr3: self.host_cr3, loaded: self.loaded };
                self.event(what, Kind::new(nr, cr3, false));
                if let Some(node) = self.gap.last_mut() {
                    node.pinned = true;
                }
            }
            None => self.push_free(What::Resume, at.span),
        }
    }

    /// More events than may wait: their end is not known.
    fn force(&mut self) {
        if let Some(opened) = self.opened {
            let hi = self.end_of_trace(opened);
            let span = Span { lo: opened.span.lo, hi };
            // This gap's length is a guess, and guesses made from it would grow without end.
            let longest = self.longest_gap;
            self.close(Known { span, ..opened }, None);
            self.longest_gap = longest;
        } else {
            // What is before this event will never have a time: it is lost as what is before the first PSB.
            self.gap.drain(..self.gap.len() - 1);
            self.unsynced = self.at;
        }
    }

    /// When the trace ends at the latest: the next MTC is missing; without MTC, no gap was twice as long as the longest.
    fn end_of_trace(&self, opened: Known) -> i64 {
        match self.ctc.as_ref().and_then(Ctc::due) {
            Some(due) => due.max(opened.span.lo),
            // Before two times are known nothing is: then a time that no recording lasts.
            None if self.longest_gap == 0 => self.latest + LEAP,
            None => self.latest.saturating_add(self.longest_gap.saturating_mul(2)).min(FAR),
        }
    }

    /// The end of the stream; what is missing there.
    fn end(&mut self, missing: Option<Missing>, offsets: &mut Offsets) {
        self.ended = true;
        self.close_stretch(self.length);
        if let Some(missing) = missing {
            self.missing(missing);
        }
        let Some(opened) = self.opened else { return };
        if let Some(last) = self.last_host {
            // What the guests said last has only a lower bound.
            let host = Span { lo: last, hi: FAR };
            let mut before = Some(Seen::host(last));
            for (vmcs, guest) in self.samples.drain(..) {
                before = Some(offsets.sample(vmcs, guest, host, before));
            }
        }
        let any = !self.gap.is_empty();
        if let Some(node) = self.gap.last_mut() {
            // How long the last stretch went on nothing says.
            node.link.free = true;

            let span = Span { lo: opened.span.lo, hi: self.end_of_trace(opened).max(opened.span.lo) };
            self.close(Known { span, best: span.hi, guest: None }, None);
        }
        let last = self.queue.iter().rev().find(|n| n.what != What::Known).map(|n| n.span);
        self.push_free(What::End, last.filter(|_| any).unwrap_or(opened.span));
    }

    /// Places a block of events and hands it on.
    fn release(&mut self) {
        loop {
            if self.events == 0 || (!self.ended && self.events < self.block() + AHEAD) {
                return;
            }
            // What is not known yet of an event may still be learnt, unless too much waits.
            if !self.ended && self.events < LONGEST && self.waits() {
                return;
            }
            self.place();
        }
    }

    fn block(&self) -> usize {
        if self.placed.is_none() && self.ctc.is_none() { FIRST_BLOCK } else { BLOCK }
    }

    /// Whether the block at the head holds an event whose VMCS or VM is still to be told.
    fn waits(&self) -> bool {
        let open = match self.loaded {
            Loaded::Unknown(epoch) => Some(epoch),
            _ => None,
        };
        let host_open = self.nr == Some(true) && self.host_cr3.is_none();
        if open.is_none() && !host_open {
            return false;
        }
        let last_found =
            self.queue.iter().rposition(|n| matches!(n.what, What::Found { nr: true, host_cr3: None, .. }));
        let limit = self.queue.len().min(2 * BLOCK);
        (host_open && last_found.is_some_and(|i| i < limit))
            || self.queue.iter().take(limit).any(|n| match n.what {
                What::Entry { loaded: Loaded::Unknown(e), .. }
                | What::Found { nr: true, loaded: Loaded::Unknown(e), .. } => Some(e) == open,
                _ => false,
            })
    }

    fn place(&mut self) {
        let block = self.block();
        let looked = self.events.min(block + AHEAD);
        let handed = if looked == self.events && self.ended { looked } else { block.min(looked) };
        self.links.clear();
        self.links.extend(self.queue.iter().filter(|n| n.what != What::Known).take(looked).map(|n| n.link));
        // At the start nothing is known of how long stretches last: what the first block says is read a few times over.
        let rounds = match (&self.placed, &self.ctc) {
            (Some(_), _) => 1,
            (None, Some(_)) => FIRST_ROUNDS_SAMPLED,
            (None, None) => FIRST_ROUNDS,
        };
        for round in 0..rounds {
            self.smoother.place(&self.kinds, self.placed, &self.links, &mut self.times);
            let learn = if round + 1 == rounds { handed } else { looked };
            if rounds > 1 {
                self.kinds.forget();
            }
            if let (Some((before, link)), Some(&first)) = (self.placed, self.times.first()) {
                self.kinds.learn(&link, (first - before) as f64);
            }
            for i in 1..learn {
                self.kinds.learn(&self.links[i - 1], (self.times[i] - self.times[i - 1]) as f64);
            }
        }
        self.placed = self.times.get(handed - 1).map(|&t| (t, self.links[handed - 1]));
        let times = std::mem::take(&mut self.times);
        let mut times_left = times[..handed].iter();
        let mut left = handed;
        while let Some(node) = self.queue.front() {
            let known = node.what == What::Known;
            if !known && left == 0 {
                break;
            }
            let Some(node) = self.queue.pop_front() else { break };
            let span = node.span;
            if known {
                let known = Known { span, best: span.lo, guest: node.guest };
                self.sure.boundary(known, &mut self.shares);
            } else if let Some(&tsc) = times_left.next() {
                left -= 1;
                self.tell(node, Time { tsc, lo: span.lo, hi: span.hi });
            }
            self.told.extend(self.shares.drain(..).map(Told::Share));
        }
        self.events -= handed;
        self.times = times;
    }

    /// Hands on one event, and keeps the sure bounds.
    fn tell(&mut self, node: Node, at: Time) {
        let known = Known::at(node.span);
        let shares = &mut self.shares;
        let key = |host_cr3: Option<u64>, loaded: Loaded| match (host_cr3, loaded.vmcs()) {
            (Some(cr3), Some(vmcs)) => (vmcs, space_of(cr3)),
            (None, Some(vmcs)) => (vmcs, 0),
            _ => (0, 0),
        };
        let dated = self.has_cycles || matches!(node.what, What::Sleep { .. } | What::Wake);
        match node.what {
            What::Entry { host_cr3, loaded, .. } => {
                if dated {
                    self.sure.boundary(known, shares);
                }
                self.sure.enter(key(host_cr3, loaded));
            }
            What::Exit { .. } => {
                if dated {
                    self.sure.boundary(known, shares);
                }
                self.sure.leave();
            }
            What::Sleep { .. } | What::Wake => self.sure.boundary(known, shares),
            What::Lost { .. } => self.sure.lose(known, shares),
            What::Resume => self.sure.find(known, shares),
            What::Found { nr, host_cr3, loaded, .. } => {
                self.sure.find(known, shares);
                if nr {
                    self.sure.enter(key(host_cr3, loaded));
                }
            }
            What::End => self.sure.end(known, shares),
            _ => {}
        }
        self.told.push_back(Told::Event { at, what: node.what });
    }
}
