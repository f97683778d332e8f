//! Where between its bounds an event most likely lies.
//!
//! Bounds are hard; the estimate inside them is a guess, and this is the guess: stretches of one kind (in this guest
//! process, in the hypervisor after its exit, in that host process) last alike. Each kind's mean and variance are
//! learnt from the stretches themselves. A row of events is then a chain of durations, Gaussian, of which each event
//! is cut to its bounds: a Kalman filter forward, a Rauch–Tung–Striebel smoother back. A loop of exits shorter than an
//! MTC period is so placed by its phase, which drifts through the period, and not by spreading events evenly.
//!
//! How long a kind lasts cannot be learnt well from events so placed: they confirm the guess that placed them. With MTC
//! there is a better way. MTC edges are equally far apart and know nothing of what runs, so they sample it: the edges
//! that fall into stretches of a kind, times the period, over the number of those stretches, is their mean duration,
//! without bias. Without MTC each gap is shared out among its stretches by what their kinds last, and what they get is
//! learnt again, over and over (expectation maximisation; for a Poisson model this is Richardson's and Lucy's method).
//!
//! Where branches are traced the bytes tell more than the kind: a stretch's mean is then its bytes by the kind's
//! ticks a byte.

use crate::span::Span;

/// Kinds of stretches are hashed into so many slots. Two that share one share a mean, which costs precision only.
const SLOTS: usize = 4096;

/// A variance that says nothing.
const FREE: f64 = 1e24;

/// Events in a gap from which on its length, and not each event's bounds, tells where they lie.
const DENSE: usize = 4;

/// What is learnt forgets what is older than about this many stretches.
const MEMORY: f64 = 4096.0;

/// What edges tell is halved when so many stretches of a kind began.
const SAMPLES: f64 = 16384.0;

/// A kind of stretch: a slot of [`Kinds`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Kind(u16);

