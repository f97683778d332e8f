//! The packets and their fields (SDM, "Packet Definitions").
//!
//! A field holds its bits where the processor has them: `cr3` and `base` are addresses, not shifted payloads.
//! The bit layouts stand in `decode.rs`, beside the code that reads them.

use crate::Kind;

/// The IP of a TIP, TIP.PGE, TIP.PGD or FUP (SDM, "IP Compression").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ip {
    /// The IPBytes field: how the IP is compressed. 0, 1, 2, 3, 4 or 6.
    pub ipc: u8,
    /// The bits of the IP that stand in the packet, zero-extended. 0 where there are none.
    pub raw: u64,
    /// The whole IP; `None` where the processor held it back (`ipc` 0).
    pub ip: Option<u64>,
}

/// Bytes of IP in the packet, by IPBytes; [`Ip::RESERVED`] for the two that are reserved.
const IP_LEN: [u8; 8] = [0, 2, 4, 6, 6, Ip::RESERVED, 8, Ip::RESERVED];

/// Bits that the whole IP takes from the last one, by IPBytes.
const IP_KEEP: [u64; 8] = [!0, !0xffff, !0xffff_ffff, 0, !0xffff_ffff_ffff, 0, 0, 0];

impl Ip {
    /// What [`Ip::len`] gives for an IPBytes that the SDM reserves.
    pub(crate) const RESERVED: u8 = u8::MAX;

    /// An IP that the processor held back.
    pub const SUPPRESSED: Ip = Ip { ipc: 0, raw: 0, ip: None };

    /// How many bytes of IP follow the packet's first byte.
    #[inline]
    pub(crate) const fn len(ipc: u8) -> u8 {
        IP_LEN[(ipc & 7) as usize]
    }

    /// Which bits of the IP the packet itself says.
    #[inline]
    pub(crate) const fn said(ipc: u8) -> u64 {
        !IP_KEEP[(ipc & 7) as usize]
    }

    /// The IP that `raw` stands for after `last_ip`, and so the next last IP too.
    #[inline]
    pub(crate) const fn resolve(ipc: u8, raw: u64, last_ip: u64) -> u64 {
        let joined = (last_ip & IP_KEEP[(ipc & 7) as usize]) | raw;
        // Sign extension from 48 bits, which only this form has.
        if ipc == 3 { ((raw << 16).cast_signed() >> 16).cast_unsigned() } else { joined }
    }

    /// `ip` in the form that `ipc` names. `None` where that form cannot say it after `last_ip`.
    pub fn with(ipc: u8, ip: u64, last_ip: u64) -> Option<Ip> {
        let raw = match ipc {
            1 => ip & 0xffff,
            2 => ip & 0xffff_ffff,
            3 | 4 => ip & 0xffff_ffff_ffff,
            6 => ip,
            _ => return None,
        };
        (Ip::resolve(ipc, raw, last_ip) == ip).then_some(Ip { ipc, raw, ip: Some(ip) })
    }

    /// `ip` in the shortest form there is after `last_ip`.
    pub fn compress(ip: u64, last_ip: u64) -> Ip {
        [1, 2, 3, 4].into_iter().find_map(|ipc| Ip::with(ipc, ip, last_ip)).unwrap_or(Ip {
            ipc: 6,
            raw: ip,
            ip: Some(ip),
        })
    }
}

