//! What each packet means for the cpu at hand: events for the gap, and what is known of the cpu's state.

use havana_packet::BadReason;
use havana_rows::LossCause;
use havana_trace::{Cause, Missing};

use super::{Inner, LONGEST, MOMENT, MOST_SIBLINGS, Node, Off};
use crate::ctc::Ctc;
use crate::event::{Loaded, What, Why};
use crate::offset::Offsets;
use crate::rule::{Rule, holds};
use crate::span::{Known, Span};
use crate::spread::{Kind, Link};
use crate::walk::{Exit, Lost, Step, space_of};

/// A time that a TSC packet could say; a damaged record may say others.
pub(super) fn possible(tsc: Option<i64>) -> Option<i64> {
    tsc.filter(|tsc| (0..1 << 56).contains(tsc))
}

impl Inner<'_> {
    pub(super) fn bad(&mut self, reason: BadReason) {
        self.damaged += u64::from(reason != BadReason::Erratum);
    }

    #[inline]
    pub(super) fn step(&mut self, step: Step, offsets: &mut Offsets) {
        match step {
            Step::Mtc(payload) => return self.mtc(payload),
            Step::Cyc(cycles) => {
                self.has_cycles = holds(Rule::CycDates);
                return self.cycles.cyc(cycles);
            }
            Step::Handler(reason) => return self.handler(reason),
            Step::Interrupt(vector) => return self.interrupt(vector),
            Step::Branch => {
                if !self.branches {
                    self.branches = true;
                    self.kinds.tell_by_bytes();
                }
                return self.cycles.branch();
            }
            Step::Cbr(ratio) => {
                self.ratio = ratio;
                return self.cycles.cbr(ratio);
            }
            Step::Paused(pause) => {
                // An MTC has eight bits: of a long time they say nothing.
                match &mut self.ctc {
                    Some(ctc) if pause.moment => ctc.veil(),
                    Some(ctc) => {
                        ctc.lose();
                        self.forget_edges();
                    }
                    None => {}
                }
                self.cycles.miss();
                let stopped = possible(pause.stopped).or(self.opened.map(|o| o.span.hi));
                if let (Some(off), Some(hi)) = (self.off.filter(|off| !off.moment), stopped) {
                    // Off, on, and off again: what came between was between.
                    let span = Span { lo: off.stopped.min(hi), hi };
                    self.close(Known { span, best: hi, guest: None }, None);
                }
                let before = self.gap.len();
                let off = stopped.map(|stopped| Off { stopped, before, edges: self.edges.len(), moment: pause.moment });
                self.off = self.off.filter(|off| !off.moment).or(off);
            }
            Step::Missing(missing) => self.missing(missing),
            Step::Sleep => self.sleep(),
            Step::Wake => self.wake(),
            Step::Tsc(tsc) => self.tsc(tsc, offsets),
            Step::Entry(cr3) => {
                self.acts();
                self.nr = Some(true);
                self.ever_guest = true;
                let what = What::Entry { cr3, host_cr3: self.host_cr3, loaded: self.loaded, vector: None };
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
                let reason = reason.map(|reason| Why { reason, seen: true });
                self.event(What::Exit { host_cr3: cr3, guest_ip, reason }, Kind::new(false, cr3, true));
            }
            Step::GuestCr3(cr3) => {
                self.acts();
                self.event(What::GuestCr3(cr3), Kind::new(true, cr3, false));
            }
            Step::HostCr3(cr3) => {
                self.acts();
                self.host_cr3 = Some(cr3);
                if !holds(Rule::VmcsStays) {
                    self.loaded = Loaded::Nothing;
                }
                self.event(What::HostCr3(cr3), Kind::new(false, cr3, false));
            }
            Step::Vmcs(vmcs) => {
                self.loaded = vmcs.map_or(Loaded::Nothing, Loaded::Vmcs);
                let kind = self.stretch.0;
                self.event(What::Load(self.loaded), kind);
            }
            // PSB+ is of one moment: a CYC before it dates its TSC.
            Step::VmcsState(vmcs) => return self.vmcs_state(vmcs),
            Step::Found { nr, cr3, psb } => {
                self.acts();
                self.nr = Some(nr);
                self.ever_guest |= nr;
                if !nr {
                    self.host_cr3 = Some(cr3);
                }
                let what = What::Found { nr, cr3, host_cr3: self.host_cr3, loaded: self.loaded };
                self.event(what, Kind::new(nr, cr3, false));
                // Where PSB+ says the time, and that is known.
                if let (true, [node]) = (psb && self.known_at == self.at, &mut self.gap[..]) {
                    node.pinned = true;
                }
            }
            Step::Lost(lost) => self.lose(lost),
        }
        self.cycles.direct = false;
    }

    /// An event of the gap.
    pub(super) fn event(&mut self, what: What, kind: Kind) {
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
    pub(super) fn learn_sibling(&mut self) {
        if let (None, Some(cr3), Some(vmcs)) = (&self.ctc, self.host_cr3, self.loaded.vmcs()) {
            let all = self.siblings.entry(space_of(cr3)).or_default();
            if all.last() != Some(&vmcs) && !all.contains(&vmcs) && all.len() < MOST_SIBLINGS {
                all.push(vmcs);
            }
        }
    }

    /// The stretch that is going on ends `at` so many bytes of the stream: its own are known.
    pub(super) fn close_stretch(&mut self, at: u64) {
        let work = self.work(at);
        if let Some(node) = self.gap.last_mut().or_else(|| self.queue.iter_mut().rev().find(|n| n.what != What::Known))
        {
            node.link.bytes = work;
        }
    }

    /// Bytes since the stretch began. A core of half the frequency makes half the bytes.
    pub(super) fn work(&self, at: u64) -> u32 {
        let bytes = at.saturating_sub(self.stretch.1).min(1 << 24);
        (bytes * 256 / u64::from(self.ratio.max(1))).min(u64::from(u32::MAX)) as u32
    }

    /// PSB+ names the loaded VMCS: what was not known since the last VMCS packet or loss is known now.
    pub(super) fn vmcs_state(&mut self, vmcs: Option<u64>) {
        let now = vmcs.map_or(Loaded::Nothing, Loaded::Vmcs);
        if let Loaded::Unknown(epoch) = self.loaded {
            // What was before a loss is of another epoch; and a pause may yet be one.
            let off = self.off.filter(|off| !off.moment).map(|off| off.before.min(self.gap.len()));
            let queue = if off.is_some() { 0 } else { self.queue.len() };
            let here = self.gap[off.unwrap_or(0)..].iter_mut().rev();
            for node in here.chain(self.queue.iter_mut().rev().take(queue)) {
                if let What::Lost { .. } = node.what {
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

    /// KVM went to the handler of this reason: that is why the last exit was, unless an event said so.
    fn handler(&mut self, by_path: u16) {
        let nodes = self.gap.iter_mut().rev().chain(self.queue.iter_mut().rev());
        for node in nodes {
            match &mut node.what {
                What::Exit { reason, .. } => {
                    reason.get_or_insert(Why { reason: by_path, seen: false });
                    return;
                }
                What::Entry { .. } | What::Found { .. } | What::Lost { .. } => return,
                _ => {}
            }
        }
    }

    /// The interrupt that a guest took first after the last entry.
    fn interrupt(&mut self, by: u8) {
        let nodes = self.gap.iter_mut().rev().chain(self.queue.iter_mut().rev());
        for node in nodes {
            match &mut node.what {
                What::Entry { vector, .. } => return *vector = Some(by),
                What::Exit { .. } | What::Found { .. } | What::Lost { .. } => return,
                _ => {}
            }
        }
    }

    /// The host CR3 that the guest was entered from, known by the exit.
    pub(super) fn tell_host(&mut self, cr3: u64) {
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

    pub(super) fn lose(&mut self, lost: Lost) {
        let (cause, bytes) = match lost {
            Lost::Overflow => (LossCause::Overflow, 0),
            Lost::Damaged { bytes } => (LossCause::Damaged, bytes),
            Lost::Truncated { bytes } => (LossCause::Truncated, bytes),
            Lost::Contradiction => (LossCause::Inconsistent, 0),
        };
        self.lose_for(cause, self.offset, bytes);
    }

    /// Trace is missing, and where it is known when it stopped and went on, that is a known time.
    pub(super) fn missing(&mut self, missing: Missing) {
        let Missing { cause, stopped, resumed, bytes, .. } = missing;
        let (stopped, resumed) = (possible(stopped), possible(resumed));
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

    /// The trace was off, and `at` is the first known time since. For long, then what was meanwhile is lost.
    pub(super) fn was_off(&mut self, Off { stopped, before, .. }: Off, at: Span) {
        if at.hi - stopped <= MOMENT || !holds(Rule::PauseIsNoSleep) {
            return;
        }
        // What came behind it is told as it was, but for what was known from before.
        let mut behind = self.gap.split_off(before.min(self.gap.len()));
        let (nr, host_cr3, loaded) = (self.nr, self.host_cr3, self.loaded);
        let (stopped, resumed) = (Some(stopped), None);
        self.missing(Missing { cause: Cause::Off, stopped, resumed, at_packet: false, bytes: 0 });
        let told = forget_before(&mut behind, self.loaded);
        if !behind.is_empty() {
            self.lost = false;
            self.nr = nr;
            self.host_cr3 = host_cr3.filter(|_| told.host);
            self.loaded = if told.vmcs { loaded } else { self.loaded };
        }
        self.gap = behind;
    }

    /// Something happens that a sleeping cpu does not do.
    pub(super) fn acts(&mut self) {
        self.lost = false;
        self.wake();
    }

    /// The cpu begins to sleep. In a guest it stays the guest's.
    pub(super) fn sleep(&mut self) {
        if self.nr == Some(true) || self.asleep || self.opened.is_none() {
            return;
        }
        self.event(What::Sleep { seen: true }, Kind::default());
        if let Some(node) = self.gap.last_mut() {
            node.link.free = true;
        }
        self.asleep = true;
    }

    pub(super) fn wake(&mut self) {
        if std::mem::take(&mut self.asleep) {
            self.event(What::Wake, self.woken());
        }
    }

    /// The stretch after a sleep.
    pub(super) fn woken(&self) -> Kind {
        Kind::new(false, self.host_cr3.unwrap_or(0) | 1 << 60, false)
    }

    pub(super) fn lose_for(&mut self, cause: LossCause, offset: u64, bytes: u64) {
        self.event(What::Lost { cause, offset, bytes }, Kind::default());
        if let Some(node) = self.gap.last_mut() {
            node.link.free = true;
        }
        self.forget();
    }

    /// What was known of the cpu's state is not any more.
    pub(super) fn forget(&mut self) {
        self.lost = true;
        self.asleep = false;
        self.cycles.miss();
        self.nr = None;
        self.host_cr3 = None;
        if holds(Rule::LossHidesVmcs) {
            self.epoch += 1;
            self.loaded = Loaded::Unknown(self.epoch);
        }
        if let Some(ctc) = &mut self.ctc {
            ctc.lose();
        }
        self.forget_edges();
    }
}

/// What events say of the state of a cpu.
pub(super) struct Told {
    pub(super) vmcs: bool,
    pub(super) host: bool,
}

/// Nothing is known of the state of a cpu before these events but that it was in root operation: what they took for
/// known is not, until they say so.
pub(super) fn forget_before(events: &mut [Node], unknown: Loaded) -> Told {
    let mut told = Told { vmcs: false, host: false };
    for node in &mut *events {
        match &mut node.what {
            What::Load(_) => told.vmcs = true,
            What::HostCr3(_) | What::Exit { .. } => told.host = true,
            What::Entry { host_cr3, loaded, .. } => {
                *host_cr3 = host_cr3.filter(|_| told.host);
                if !told.vmcs {
                    *loaded = unknown;
                }
            }
            _ => {}
        }
    }
    // An exit says from where its guest was entered.
    let mut back = None;
    for node in events.iter_mut().rev() {
        match &mut node.what {
            What::Exit { host_cr3, .. } => back = Some(*host_cr3),
            What::Entry { host_cr3, .. } => *host_cr3 = host_cr3.or(back),
            What::Found { .. } | What::HostCr3(_) => back = None,
            _ => {}
        }
    }
    told
}
