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

use havana_packet::{BadReason, Packet};

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
    /// A packet that only branch tracing makes.
    Branch,
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
    (base & NO_VMCS != NO_VMCS).then_some(base & NO_VMCS)
}

/// Clears PCID, and the half bit of KPTI: what is left names an address space.
pub(crate) const fn space_of(cr3: u64) -> u64 {
    cr3 & 0x000f_ffff_ffff_e000
}

/// EVD type and CFE types that speak of VM exits (SDM, "Event Trace").
const EVD_VM_EXIT_REASON: u8 = 2;
const CFE_VM_EXIT: u8 = 8;
const CFE_VM_EXIT_INTR: u8 = 9;

/// Reads one cpu's packets.
#[derive(Debug)]
pub(crate) struct Walker {
    nr: Option<bool>,
    cr3: u64,
    psb: Option<PsbPlus>,
    tsc: Option<Tsc>,
    fup: Option<u64>,
    evd_reason: Option<u16>,
    reason: Option<u16>,
}

impl Walker {
    pub(crate) fn new() -> Self {
        Walker { nr: None, cr3: 0, psb: None, tsc: None, fup: None, evd_reason: None, reason: None }
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
                Packet::Mtc { ctc } => psb.time(Timed::Mtc(ctc)),
                Packet::Cyc { cycles } => psb.time(Timed::Cyc(cycles)),
                Packet::Cbr { ratio } => psb.time(Timed::Cbr(ratio)),
                Packet::PsbEnd => self.psb_end(out),
                Packet::Ovf => {
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
                self.psb = Some(PsbPlus::new());
            }
            Packet::Ovf => {
                self.flush_tsc(out);
                self.overflow(out);
            }
            Packet::Fup(ip) => self.fup = ip.ip,
            Packet::Evd { kind, payload } if kind == EVD_VM_EXIT_REASON => self.evd_reason = Some(payload as u16),
            Packet::Cfe { kind, .. } => {
                if kind == CFE_VM_EXIT || kind == CFE_VM_EXIT_INTR {
                    self.reason = self.evd_reason;
                }
                self.evd_reason = None;
            }
            Packet::Tip(_) | Packet::Tnt8 { .. } | Packet::Tnt64 { .. } => {
                self.fup = None;
                out(Step::Branch);
            }
            _ => {}
        }
    }

    /// Bytes that are no packets.
    pub(crate) fn bad(&mut self, reason: BadReason, len: u64, out: &mut impl FnMut(Step)) {
        self.flush_tsc(out);
        if self.psb.is_some() {
            // What PSB+ said before the damage is true.
            self.psb_end(out);
        }
        if reason == BadReason::Erratum {
            // A place the erratum names: no other packet is hidden in it.
            return;
        }
        self.forget();
        let truncated = reason == BadReason::Truncated;
        out(Step::Lost(if truncated { Lost::Truncated { bytes: len } } else { Lost::Damaged { bytes: len } }));
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
        self.cr3 = cr3;
        match (before, nr) {
            (None, _) => out(Step::Found { nr, cr3, psb: false }),
            (Some(false), true) => out(Step::Entry(cr3)),
            (Some(true), false) => out(Step::Exit(Exit { cr3, guest_ip: self.fup, reason: self.reason.take() })),
            (Some(true), true) => out(Step::GuestCr3(cr3)),
            (Some(false), false) => out(Step::HostCr3(cr3)),
        }
    }

    /// PSB+ is whole. What contradicts it comes first, then what the TSC's meaning hangs on, then its times in their
    /// order, then the state that holds at them.
    fn psb_end(&mut self, out: &mut impl FnMut(Step)) {
        let Some(psb) = self.psb.take() else { return };
        let mut found = None;
        if let Some((cr3, nr)) = psb.pip {
            let agrees = self.nr == Some(nr) && space_of(self.cr3) == space_of(cr3);
            if self.nr.is_some() && !agrees {
                self.forget();
                out(Step::Lost(Lost::Contradiction));
            }
            if !agrees {
                found = Some(Step::Found { nr, cr3, psb: true });
            }
            self.nr = Some(nr);
            self.cr3 = cr3;
        }
        if let Some(base) = psb.vmcs {
            out(Step::VmcsState(vmcs_of(base)));
        }
        for time in &psb.times[..psb.count] {
            if let (Timed::Tma(ctc, fc), Some(tsc)) = (time, &mut self.tsc) {
                tsc.tma = Some((*ctc, *fc));
            }
            self.flush_tsc(out);
            match *time {
                Timed::Tsc(tsc) => self.tsc = Some(Tsc { tsc, tma: None, nr: self.nr, psb: true }),
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