/// One packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Packet {
    /// PAD.
    Pad,
    /// PSB.
    Psb,
    /// PSBEND.
    PsbEnd,
    /// TIP.
    Tip(Ip),
    /// TIP.PGE.
    TipPge(Ip),
    /// TIP.PGD.
    TipPgd(Ip),
    /// FUP.
    Fup(Ip),
    /// Short TNT.
    Tnt8 {
        /// The branches, 1 for taken; the oldest is the most significant of the `count` bits.
        bits: u8,
        /// How many, 1 to 6.
        count: u8,
    },
    /// Long TNT.
    Tnt64 {
        /// The branches, 1 for taken; the oldest is the most significant of the `count` bits.
        bits: u64,
        /// How many, 1 to 47.
        count: u8,
    },
    /// PIP.
    Pip {
        /// CR3\[51:5\] in place; the low five bits are 0.
        cr3: u64,
        /// Non-root: the CR3 is a guest's.
        nr: bool,
    },
    /// VMCS.
    Vmcs {
        /// VMCS\[51:12\] in place. All ones (`0xf_ffff_ffff_f000`) where none is loaded.
        base: u64,
    },
    /// TSC.
    Tsc {
        /// TSC\[55:0\].
        tsc: u64,
    },
    /// TMA.
    Tma {
        /// CTC\[15:0\].
        ctc: u16,
        /// FastCounter\[8:0\].
        fc: u16,
    },
    /// MTC.
    Mtc {
        /// CTC\[N+7:N\], where N is the MTC period.
        ctc: u8,
    },
    /// CYC.
    Cyc {
        /// Core cycles since the last CYC.
        cycles: u64,
    },
    /// CBR.
    Cbr {
        /// Core:Bus Ratio.
        ratio: u8,
    },
    /// MODE.Exec.
    ModeExec {
        /// CS.L & IA32_EFER.LMA: 64-bit code.
        cs_l: bool,
        /// CS.D: 32-bit code where `cs_l` is not set.
        cs_d: bool,
        /// RFLAGS.IF, where Event Trace is on.
        if_flag: bool,
    },
    /// MODE.TSX.
    ModeTsx {
        /// A transaction runs.
        in_tx: bool,
        /// It was aborted.
        abort: bool,
    },
    /// OVF.
    Ovf,
    /// TraceStop.
    Stop,
    /// MNT.
    Mnt {
        /// The meaning depends on the model.
        payload: u64,
    },
    /// PTW.
    Ptw {
        /// The operand.
        payload: u64,
        /// Its size: 4 or 8.
        bytes: u8,
        /// A FUP with the instruction's IP follows.
        ip: bool,
    },
    /// EXSTOP.
    Exstop {
        /// A FUP with the last instruction's IP follows.
        ip: bool,
    },
    /// MWAIT.
    Mwait {
        /// EAX\[7:0\].
        hints: u8,
        /// ECX\[1:0\].
        ext: u8,
    },
    /// PWRE.
    Pwre {
        /// Resolved thread C-state.
        state: u8,
        /// Resolved thread sub C-state.
        sub_state: u8,
        /// The hardware entered it by itself.
        hw: bool,
    },
    /// PWRX.
    Pwrx {
        /// Core C-state at the wake.
        last: u8,
        /// Deepest core C-state of the sleep.
        deepest: u8,
        /// Why it woke: bit 0 interrupt, bit 1 timer deadline, bit 2 store to the monitored address, bit 3 hardware.
        wake: u8,
    },
    /// BBP.
    Bbp {
        /// The block's items are eight bytes long, else four.
        size8: bool,
        /// What the block holds: 1 general-purpose registers, 4 PEBS basic, 5 PEBS memory, 8 to 10 LBR, 16 XMM.
        kind: u8,
    },
    /// BIP.
    Bip {
        /// Which item of the block's kind.
        id: u8,
        /// Its value.
        payload: u64,
        /// Its size: 4 or 8, as the BBP says.
        bytes: u8,
    },
    /// BEP.
    Bep {
        /// A FUP follows.
        ip: bool,
    },
    /// CFE.
    Cfe {
        /// The event: 1 INTR, 2 IRET, 3 SMI, 4 RSM, 5 SIPI, 6 INIT, 7 VM entry, 8 VM exit, 9 VM exit by interrupt,
        /// 10 shutdown, 12 UINTR, 13 UIRET.
        kind: u8,
        /// The vector, where the event has one.
        vector: u8,
        /// A FUP follows.
        ip: bool,
    },
    /// EVD.
    Evd {
        /// What the payload is: 0 page fault address (CR2), 1 VM exit qualification, 2 VM exit reason.
        kind: u8,
        /// The value.
        payload: u64,
    },
    /// TRIG.
    Trig {
        /// A FUP follows.
        ip: bool,
        /// The MULT bit: more than one trigger event stands behind this packet.
        mult: bool,
        /// Which triggers fired, one bit each (TRBV).
        triggers: u8,
        /// The instruction count (ICNT), where the packet has one.
        icnt: Option<u16>,
    },
}

impl Packet {
    /// What the packet is.
    #[inline]
    pub const fn kind(&self) -> Kind {
        match self {
            Packet::Pad => Kind::Pad,
            Packet::Psb => Kind::Psb,
            Packet::PsbEnd => Kind::PsbEnd,
            Packet::Tip(_) => Kind::Tip,
            Packet::TipPge(_) => Kind::TipPge,
            Packet::TipPgd(_) => Kind::TipPgd,
            Packet::Fup(_) => Kind::Fup,
            Packet::Tnt8 { .. } => Kind::Tnt8,
            Packet::Tnt64 { .. } => Kind::Tnt64,
            Packet::Pip { .. } => Kind::Pip,
            Packet::Vmcs { .. } => Kind::Vmcs,
            Packet::Tsc { .. } => Kind::Tsc,
            Packet::Tma { .. } => Kind::Tma,
            Packet::Mtc { .. } => Kind::Mtc,
            Packet::Cyc { .. } => Kind::Cyc,
            Packet::Cbr { .. } => Kind::Cbr,
            Packet::ModeExec { .. } => Kind::ModeExec,
            Packet::ModeTsx { .. } => Kind::ModeTsx,
            Packet::Ovf => Kind::Ovf,
            Packet::Stop => Kind::Stop,
            Packet::Mnt { .. } => Kind::Mnt,
            Packet::Ptw { .. } => Kind::Ptw,
            Packet::Exstop { .. } => Kind::Exstop,
            Packet::Mwait { .. } => Kind::Mwait,
            Packet::Pwre { .. } => Kind::Pwre,
            Packet::Pwrx { .. } => Kind::Pwrx,
            Packet::Bbp { .. } => Kind::Bbp,
            Packet::Bip { .. } => Kind::Bip,
            Packet::Bep { .. } => Kind::Bep,
            Packet::Cfe { .. } => Kind::Cfe,
            Packet::Evd { .. } => Kind::Evd,
            Packet::Trig { .. } => Kind::Trig,
        }
    }

    /// The IP of a TIP, TIP.PGE, TIP.PGD or FUP.
    #[inline]
    pub const fn ip(&self) -> Option<&Ip> {
        match self {
            Packet::Tip(ip) | Packet::TipPge(ip) | Packet::TipPgd(ip) | Packet::Fup(ip) => Some(ip),
            _ => None,
        }
    }
}
