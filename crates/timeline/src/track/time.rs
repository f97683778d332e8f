//! Packets that tell time: MTC, and TSC of the host or a guest.

use super::{Inner, LEAP, MOMENT, MOST_SAMPLES, SLEPT_TICKS, SLEPT_TIMES, UNSEEN};
use havana_rows::LossCause;

use crate::ctc::Edge;
use crate::offset::{Offsets, Seen};
use crate::rule::{Rule, holds};
use crate::span::{FAR, Known, Span};
use crate::spread::Link;
use crate::walk::{Tsc, space_of};

impl Inner<'_> {
    pub(super) fn mtc(&mut self, payload: u8) {
        let Some(ctc) = &mut self.ctc else {
            self.cycles.direct = false;
            return;
        };
        if !ctc.is_known() {
            self.cycles.direct = false;
            return self.hold_edge(payload);
        }
        let due = ctc.due();
        let period = ctc.period();
        match ctc.mtc(payload) {
            Edge::Next(at) => {
                let at = self.written(at, period);
                self.kinds.edge(self.stretch.0, period as f64);
                self.close(at, None);
            }
            // They went by while the driver's handler ran.
            Edge::Skipped(at) if self.off.is_some() => {
                let at = self.written(at, period);
                self.close(at, None);
            }
            Edge::Skipped(at) => {
                let at = self.written(at, period);
                let wake = Span { lo: at.span.lo - period, hi: at.span.hi };
                self.close(at, due.map(|due| (due, wake)));
            }
            Edge::None => {}
        }
        self.cycles.direct = false;
    }

    /// When the MTC of an edge was written.
    fn written(&mut self, edge: Span, period: i64) -> Known {
        let late = self.cycles.late(self.opened.map(|opened| opened.span), edge, period);
        Known::written(edge, late)
    }

    pub(super) fn tsc(&mut self, tsc: Tsc, offsets: &mut Offsets) {
        let value = tsc.tsc as i64;
        if let (Some(ctc), true) = (&mut self.ctc, tsc.psb && self.errata.skl168 && holds(Rule::Skl168)) {
            ctc.veil();
        }
        match tsc.nr {
            Some(true) if holds(Rule::GuestTsc) => self.guest_tsc(value, tsc, offsets),
            // Where nothing is known of NR, only a trace without guests can be trusted.
            None if self.ever_guest => {}
            _ => self.host_tsc(value, tsc, offsets),
        }
    }

    pub(super) fn host_tsc(&mut self, tsc: i64, packet: Tsc, offsets: &mut Offsets) {
        if let Some(opened) = self.opened {
            // A damaged packet that looks valid, or a clock that was written: believed when it is said twice.
            let crystal = self.ctc.as_ref().zip(packet.tma).map(|(ctc, tma)| ctc.agrees(tsc, tma));
            let leap = if crystal == Some(true) { LEAP } else { UNSEEN };
            // A step of less than the crystal can tell is no leap.
            let off = crystal == Some(false) && tsc - opened.span.hi > MOMENT;
            let astray = tsc < opened.span.lo || tsc - opened.span.hi > leap || off;
            let agrees = self.doubt.is_some_and(|d| (0..LEAP).contains(&(tsc - d)));
            if astray && !(agrees && tsc >= opened.span.lo) {
                self.doubt = Some(tsc);
                if let (Some(ctc), Some((edge, fast))) = (&mut self.ctc, packet.tma) {
                    ctc.check(tsc, edge, fast);
                }
                return;
            }
            self.doubt = None;
            if astray {
                self.lose_for(LossCause::Inconsistent, self.offset, 0);
            }
        }
        let mut slept = None;
        if !self.edges_known() {
            self.anchor(Span::exact(tsc), packet.psb);
        }
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
        if self.off.is_some() && packet.psb {
            // As above. Who makes a PSB has been awake.
            slept = None;
        }
        if !packet.psb {
            // Of a cpu that wakes: asleep it counts no cycles.
            self.cycles.halted();
        }
        self.host_samples(tsc, offsets);
        self.gaps = self.gaps.saturating_add(u32::from(packet.psb));
        self.close(Known::exact(tsc), slept.map(|due| (due, Span::exact(tsc))));
    }

    /// A TSC packet made by a guest: a known time where its clock is known, and a sample of that clock.
    pub(super) fn guest_tsc(&mut self, value: i64, packet: Tsc, offsets: &mut Offsets) {
        let vmcs = self.loaded.vmcs();
        let after = self.opened.map_or(-FAR, |o| o.span.lo);
        if let Some(ctc) = &mut self.ctc {
            let due = ctc.due();
            // Outside PSB+ the cpu may have slept, and after a loss any time may have gone by: then only the guest's clock
            // says for how long.
            let about = match vmcs {
                Some(vmcs) if !packet.psb || due.is_none() => {
                    offsets.host_time(vmcs, value, after).and_then(|span| span.and(Span { lo: after, hi: FAR }))
                }
                _ => None,
            };
            let known = match packet.tma {
                Some(tma) if self.clocks.guest_tma && (packet.psb || about.is_some()) && holds(Rule::TmaIsHosts) => {
                    ctc.guest_tma(tma, about)
                }
                _ => None,
            };
            match known {
                Some((at, slept)) => {
                    if due.is_none() {
                        self.anchor(at, packet.psb);
                        if let Some(ctc) = &mut self.ctc {
                            ctc.pass(ctc.unit_of(at.mid()));
                        }
                    }
                    if let Some(vmcs) = vmcs {
                        offsets.sample(vmcs, value, at, None);
                    }
                    let due = if slept && self.off.is_none() { due } else { None };
                    return self.close(Known::at(at), due.map(|due| (due, at)));
                }
                None if packet.psb => {
                    ctc.veil();
                    // A cpu that makes a PSB is awake: it is before the next edge, or the one after, where the TSC stood
                    // for an MTC.
                    if let (Some(vmcs), Some(hi)) = (vmcs, ctc.due()) {
                        // While the driver's handler ran, edges may have gone by unseen.
                        let unseen = if self.off.is_some() { MOMENT } else { 0 };
                        offsets.sample(vmcs, value, Span { lo: after, hi: hi.max(after) + unseen }, None);
                        // Not once more with the next host TSC: that knows less, and a clock may have changed since.
                        return;
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
                self.gaps = self.gaps.saturating_add(u32::from(packet.psb));
                self.close(Known { span, best: span.clamp(wide.mid()), guest: self.ticks(vmcs, value) }, None);
            }
        }
    }

    /// A guest's TSC, between whose like time is known by their difference: where its ticks are the host's.
    fn ticks(&self, vmcs: u64, value: i64) -> Option<(u64, i64)> {
        (!self.clocks.offsets.may_scale(vmcs)).then_some((vmcs, value))
    }

    /// Nothing says how this vCPU's clock stands. Those of a VM mostly stand alike: that bounds nothing, and is a good guess.
    pub(super) fn sibling_time(&mut self, vmcs: u64, value: i64, after: i64) {
        let Some(from) = self.opened.filter(|_| holds(Rule::OffsetIsShared)) else { return };
        let Some(vmcss) = self.host_cr3.and_then(|cr3| self.siblings.get(&space_of(cr3))) else { return };
        let offsets = &self.clocks.offsets;
        let guess = vmcss.iter().find_map(|&sibling| offsets.host_time(sibling, value, after));
        if let Some(guess) = guess {
            let span = Span { lo: from.span.lo, hi: FAR };
            self.close(Known { span, best: guess.mid().max(from.best), guest: self.ticks(vmcs, value) }, None);
        }
    }

    /// The guest TSCs since the last host time lie between it and this one.
    pub(super) fn host_samples(&mut self, tsc: i64, offsets: &mut Offsets) {
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
    pub(super) fn took_too_long(&self, tsc: i64) -> bool {
        let Some(opened) = self.opened else { return false };
        let length = (tsc - opened.best) as f64;
        let here = Link { span: Span::ANY, kind: self.stretch.0, bytes: self.work(self.at), free: false, slack: false };
        let before = self.gap[..self.gap.len().saturating_sub(1)].iter().map(|n| n.link);
        match self.kinds.expected(before.chain([here])) {
            Some(expected) => length > SLEPT_TIMES * expected + SLEPT_TICKS,
            None => length > 10.0 * SLEPT_TICKS,
        }
    }
}
