//! From packets to what they mean: entries, exits, CR3 writes, the loaded VMCS, and the packets that tell time.
//!
//! The rules are those of the SDM's chapter "Intel Processor Trace" and are kept here alone; the survey and the track
//! of a cpu both read a stream through [`Walker`].
//!
//! * PSB … PSBEND is state, never an event, and its order is not fixed: it is gathered whole before any of it is
//!   judged. OVF may end it in place of PSBEND.
//! * NR decides: 0→1 is a VM entry, 1→0 a VM exit, 1→1 a CR3 write in the guest, 0→0 one in the host. After a loss a
//!   PIP gives NR and CR3 and nothing else.
//! * A TSC packet is the guest's where the processor was in non-root operation when it made it.
//! * TMA belongs to the TSC before it.

use std::sync::Arc;

use havana_packet::{BadReason, Packet};
use havana_trace::{Missing, Pause};

use crate::handlers::Handlers;

use crate::rule::{Rule, holds};

/// What stands between the bytes and the clock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Step {
    /// A TSC packet.
    Tsc(Tsc),
    Mtc(u8),
    /// Cycles since the CYC before.
    Cyc(u64),
    Cbr(u8),
    /// VM entry: the guest's CR3.
    Entry(u64),
    /// VM exit.
    Exit(Exit),
    GuestCr3(u64),
    HostCr3(u64),
    /// VMPTRLD: another VMCS is loaded; `None` where none is.
    Vmcs(Option<u64>),
    /// PSB+ names the loaded VMCS.
    VmcsState(Option<u64>),
    /// After the start, a loss or a contradiction: this is the state, and how it came about is not known.
    Found {
        nr: bool,
        cr3: u64,
        /// PSB+ says so: it holds at the time of its TSC.
        psb: bool,
    },
    /// The trace is not whole here.
    Lost(Lost),
    /// Trace is missing here: the recorder says so.
    Missing(Missing),
    /// Tracing was off: MTCs may be missing.
    Paused(Pause),
    /// The processor begins to sleep (PWRE).
    Sleep,
    /// It was woken (PWRX).
    Wake,
    /// A packet that only branch tracing makes.
    Branch,
    /// KVM went to the handler of exits of this reason.
    Handler(u16),
    /// The first interrupt that a guest takes after its entry: its vector.
    Interrupt(u8),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tsc {
    pub(crate) tsc: u64,
    /// CTC[15:0] and the ticks since that crystal edge.
    pub(crate) tma: Option<(u16, u16)>,
    /// Made in non-root operation? `None`: not known.
    pub(crate) nr: Option<bool>,
    /// Inside PSB+.
    pub(crate) psb: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Exit {
    /// The host's CR3.
    pub(crate) cr3: u64,
    pub(crate) guest_ip: Option<u64>,
    pub(crate) reason: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lost {
    /// OVF.
    Overflow,
    /// Bytes that are no packets: NR, CR3 and VMCS may have changed.
    Damaged { bytes: u64 },
    /// The stream ends in a packet.
    Truncated { bytes: u64 },
    /// PSB+ says another NR or CR3 than the packets before it.
    Contradiction,
}

/// Packets inside PSB+ that tell time, in their order. More than a few do not fit between two PSBs' ends.
const TIMES: usize = 24;

#[derive(Debug, Clone, Copy)]
enum Timed {
    Tsc(u64),
    Tma(u16, u16),
    Mtc(u8),
    Cyc(u64),
    Cbr(u8),
}

#[derive(Debug)]
struct PsbPlus {
    pip: Option<(u64, bool)>,
    vmcs: Option<u64>,
    times: [Timed; TIMES],
    count: usize,
}

impl PsbPlus {
    fn new() -> Self {
        PsbPlus { pip: None, vmcs: None, times: [Timed::Mtc(0); TIMES], count: 0 }
    }

    fn time(&mut self, t: Timed) {
        if let Some(slot) = self.times.get_mut(self.count) {
            *slot = t;
            self.count += 1;
        }
    }
}

/// VMCS base addresses are of bits 51:12; all ones means that none is loaded.
const NO_VMCS: u64 = 0x000f_ffff_ffff_f000;

pub(crate) fn vmcs_of(base: u64) -> Option<u64> {
    (base & NO_VMCS != NO_VMCS || !holds(Rule::AllOnesIsNone)).then_some(base & NO_VMCS)
}

/// Clears PCID, and the half bit of KPTI: what is left names an address space.
pub(crate) fn space_of(cr3: u64) -> u64 {
    if holds(Rule::MaskCr3) { cr3 & 0x000f_ffff_ffff_e000 } else { cr3 }
}

/// EVD type and CFE types that speak of VM exits (SDM, "Event Trace").
const EVD_VM_EXIT_REASON: u8 = 2;
const CFE_INTR: u8 = 1;
/// Vectors below are exceptions.
const FIRST_INTERRUPT: u8 = 32;
const CFE_VM_EXIT: u8 = 8;
const CFE_VM_EXIT_INTR: u8 = 9;

/// Reads one cpu's packets.
#[derive(Debug)]
pub(crate) struct Walker {
    nr: Option<bool>,
    /// `None`: not known, though NR is.
    cr3: Option<u64>,
    psb: Option<PsbPlus>,
    tsc: Option<Tsc>,
    fup: Option<u64>,
    evd_reason: Option<u16>,
    reason: Option<u16>,
    handlers: Option<Arc<Handlers>>,
    /// So many branches after an exit may still tell its handler.
    looks: u16,
    /// A guest was entered, and took no interrupt since.
    entered: bool,
}

/// KVM comes to the handler of an exit within so many branches that have an address.
const LOOKS: u16 = 64;

impl Walker {
    pub(crate) fn new() -> Self {
        Walker {
            nr: None,
            cr3: None,
            psb: None,
            tsc: None,
            fup: None,
            evd_reason: None,
            reason: None,
            handlers: None,
            looks: 0,
            entered: false,
        }
    }

    /// Tells handlers of exits by the branches, all of which must be given.
    pub(crate) fn with_handlers(self, handlers: Option<Arc<Handlers>>) -> Self {
        Walker { handlers, ..self }
    }

    /// Where control goes to after an exit.
    fn goes_to(&mut self, ip: Option<u64>, out: &mut impl FnMut(Step)) {
        let Some(handlers) = self.handlers.as_ref().filter(|_| self.looks > 0) else { return };
        self.looks -= 1;
        if let Some(reason) = ip.and_then(|ip| handlers.reason(ip)) {
            self.looks = 0;
            out(Step::Handler(reason));
        }
    }

    /// Takes one packet; what follows from it goes to `out`, in order.
    #[inline]
    pub(crate) fn packet(&mut self, packet: &Packet, out: &mut impl FnMut(Step)) {
        if let Some(psb) = &mut self.psb {
            match *packet {
                Packet::Pip { cr3, nr } => psb.pip = Some((cr3, nr)),
                Packet::Vmcs { base } => psb.vmcs = Some(base),
                Packet::Tsc { tsc } => psb.time(Timed::Tsc(tsc)),
                Packet::Tma { ctc, fc } => psb.time(Timed::Tma(ctc, fc)),
                Packet::Mtc { ctc } if holds(Rule::PsbTimesAreReal) => psb.time(Timed::Mtc(ctc)),
                Packet::Cyc { cycles } if holds(Rule::PsbTimesAreReal) => psb.time(Timed::Cyc(cycles)),
                Packet::Cbr { ratio } => psb.time(Timed::Cbr(ratio)),
                Packet::PsbEnd => self.psb_end(out),
                Packet::Ovf if holds(Rule::OvfEndsPsb) => {
                    self.psb_end(out);
                    self.overflow(out);
                }
                Packet::Psb => {
                    // A PSB+ that never ended: something between is gone.
                    self.psb = Some(PsbPlus::new());
                }
                _ => {}
            }
            return;
        }
        match *packet {
            Packet::Mtc { ctc } => {
                self.flush_tsc(out);
                out(Step::Mtc(ctc));
            }
            Packet::Cyc { cycles } => {
                self.flush_tsc(out);
                out(Step::Cyc(cycles));
            }
            Packet::Pip { cr3, nr } => {
                self.flush_tsc(out);
                self.pip(cr3, nr, out);
                self.fup = None;
            }
            Packet::Vmcs { base } => {
                self.flush_tsc(out);
                out(Step::Vmcs(vmcs_of(base)));
            }
            Packet::Tsc { tsc } => {
                self.flush_tsc(out);
                self.tsc = Some(Tsc { tsc, tma: None, nr: self.nr, psb: false });
            }
            Packet::Tma { ctc, fc } => {
                if let Some(tsc) = &mut self.tsc {
                    tsc.tma = Some((ctc, fc));
                }
                self.flush_tsc(out);
            }
            Packet::Cbr { ratio } => {
                self.flush_tsc(out);
                out(Step::Cbr(ratio));
            }
            Packet::Psb => {
                self.flush_tsc(out);
                self.psb = holds(Rule::PsbIsState).then(PsbPlus::new);
            }
            Packet::Ovf => {
                self.flush_tsc(out);
                self.overflow(out);
            }
            Packet::Pwre { .. } if holds(Rule::PowerTells) => {
                self.flush_tsc(out);
                out(Step::Sleep);
            }
            Packet::Pwrx { .. } if holds(Rule::PowerTells) => {
                self.flush_tsc(out);
                out(Step::Wake);
            }
            Packet::Fup(ip) if holds(Rule::FupIsGuests) => self.fup = ip.ip,
            Packet::Evd { kind: EVD_VM_EXIT_REASON, payload } if holds(Rule::EventsName) => {
                self.evd_reason = Some(payload as u16);
            }
            Packet::Cfe { kind: CFE_INTR, vector, .. } => {
                // What is injected comes first; an exception says that nothing was.
                if std::mem::take(&mut self.entered) && vector >= FIRST_INTERRUPT && holds(Rule::EventsName) {
                    out(Step::Interrupt(vector));
                }
                self.evd_reason = None;
            }
            Packet::Cfe { kind, .. } => {
                if kind == CFE_VM_EXIT || kind == CFE_VM_EXIT_INTR {
                    self.reason = self.evd_reason;
                }
                self.evd_reason = None;
            }
            Packet::Tip(_) | Packet::Tnt8 { .. } | Packet::Tnt64 { .. } => {
                self.fup = None;
                out(Step::Branch);
                if let Packet::Tip(to) = packet {
                    self.goes_to(to.ip, out);
                }
            }
            _ => {}
        }
    }

    /// Bytes that are no packets.
    pub(crate) fn bad(&mut self, reason: BadReason, len: u64, out: &mut impl FnMut(Step)) {
        if reason == BadReason::Erratum {
            // A place the erratum names: no other packet is hidden in it, and PSB+ goes on behind it.
            return;
        }
        self.flush_tsc(out);
        if self.psb.is_some() {
            // What PSB+ said before the damage is true.
            self.psb_end(out);
        }
        self.forget();
        let truncated = reason == BadReason::Truncated;
        out(Step::Lost(if truncated { Lost::Truncated { bytes: len } } else { Lost::Damaged { bytes: len } }));
    }

    /// Trace is missing here. What a driver turned on begins in root operation.
    pub(crate) fn missing(&mut self, missing: Missing, out: &mut impl FnMut(Step)) {
        self.end(out);
        self.forget();
        self.cr3 = None;
        self.nr = missing.at_packet.then_some(false);
        out(Step::Missing(missing));
    }

    /// Tracing was off. Longer than for a moment, and the address space may be another.
    pub(crate) fn paused(&mut self, pause: Pause, out: &mut impl FnMut(Step)) {
        self.end(out);
        if !pause.moment {
            self.forget();
            (self.nr, self.cr3) = (Some(false), None);
        }
        out(Step::Paused(pause));
    }

    /// The end of the stream.
    pub(crate) fn end(&mut self, out: &mut impl FnMut(Step)) {
        self.flush_tsc(out);
        if self.psb.is_some() {
            self.psb_end(out);
        }
    }

    fn forget(&mut self) {
        self.nr = None;
        self.fup = None;
        self.reason = None;
        self.evd_reason = None;
        self.looks = 0;
        self.entered = false;
    }

    fn overflow(&mut self, out: &mut impl FnMut(Step)) {
        self.forget();
        out(Step::Lost(Lost::Overflow));
    }

    fn flush_tsc(&mut self, out: &mut impl FnMut(Step)) {
        if let Some(tsc) = self.tsc.take() {
            out(Step::Tsc(tsc));
        }
    }

    fn pip(&mut self, cr3: u64, nr: bool, out: &mut impl FnMut(Step)) {
        let before = self.nr.replace(nr);
        self.cr3 = Some(cr3);
        if before.is_none() && holds(Rule::LossHidesHow) {
            return out(Step::Found { nr, cr3, psb: false });
        }
        let turns = before != Some(nr) && holds(Rule::NrDecides);
        self.looks = if turns && !nr { LOOKS } else { 0 };
        self.entered = if turns { nr } else { self.entered };
        out(match (turns, nr) {
            (false, true) if holds(Rule::GuestWritesCr3) => Step::GuestCr3(cr3),
            (_, true) => Step::Entry(cr3),
            (true, false) => Step::Exit(Exit { cr3, guest_ip: self.fup, reason: self.reason.take() }),
            (false, false) => Step::HostCr3(cr3),
        });
    }

    /// PSB+ is whole. What contradicts it comes first, then what the TSC's meaning hangs on, then its times in their
    /// order, then the state that holds at them.
    fn psb_end(&mut self, out: &mut impl FnMut(Step)) {
        let Some(psb) = self.psb.take() else { return };
        let mut found = None;
        let before = self.nr;
        if let Some((cr3, nr)) = psb.pip {
            let other = self.cr3.is_some_and(|known| space_of(known) != space_of(cr3));
            let agrees = self.nr == Some(nr) && self.cr3.is_some() && !other;
            if self.nr.is_some_and(|known| known != nr || other) {
                self.forget();
                out(Step::Lost(Lost::Contradiction));
            }
            if !agrees {
                found = Some(Step::Found { nr, cr3, psb: true });
            }
            self.nr = Some(nr);
            self.cr3 = Some(cr3);
        }
        if let Some(base) = psb.vmcs.filter(|_| holds(Rule::PsbNamesVmcs)) {
            out(Step::VmcsState(vmcs_of(base)));
        }
        let nr = if holds(Rule::PsbIsWhole) { self.nr } else { before };
        for time in &psb.times[..psb.count] {
            if let (Timed::Tma(ctc, fc), Some(tsc)) = (time, &mut self.tsc) {
                tsc.tma = Some((*ctc, *fc));
            }
            self.flush_tsc(out);
            match *time {
                Timed::Tsc(tsc) => self.tsc = Some(Tsc { tsc, tma: None, nr, psb: true }),
                Timed::Tma(..) => {}
                Timed::Mtc(ctc) => out(Step::Mtc(ctc)),
                Timed::Cyc(cycles) => out(Step::Cyc(cycles)),
                Timed::Cbr(ratio) => out(Step::Cbr(ratio)),
            }
        }
        self.flush_tsc(out);
        if let Some(found) = found {
            out(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use havana_packet::Ip;

    const HOST: u64 = 0x8000;
    const GUEST: u64 = 0x40_0000;

    fn pip(cr3: u64, nr: bool) -> Packet {
        Packet::Pip { cr3, nr }
    }

    /// The steps of some packets; `None` stands for bytes that are none.
    fn steps(packets: impl IntoIterator<Item = Option<Packet>>) -> Vec<Step> {
        let (mut walker, mut steps) = (Walker::new(), Vec::new());
        for packet in packets {
            match packet {
                Some(packet) => walker.packet(&packet, &mut |s| steps.push(s)),
                None => walker.bad(BadReason::UnknownOpcode, 9, &mut |s| steps.push(s)),
            }
        }
        walker.end(&mut |s| steps.push(s));
        steps
    }

    fn of(packets: &[Packet]) -> Vec<Step> {
        steps(packets.iter().copied().map(Some))
    }

    fn exit(guest_ip: Option<u64>, reason: Option<u16>) -> Step {
        Step::Exit(Exit { cr3: HOST, guest_ip, reason })
    }

    #[test]
    fn nr_decides() {
        let packets = [(HOST, false), (GUEST, true), (GUEST + 0x2000, true), (HOST, false), (HOST + 0x2000, false)];
        let found = Step::Found { nr: false, cr3: HOST, psb: false };
        assert_eq!(
            of(&packets.map(|(cr3, nr)| pip(cr3, nr))),
            [found, Step::Entry(GUEST), Step::GuestCr3(GUEST + 0x2000), exit(None, None), Step::HostCr3(HOST + 0x2000)]
        );
    }

    #[test]
    fn after_a_loss_a_pip_is_no_transition() {
        let found = |nr, cr3| Step::Found { nr, cr3, psb: false };
        assert_eq!(
            of(&[pip(HOST, false), Packet::Ovf, pip(GUEST, true)]),
            [found(false, HOST), Step::Lost(Lost::Overflow), found(true, GUEST)]
        );
        assert_eq!(
            steps([Some(pip(HOST, false)), None, Some(pip(GUEST, true))]),
            [found(false, HOST), Step::Lost(Lost::Damaged { bytes: 9 }), found(true, GUEST)]
        );
    }

    #[test]
    fn psb_plus_is_state_in_any_order() {
        let tsc = |nr| Step::Tsc(Tsc { tsc: 7, tma: Some((3, 4)), nr: Some(nr), psb: true });
        let tma = Packet::Tma { ctc: 3, fc: 4 };
        let state = [pip(GUEST, true), Packet::Tsc { tsc: 7 }, tma, Packet::Vmcs { base: 0x1000 }];
        let expected = [
            Step::VmcsState(Some(0x1000)),
            tsc(true),
            Step::Found { nr: true, cr3: GUEST, psb: true },
            exit(None, None),
        ];
        for order in [[0, 1, 2, 3], [3, 1, 2, 0], [1, 2, 3, 0], [1, 3, 2, 0]] {
            let inside = order.map(|i| state[i]);
            let packets = [&[Packet::Psb][..], &inside, &[Packet::PsbEnd, pip(HOST, false)]].concat();
            assert_eq!(of(&packets), expected, "{order:?}");
        }
    }

    #[test]
    fn psb_plus_that_agrees_finds_nothing_new_and_one_that_does_not_says_so() {
        let again = [pip(GUEST, true), Packet::Psb, pip(GUEST + 0x1800, true), Packet::PsbEnd, pip(HOST, false)];
        assert_eq!(of(&again), [Step::Found { nr: true, cr3: GUEST, psb: false }, exit(None, None)]);
        let other = [pip(GUEST, true), Packet::Psb, pip(HOST, false), Packet::PsbEnd];
        let found = Step::Found { nr: false, cr3: HOST, psb: true };
        assert_eq!(of(&other)[1..], [Step::Lost(Lost::Contradiction), found]);
    }

    #[test]
    fn ovf_damage_and_the_end_end_psb_plus() {
        let begin = [Packet::Psb, Packet::Tsc { tsc: 7 }, pip(HOST, false)].map(Some);
        let said = [
            Step::Tsc(Tsc { tsc: 7, tma: None, nr: Some(false), psb: true }),
            Step::Found { nr: false, cr3: HOST, psb: true },
        ];
        let entry = Some(pip(GUEST, true));
        let found = Step::Found { nr: true, cr3: GUEST, psb: false };
        let ovf = steps(begin.into_iter().chain([Some(Packet::Ovf), entry]));
        assert_eq!((&ovf[..2], &ovf[2..]), (&said[..], &[Step::Lost(Lost::Overflow), found][..]));
        let damage = steps(begin.into_iter().chain([None, entry]));
        assert_eq!((&damage[..2], &damage[2..]), (&said[..], &[Step::Lost(Lost::Damaged { bytes: 9 }), found][..]));
        assert_eq!(steps(begin), said);
    }

    #[test]
    fn an_erratum_ends_nothing() {
        let (mut walker, mut steps) = (Walker::new(), Vec::new());
        for packet in [Packet::Psb, Packet::Tsc { tsc: 7 }] {
            walker.packet(&packet, &mut |s| steps.push(s));
        }
        walker.bad(BadReason::Erratum, 8, &mut |s| steps.push(s));
        for packet in [pip(GUEST, true), Packet::PsbEnd] {
            walker.packet(&packet, &mut |s| steps.push(s));
        }
        let tsc = Step::Tsc(Tsc { tsc: 7, tma: None, nr: Some(true), psb: true });
        assert_eq!(steps, [tsc, Step::Found { nr: true, cr3: GUEST, psb: true }]);
    }

    #[test]
    fn a_tma_belongs_to_the_tsc_before_it() {
        let tsc = |tma| Step::Tsc(Tsc { tsc: 7, tma, nr: None, psb: false });
        let tma = Packet::Tma { ctc: 3, fc: 4 };
        assert_eq!(of(&[Packet::Tsc { tsc: 7 }, tma]), [tsc(Some((3, 4)))]);
        assert_eq!(of(&[Packet::Tsc { tsc: 7 }, Packet::Cbr { ratio: 21 }, tma]), [tsc(None), Step::Cbr(21)]);
        assert_eq!(of(&[tma, Packet::Tsc { tsc: 7 }]), [tsc(None)]);
    }

    #[test]
    fn a_tsc_is_of_whoever_ran_when_it_was_made() {
        let packets = [pip(GUEST, true), Packet::Tsc { tsc: 7 }, pip(HOST, false), Packet::Tsc { tsc: 9 }];
        let nr: Vec<_> =
            of(&packets).iter().filter_map(|s| if let Step::Tsc(t) = s { Some(t.nr) } else { None }).collect();
        assert_eq!(nr, [Some(true), Some(false)]);
    }

    #[test]
    fn an_exit_has_the_ip_and_the_reason_before_it_and_no_older_ones() {
        let fup = Packet::Fup(Ip::compress(0x1234, 0));
        let evd = |kind| Packet::Evd { kind, payload: 48 };
        let cfe = |kind| Packet::Cfe { kind, vector: 0, ip: true };
        let last = |packets: &[Packet]| {
            let all = [&[pip(GUEST, true)], packets, &[pip(HOST, false)]].concat();
            of(&all).pop()
        };
        assert_eq!(last(&[evd(2), cfe(8), fup]), Some(exit(Some(0x1234), Some(48))));
        assert_eq!(last(&[evd(2), cfe(9), fup]), Some(exit(Some(0x1234), Some(48))));
        assert_eq!(last(&[evd(0), cfe(8)]), Some(exit(None, None)), "an EVD of another type");
        assert_eq!(last(&[evd(2), cfe(1), cfe(8)]), Some(exit(None, None)), "the EVD was of another CFE");
        assert_eq!(last(&[fup, Packet::Tip(Ip::SUPPRESSED)]), Some(exit(None, None)), "the FUP was of a branch");
        let twice = [evd(2), cfe(8), pip(HOST, false), pip(GUEST, true)];
        assert_eq!(last(&twice), Some(exit(None, None)), "the reason was of the exit before");
    }

    #[test]
    fn all_ones_is_no_vmcs() {
        assert_eq!(of(&[Packet::Vmcs { base: NO_VMCS }]), [Step::Vmcs(None)]);
        assert_eq!(of(&[Packet::Vmcs { base: 0 }]), [Step::Vmcs(Some(0))]);
    }
}