impl Kind {
    /// In root or not, in which address space (low bits and all), and whether right after an exit.
    pub(crate) fn new(nr: bool, cr3: u64, after_exit: bool) -> Kind {
        let x = (cr3 >> 11) << 2 | u64::from(nr) << 1 | u64::from(after_exit);
        Kind((x.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as u16)
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Learnt {
    count: f32,
    mean: f64,
    var: f64,
    // For ticks a byte: both decay alike.
    ticks: f64,
    bytes: f64,
    // Ticks by MTC edges that fell into stretches of this kind, and how many such stretches began.
    sampled: f64,
    begun: f64,
}

/// What has been learnt of each kind.
#[derive(Debug)]
pub(crate) struct Kinds {
    slots: Vec<Learnt>,
    /// The slots that learnt from placed events: few of all, and so quickly forgotten.
    taught: Vec<Kind>,
    all: Learnt,
    /// Bytes tell time.
    by_bytes: bool,
    /// MTC edges sample.
    sampled: bool,
}

/// An event's bounds, and the stretch that begins at it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    pub(crate) span: Span,
    pub(crate) kind: Kind,
    pub(crate) bytes: u32,
    /// Nothing is known of how long this stretch lasts (sleep, loss).
    pub(crate) free: bool,
    /// Such a stretch is in the event's gap: the others do not fill it.
    pub(crate) slack: bool,
}

impl Kinds {
    pub(crate) fn new() -> Self {
        let slots = vec![Learnt::default(); SLOTS];
        Kinds { slots, taught: Vec::new(), all: Learnt::default(), by_bytes: false, sampled: false }
    }

    /// Forgets what was learnt from placed events, to learn it again from better ones.
    pub(crate) fn forget(&mut self) {
        let forget = |slot: &mut Learnt| {
            slot.count = 0.0;
            slot.var = 0.0;
            slot.ticks = 0.0;
            slot.bytes = 0.0;
        };
        self.taught.drain(..).for_each(|kind| forget(&mut self.slots[usize::from(kind.0)]));
        forget(&mut self.all);
    }

    pub(crate) fn tell_by_bytes(&mut self) {
        self.by_bytes = true;
    }

    /// Mean and variance of a stretch; `other` where nothing was learnt yet.
    fn expect(&self, link: &Link, other: f64) -> (f64, f64) {
        if link.free {
            return (0.0, FREE);
        }
        let slot = &self.slots[usize::from(link.kind.0)];
        if self.by_bytes {
            let known = if slot.bytes > 64.0 { slot } else { &self.all };
            if known.bytes > 0.0 {
                let mean = f64::from(link.bytes) * known.ticks / known.bytes;
                return (mean, (0.5 * mean).powi(2) + 1.0);
            }
        }
        if self.sampled && slot.begun > 0.0 {
            // As if half an edge had fallen into one stretch more: few edges say little.
            let mean = (slot.sampled + 0.5 * other) / (slot.begun + 1.0);
            let var = if slot.count > 0.0 { slot.var } else { mean * mean };
            return (mean, var.max(mean * mean / (1.0 + slot.begun)) + 1.0);
        }
        let known = if slot.count > 0.0 { slot } else { &self.all };
        if known.count == 0.0 {
            return (other, other * other);
        }
        // Few samples say little of the variance.
        let floor = known.mean * known.mean / (1.0 + f64::from(slot.count));
        (known.mean, known.var.max(floor) + 1.0)
    }

    /// How long stretches would last in all, as far as is known.
    pub(crate) fn expected(&self, links: impl Iterator<Item = Link>) -> Option<f64> {
        if self.all.count == 0.0 {
            return None;
        }
        Some(links.map(|l| self.expect(&l, 0.0).0).sum())
    }

    /// A stretch of this kind begins.
    pub(crate) fn begin(&mut self, kind: Kind) {
        let slot = &mut self.slots[usize::from(kind.0)];
        if slot.begun >= SAMPLES {
            slot.begun *= 0.5;
            slot.sampled *= 0.5;
        }
        slot.begun += 1.0;
    }

    /// An MTC edge, `period` ticks after the one before, falls into a stretch of this kind.
    pub(crate) fn edge(&mut self, kind: Kind, period: f64) {
        self.slots[usize::from(kind.0)].sampled += period;
        self.sampled = true;
    }

    pub(crate) fn learn(&mut self, link: &Link, ticks: f64) {
        // What is beside a sleep was only guessed.
        if link.free || link.slack {
            return;
        }
        if self.slots[usize::from(link.kind.0)].count == 0.0 {
            self.taught.push(link.kind);
        }
        for slot in [&mut self.slots[usize::from(link.kind.0)], &mut self.all] {
            slot.count = (slot.count + 1.0).min(MEMORY as f32);
            let rate = 1.0 / f64::from(slot.count);
            let off = ticks - slot.mean;
            slot.mean += rate * off;
            slot.var += rate * (off * (ticks - slot.mean) - slot.var);
            let keep = 1.0 - 1.0 / MEMORY;
            slot.ticks = slot.ticks * keep + ticks;
            slot.bytes = slot.bytes * keep + f64::from(link.bytes);
        }
    }
}

/// Room for the passes, kept to not allocate it anew.
#[derive(Debug, Default)]
pub(crate) struct Smoother {
    // Filtered mean and variance at each event, then mean and variance of the stretch after it.
    chain: Vec<[f64; 4]>,
}

impl Smoother {
    /// Gives each event its estimate. `before` is the event before the first, already placed.
    pub(crate) fn place(&mut self, kinds: &Kinds, before: Option<(i64, Link)>, links: &[Link], out: &mut Vec<i64>) {
        out.clear();
        let Some(first) = links.first() else { return };
        let base = before.map_or(first.span.lo, |b| b.0);
        let rel = |t: i64| (t - base) as f64;
        let chain = &mut self.chain;
        chain.clear();

        // What each stretch should last. In a gap of many events those fill the gap together: without edges that sample
        // them, each gets its part of it. The stretches that reach over the gap's ends are in it by half.
        let mut from = 0;
        let mut entering = before.map(|b| b.1);
        while from < links.len() {
            let span = links[from].span;
            let to = from + links[from..].iter().take_while(|l| l.span == span).count();
            let length = span.width() as f64;
            let even = length / (to - from + 1) as f64;
            let start = chain.len();
            chain.extend(links[from..to].iter().map(|l| {
                let (mean, var) = kinds.expect(l, even);
                [f64::NAN, 0.0, mean, var]
            }));
            let dense = to - from >= DENSE && length > 0.0;
            let inside: f64 = chain[start..chain.len() - 1].iter().map(|g| g[2]).sum();
            if dense && !kinds.sampled && to < links.len() {
                let enter = entering.map_or(even, |l| kinds.expect(&l, even).0) / 2.0;
                let leave = chain[chain.len() - 1][2] / 2.0;
                let all = enter + inside + leave;
                let slack = links[from..to].iter().any(|l| l.slack);
                let fit = if slack { (length / all).min(1.0) } else { length / all };
                let mut at = rel(span.lo) + fit * enter;
                for g in &mut chain[start..] {
                    g[0] = at;
                    at += fit * g[2];
                }
            } else if dense && inside > length {
                // All were shorter than usual.
                let fit = length / (inside + even);
                let last = chain.len() - 1;
                for g in &mut chain[start..last] {
                    g[2] *= fit;
                    if g[3] < FREE {
                        g[3] *= fit * fit;
                    }
                }
            }
            entering = Some(links[to - 1]);
            from = to;
        }

        // Forward: each event after the one before it, cut to its bounds.
        let (mut mean, mut var) = match &before {
            Some((_, link)) => kinds.expect(link, first.span.width() as f64),
            None => (rel(first.span.mid()), FREE),
        };
        for (link, c) in links.iter().zip(chain.iter_mut()) {
            let (lo, hi) = (rel(link.span.lo), rel(link.span.hi));
            (c[0], c[1]) = if c[0].is_nan() { cut(mean, var, lo, hi) } else { (c[0].clamp(lo, hi), 0.0) };
            mean = c[0] + c[2];
            var = c[1] + c[3];
        }
        // Back: what comes later moves what was before.
        let mut next = chain[links.len() - 1][0];
        out.resize(links.len(), 0);
        for i in (0..links.len()).rev() {
            let [m, v, mean, var] = chain[i];
            let span = links[i].span;
            let mut at = m;
            if i + 1 < links.len() && v > 0.0 {
                at += v / (v + var) * (next - (m + mean));
            }
            at = at.clamp(rel(span.lo), rel(span.hi));
            next = at;
            out[i] = span.clamp(base + at.round() as i64);
        }
        // Durations are not negative, nor nothing where there is room.
        let mut floor = before.map_or(i64::MIN, |b| b.0);
        for (t, link) in out.iter_mut().zip(links) {
            *t = link.span.clamp((*t).max(floor.saturating_add(1))).max(floor);
            floor = *t;
        }
    }
}

/// Mean and variance of a Gaussian cut to `lo..=hi`.
fn cut(mean: f64, var: f64, lo: f64, hi: f64) -> (f64, f64) {
    let width = hi - lo;
    if width <= 0.0 {
        return (lo, 0.0);
    }
    let s = var.sqrt();
    let (a, b) = ((lo - mean) / s, (hi - mean) / s);
    if a < -4.0 && b > 4.0 {
        return (mean, var);
    }
    if b - a < 0.2 && a.abs().min(b.abs()) * (b - a) < 0.5 {
        // Nearly flat over the bounds: the middle, a little tilted.
        let mid = lo + width / 2.0;
        return (mid + (mean - mid) * (b - a) * (b - a) / 12.0, width * width / 12.0);
    }
    if a > 4.0 || b < -4.0 {
        // All but outside: the tail falls off from the near bound like an exponential.
        let off = if a > 0.0 { a } else { -b };
        let from = (s / off).min(width / 2.0);
        return (if a > 0.0 { lo + from } else { hi - from }, from * from);
    }
    let (pa, pb) = (density(a), density(b));
    let mass = (distribution(b) - distribution(a)).max(1e-9);
    let shift = (pa - pb) / mass;
    let (ta, tb) = (if a.is_finite() { a * pa } else { 0.0 }, if b.is_finite() { b * pb } else { 0.0 });
    let v = var * (1.0 + (ta - tb) / mass - shift * shift);
    ((mean + s * shift).clamp(lo, hi), v.clamp(0.0, width * width / 12.0 + 1.0))
}

fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() * 0.398_942_280_401_432_7
}

/// The normal distribution function; Abramowitz and Stegun 26.2.17, good to 7.5e-8.
fn distribution(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let poly =
        t * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let tail = density(x) * poly;
    if x > 0.0 { 1.0 - tail } else { tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(lo: i64, hi: i64, kind: u16) -> Link {
        Link { span: Span { lo, hi }, kind: Kind(kind), bytes: 8, free: false, slack: false }
    }

    /// Places `times` known only to a grid of `period`, learning as it goes; gives the sum of the even stretches.
    fn run(times: &[i64], period: i64) -> (f64, Vec<i64>) {
        let links: Vec<Link> = (0..times.len())
            .map(|i| {
                let lo = times[i].div_euclid(period) * period;
                link(lo, lo + period, (i % 2) as u16)
            })
            .collect();
        let mut kinds = Kinds::new();
        for (i, link) in links[..times.len() - 1].iter().enumerate() {
            kinds.begin(link.kind);
            for _ in 0..times[i + 1].div_euclid(period) - times[i].div_euclid(period) {
                kinds.edge(link.kind, period as f64);
            }
        }
        let (mut smoother, mut out) = (Smoother::default(), Vec::new());
        for _ in 0..20 {
            smoother.place(&kinds, None, &links, &mut out);
            for i in 0..times.len() - 1 {
                kinds.learn(&links[i], (out[i + 1] - out[i]) as f64);
            }
        }
        let even: i64 = (0..times.len() - 1).step_by(2).map(|i| out[i + 1] - out[i]).sum();
        (even as f64, out)
    }

    #[test]
    fn a_loop_shorter_than_the_period_is_placed_by_its_phase() {
        let (g, h) = (19_000, 25_000);
        let times: Vec<i64> = (0..2000).map(|i| 1_000_000 + (i + 1) / 2 * g + i / 2 * h).collect();
        let (even, out) = run(&times, 43_008);
        let truth = 1000.0 * g as f64;
        assert!((even - truth).abs() / truth < 0.02, "{even} for {truth}");
        let mut off: Vec<i64> = out.iter().zip(&times).map(|(a, b)| (a - b).abs()).collect();
        off.sort_unstable();
        assert!(off[1000] < 2000, "median error {}", off[1000]);
    }

    #[test]
    fn estimates_stay_in_bounds_and_in_order() {
        let mut x = 1u64;
        let mut next = move |n: u64| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x % n
        };
        for _ in 0..200 {
            let mut t = 0;
            let times: Vec<i64> = (0..100)
                .map(|_| {
                    t += if next(10) == 0 { next(1_000_000) } else { next(3000) } as i64;
                    t
                })
                .collect();
            let (_, out) = run(&times, 1 + next(50_000) as i64);
            assert!(out.windows(2).all(|w| w[0] <= w[1]));
        }
    }

    #[test]
    fn the_cut_gaussian_is_right() {
        // Against a sum over a fine grid.
        for (mean, sd, lo, hi) in
            [(0.0, 1.0, -1.0, 0.5), (3.0, 1.0, 0.0, 1.0), (0.0, 10.0, -1.0, 1.0), (-5.0, 2.0, 0.0, 9.0)]
        {
            let n = 20_000;
            let (mut mass, mut first, mut second) = (0.0, 0.0, 0.0);
            for i in 0..n {
                let x: f64 = lo + (hi - lo) * (f64::from(i) + 0.5) / f64::from(n);
                let w = density((x - mean) / sd);
                mass += w;
                first += w * x;
                second += w * x * x;
            }
            let m = first / mass;
            let v = second / mass - m * m;
            let (gm, gv) = cut(mean, sd * sd, lo, hi);
            assert!((gm - m).abs() < 0.01 * (hi - lo), "{mean} {sd}: {gm} for {m}");
            assert!((gv - v).abs() < 0.02 * (hi - lo) * (hi - lo), "{mean} {sd}: {gv} for {v}");
        }
    }
}
