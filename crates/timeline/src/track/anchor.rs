//! MTCs of which only eight bits are known: after a loss, until a TSC packet says which edges they were.
//!
//! While a cpu is awake no edge passes without its MTC. So MTCs that follow each other are a chain, and where its end is
//! known, all of it is: from a TSC of a cpu that has been awake since, or from one so soon that only one such chain can
//! lie before it. Events wait for that as they do for any known time.

use super::steps::forget_before;
use super::{Inner, MOMENT};
use crate::ctc::Ctc;
use crate::event::Loaded;
use crate::span::{Known, Span};

/// No more edges wait.
const MOST: usize = 1 << 13;

/// An edge that is not yet known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    payload: u8,
    /// Events of the gap that are before it.
    before: usize,
}

impl Inner<'_> {
    /// An MTC after a loss.
    pub(super) fn hold_edge(&mut self, payload: u8) {
        let follows = self.edges.last().is_none_or(|last| payload == last.payload.wrapping_add(1));
        if !follows || self.edges.len() >= MOST {
            self.forget_edges();
        }
        self.edges.push(Edge { payload, before: self.gap.len() });
    }

    /// A known time at `at`, the first since the loss: now the edges before it are known too. `awake`: the cpu did not
    /// sleep between.
    pub(super) fn anchor(&mut self, at: Span, awake: bool) {
        let edges = std::mem::take(&mut self.edges);
        let (Some(first), Some(last)) = (edges.first(), edges.last()) else { return };
        let (Some(ctc), Some(opened)) = (&self.ctc, self.opened) else { return };
        let unit = ctc.unit_of(at.mid());
        let since = i64::from((unit as u8).wrapping_sub(last.payload));
        // Of a TSC right behind an edge, that edge may have no MTC.
        if awake && since > 2 {
            return;
        }
        let end = unit - since;
        let begin = end - (edges.len() as i64 - 1);
        debug_assert_eq!(begin as u8, first.payload);
        // Eight bits: another chain, so much earlier, must not be possible.
        let possible = |begin: i64| {
            let behind = self.off.filter(|off| off.edges < edges.len());
            ctc.edge_of(begin).hi >= opened.span.lo
                && behind.is_none_or(|off| ctc.edge_of(begin + off.edges as i64).hi >= off.stopped)
        };
        if !possible(begin) || !awake && possible(begin - 256) {
            return;
        }
        let mut events = std::mem::take(&mut self.gap);
        let (nr, host_cr3, loaded) = (self.nr, self.host_cr3, self.loaded);
        // Off for long: of what came behind nothing is known from before.
        let off = self.off.filter(|off| !off.moment && ctc.edge_of(begin).hi - off.stopped > MOMENT);
        let told_since = off.map(|off| {
            let behind = off.before.min(events.len());
            forget_before(&mut events[behind..], Loaded::Unknown(self.epoch + 1))
        });
        // Their cycles are counted from another time.
        let cycles = std::mem::take(&mut self.has_cycles);
        let mut told = 0;
        for (unit, edge) in (begin..).zip(&edges) {
            let before = edge.before.min(events.len());
            self.gap.extend_from_slice(&events[told..before]);
            told = before;
            if let Some((at, period)) = self.ctc.as_mut().map(|ctc| (ctc.pass(unit), ctc.period())) {
                let late = self.cycles.usual_late(period);
                self.close(Known::written(at, late), None);
            }
        }
        self.gap.extend_from_slice(&events[told..]);
        if let Some(told) = told_since {
            self.nr = nr;
            self.host_cr3 = host_cr3.filter(|_| told.host);
            self.loaded = if told.vmcs { loaded } else { Loaded::Unknown(self.epoch) };
        }
        self.gap.iter_mut().for_each(|node| node.cycle = Default::default());
        self.has_cycles = cycles;
        self.cycles.miss();
    }

    /// What waits to be known has no end any more.
    pub(super) fn forget_edges(&mut self) {
        self.edges.clear();
        if let Some(off) = &mut self.off {
            off.edges = 0;
        }
    }

    /// Whether MTCs are known as they come.
    pub(super) fn edges_known(&self) -> bool {
        self.ctc.as_ref().is_some_and(Ctc::is_known)
    }
}
