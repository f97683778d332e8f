//! A block of events at the head of the queue gets its estimates, and is handed on.

use havana_rows::Time;

use super::{AHEAD, BLOCK, FIRST_BLOCK, FIRST_ROUNDS, FIRST_ROUNDS_SAMPLED, Inner, LONGEST, Node};
use crate::cyc::Cycles;
use crate::event::{Loaded, Told, What};
use crate::rule::{Rule, holds};
use crate::span::{Known, Span};
use crate::walk::space_of;

impl Inner<'_> {
    /// Places a block of events and hands it on.
    pub(super) fn release(&mut self) {
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

    pub(super) fn block(&self) -> usize {
        if self.placed.is_none() && self.ctc.is_none() { FIRST_BLOCK } else { BLOCK }
    }

    /// Whether the block at the head holds an event whose VMCS or VM is still to be told.
    pub(super) fn waits(&self) -> bool {
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

    pub(super) fn place(&mut self) {
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
        // An MTC may be written a little after a time that is exact and stands behind it.
        let late = self.ctc.as_ref().map_or(0, |ctc| Cycles::most_late(ctc.period()));
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
                let span = Span { hi: span.hi.max(self.told_hi.min(span.hi.saturating_add(late))), ..span };
                self.told_hi = span.hi;
                let span = if holds(Rule::Bounds) { span } else { Span::exact(tsc) };
                self.tell(node, Time { tsc, lo: span.lo, hi: span.hi });
            }
            self.told.extend(self.shares.drain(..).map(Told::Share));
        }
        self.events -= handed;
        self.times = times;
    }

    /// Hands on one event, and keeps the sure bounds.
    pub(super) fn tell(&mut self, node: Node, at: Time) {
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
