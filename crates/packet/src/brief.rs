//! Packets of a fixed layout, as bits: what there are many of is handed on without being taken apart.

use havana_leap::What;

use crate::{Kind, Packet};

/// A packet of a kind that there are many of: CYC, MTC, TSC, MODE, PIP, VMCS, CBR, TMA, PSBEND, OVF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brief {
    /// Where it begins in the bytes.
    pub offset: usize,
    /// How long it is.
    pub len: u8,
    /// Which packet.
    pub kind: Kind,
    /// The bytes behind its opcode, as a little-endian number; the cycles of a CYC.
    pub payload: u64,
}

impl Brief {
    /// The packet.
    #[inline]
    pub fn packet(&self) -> Packet {
        let payload = self.payload;
        match self.kind {
            Kind::Cyc => Packet::Cyc { cycles: payload },
            Kind::Mtc => Packet::Mtc { ctc: payload as u8 },
            Kind::Tsc => Packet::Tsc { tsc: payload },
            Kind::Pip => Packet::Pip { cr3: payload >> 1 << 5, nr: payload & 1 == 1 },
            Kind::Vmcs => Packet::Vmcs { base: payload << 12 },
            Kind::Cbr => Packet::Cbr { ratio: payload as u8 },
            Kind::Tma => Packet::Tma { ctc: payload as u16, fc: (payload >> 24) as u16 & 0x1ff },
            Kind::ModeExec => {
                Packet::ModeExec { cs_l: payload & 1 == 1, cs_d: payload & 2 == 2, if_flag: payload & 4 == 4 }
            }
            Kind::ModeTsx => Packet::ModeTsx { in_tx: payload & 1 == 1, abort: payload & 2 == 2 },
            Kind::PsbEnd => Packet::PsbEnd,
            Kind::Ovf => Packet::Ovf,
            _ => unreachable!("{} has no brief", self.kind),
        }
    }
}

/// Where the payload of a packet is in its first eight bytes, and what it means beside.
pub(crate) struct Layout {
    pub(crate) kind: Kind,
    pub(crate) len: u8,
    /// Bits before it, and which are its.
    pub(crate) skip: u8,
    pub(crate) bits: u64,
    /// Where one of these is set, it may be damage.
    pub(crate) odd: u64,
    pub(crate) ends_psb_plus: bool,
    /// It tells what a FUP before it was of, outside PSB+.
    pub(crate) ends_fup: bool,
}

impl Layout {
    /// Of a payload with a bit of `odd`: whether it is damage.
    pub(crate) fn is_odd(&self, payload: u64) -> bool {
        match self.kind {
            Kind::Tma => true,
            // Two leaves are known, and both their bits at once are none.
            _ => payload >> 5 > 1 || payload & 0b11 == 0b11,
        }
    }

    /// Which of two kinds share an opcode.
    #[inline]
    pub(crate) fn kind_of(&self, payload: u64) -> Kind {
        if self.kind == Kind::ModeExec && payload >> 5 == 1 { Kind::ModeTsx } else { self.kind }
    }
}

const fn layout(kind: Kind, opcode: u8, len: u8) -> Layout {
    Layout {
        kind,
        len,
        skip: 8 * opcode,
        bits: match len - opcode {
            0 => 0,
            bytes => u64::MAX >> (64 - 8 * bytes as u32),
        },
        odd: 0,
        ends_psb_plus: false,
        ends_fup: false,
    }
}

/// By [`What`]. Those that are passed over have none.
pub(crate) static LAYOUT: [Layout; 16] = {
    let none = layout(Kind::Pad, 1, 1);
    let mut table = [const { layout(Kind::Pad, 1, 1) }; 16];
    table[What::Tip as usize] = none;
    table[What::Cyc as usize] = layout(Kind::Cyc, 0, 1);
    table[What::Mtc as usize] = layout(Kind::Mtc, 1, 2);
    table[What::Tsc as usize] = layout(Kind::Tsc, 1, 8);
    table[What::Mode as usize] = Layout { odd: 0b1110_0011, ..layout(Kind::ModeExec, 1, 2) };
    table[What::Pip as usize] = Layout { ends_fup: true, ..layout(Kind::Pip, 2, 8) };
    table[What::Vmcs as usize] = layout(Kind::Vmcs, 2, 7);
    table[What::Cbr as usize] = layout(Kind::Cbr, 2, 4);
    table[What::Tma as usize] = Layout { odd: 0xfe_00ff_0000, ..layout(Kind::Tma, 2, 7) };
    table[What::PsbEnd as usize] = Layout { ends_psb_plus: true, ..layout(Kind::PsbEnd, 2, 2) };
    table[What::Ovf as usize] = Layout { ends_psb_plus: true, ends_fup: true, ..layout(Kind::Ovf, 2, 2) };
    table
};
