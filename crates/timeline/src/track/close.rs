//! A known time closes the gap: its events get their bounds, and go to the queue.

use havana_rows::LossCause;
use havana_trace::Missing;

use super::{Inner, LEAP, MANY_GAPS, MOMENT, Node, Off};
use crate::ctc::Ctc;
use crate::event::What;
use crate::offset::{Offsets, Seen};
use crate::rule::{Rule, holds};
use crate::span::{FAR, Known, Span};
use crate::spread::{Kind, Link};

impl Inner<'_> {
    /// A known time: the events of the gap lie before it. `slept`: when sleep began at the latest, and when it ended.
    pub(super) fn close(&mut self, at: Known, mut slept: Option<(i64, Span)>) {
        if let Some(off) = self.off.take_if(|off| !off.moment && at.span.hi < FAR) {
            slept = None;
            self.was_off(off, at.span);
        }
        self.known_at = self.at;
        self.forget_edges();
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
        let slept = slept.filter(|_| holds(Rule::SleepGaps));
        // Where nothing was seen since a loss, it may have gone on.
        let asleep = slept.filter(|_| self.nr != Some(true) && !self.lost);
        if self.gap.is_empty() && asleep.is_none() && !self.lost {
            self.off = self.off.filter(|_| span.hi >= FAR);
            self.opened = Some(at);
            self.opened_stands = false;
            return;
        }
        if !self.opened_stands {
            self.queue.push_back(Node::known(from));
        }
        let end = slept.map_or(span.hi, |(due, _)| due.min(span.hi)).max(from.span.lo);
        let within = Span { lo: from.span.lo, hi: end };
        // Edges went by unseen while the driver's handler ran.
        let period = self.ctc.as_ref().map_or(0, Ctc::period);
        let off = self.off.filter(|_| slept.is_some()).map(|off| (off.before, off.stopped + MOMENT + period));
        let late = off.map_or(end, |(_, hi)| hi.min(span.hi).max(end));
        let likely = Span { lo: from.best, hi: end.min(at.best).max(from.best) };
        let mut lo = from.span.lo;
        // The first event behind that has a later CYC.
        let mut next = 0;
        let slack = slept.is_some() || self.gap.iter().any(|n| n.link.free);
        for i in 0..self.gap.len() {
            let mut node = self.gap[i];
            node.link.slack = slack;
            let behind = off.is_some_and(|(before, _)| i >= before);
            let within = if behind { Span { hi: late, ..within } } else { within };
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
        self.off = self.off.filter(|_| span.hi >= FAR).map(|off| Off { before: 0, edges: 0, ..off });
        if let Some((_, wake)) = asleep {
            if !std::mem::take(&mut self.asleep) {
                self.push_free(What::Sleep { seen: false }, Span { lo, hi: late.max(lo) });
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
            self.push_likely(What::Resume, span, Span { lo: span.lo, hi: at.best });
        }
        self.queue.push_back(Node::known(at));
        self.opened = Some(at);
        self.opened_stands = true;
    }

    pub(super) fn push_free(&mut self, what: What, span: Span) {
        self.push_likely(what, span, span);
    }

    /// An event that surely lies in `span`, and likely in the other.
    fn push_likely(&mut self, what: What, span: Span, likely: Span) {
        let node = Node { what, pinned: false, ..Node::known(Known::at(span)) };
        self.queue.push_back(Node { link: Link { span: likely, ..node.link }, ..node });
        self.events += 1;
    }

    /// The `count` events at the end of the queue are in order, among them and after those before: none can be after
    /// what a later one cannot be after, nor its guess outside its bounds.
    pub(super) fn order(&mut self, count: usize) {
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
    pub(super) fn tighten(&mut self, hi: i64) {
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
    pub(super) fn first(&mut self, mut at: Known) {
        if self.unsynced > 0 {
            // What made the processor write a PSB stands before it, and was on the same tick: that is not known.
            (at.best, at.span.hi) = (at.best.saturating_add(1), at.span.hi.saturating_add(1));
        }
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
    pub(super) fn force(&mut self) {
        if let Some(opened) = self.opened {
            let (hi, likely) = self.end_of_trace(opened);
            // It goes on, and what is told now must not lie behind what comes: the bound is as good as the guess.
            let hi = if self.longest_gap == 0 { hi } else { hi.min(likely + (likely - self.latest).max(0)) };
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

    /// When the trace ends: at the latest, and likely. The next MTC is missing. Without MTC nothing bounds it; where
    /// many gaps were seen that a PSB+ ended, one twice as long as the longest would be the first. Gaps that a wake ended
    /// do not count: they are of a cpu with little to do, and say nothing of one that is busy to the end.
    pub(super) fn end_of_trace(&self, opened: Known) -> (i64, i64) {
        if let Some(due) = self.ctc.as_ref().and_then(Ctc::due) {
            let due = due.max(opened.span.lo);
            let late = self.ctc.as_ref().map_or(0, |ctc| self.cycles.usual_late(ctc.period()));
            return (due + late, due);
        }
        let after = |gap: i64| self.latest.saturating_add(gap).min(FAR).max(opened.span.lo);
        // Those were seen with the crystal's help.
        let longest =
            if self.gaps >= MANY_GAPS && self.ctc.is_none() { self.longest_gap.saturating_mul(2) } else { LEAP };
        (after(longest), after(self.longest_gap))
    }

    /// The end of the stream; what is missing there, and by when it had stopped.
    pub(super) fn end(&mut self, missing: Option<Missing>, stopped: Option<i64>, offsets: &mut Offsets) {
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
        if let (Some(off), Some(hi), true) = (self.off, stopped, self.gap.is_empty()) {
            // Nothing came behind a pause: was it the end?
            self.close(Known::at(Span { lo: off.stopped.min(hi), hi }), None);
        }
        let any = !self.gap.is_empty();
        if let Some(node) = self.gap.last_mut() {
            // How long the last stretch went on nothing says.
            node.link.free = true;
            let (hi, best) = self.end_of_trace(opened);
            let least = opened.span.lo;
            let [hi, best] = [hi, best].map(|at| at.min(stopped.unwrap_or(FAR)).max(least));
            self.close(Known { span: Span { lo: opened.span.lo, hi }, best, guest: None }, None);
        }
        let last = self.queue.iter().rev().find(|n| n.what != What::Known).map(|n| (n.span, n.link.span));
        let (span, likely) = last.filter(|_| any).unwrap_or((opened.span, opened.span));
        self.push_likely(What::End, span, likely);
    }
}
