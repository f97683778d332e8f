//! Packets by their first bytes (SDM, "Packet Definitions"), as far as these tell their length.

use crate::What;

/// First byte of the packets with two opcode bytes.
pub(crate) const EXTENDED: u8 = 0x02;

/// Bytes from a packet's first to the next packet, of those that are passed over by leaps; 0 for what is of note.
pub(crate) static STEP: [u8; 256] = {
    let mut table = [0; 256];
    let mut first = 0;
    while first < 256 {
        let entry = FIRST[first];
        if entry >> 4 <= What::TipPgd as u8 {
            table[first] = entry & 0xf;
        }
        first += 1;
    }
    table
};

/// What a packet is and how long, by its first byte: `what << 4 | length`. Length 0: it says neither. A CYC has here the
/// length of its first byte.
pub(crate) static FIRST: [u8; 256] = {
    let mut table = [0; 256];
    let mut first = 0;
    while first < 256 {
        table[first] = one(first as u8);
        first += 1;
    }
    table
};

/// The same by the byte behind `02`.
pub(crate) static SECOND: [u8; 256] = {
    let mut table = [0; 256];
    table[0x43] = is(What::Pip, 8);
    table[0xc8] = is(What::Vmcs, 7);
    table[0x03] = is(What::Cbr, 4);
    table[0x73] = is(What::Tma, 7);
    table[0x23] = is(What::PsbEnd, 2);
    table[0xf3] = is(What::Ovf, 2);
    table
};

const fn is(what: What, len: u8) -> u8 {
    (what as u8) << 4 | len
}

const fn one(first: u8) -> u8 {
    match first {
        0x00 => is(What::Pad, 1),
        EXTENDED => 0,
        _ if first & 1 == 0 => is(What::Tnt, 1),
        _ if first & 0b11 == 0b11 => is(What::Cyc, 1),
        0x19 => is(What::Tsc, 8),
        0x59 => is(What::Mtc, 2),
        0x99 => is(What::Mode, 2),
        _ => {
            // By IPBytes: none, two and four bytes of IP. Those that say more of the IP are few, and of note.
            let len = match first >> 5 {
                0 => 1,
                1 => 3,
                2 => 5,
                _ => return 0,
            };
            match first & 0x1f {
                0x0d => is(What::Tip, len),
                0x11 => is(What::TipPge, len),
                0x01 => is(What::TipPgd, len),
                _ => 0,
            }
        }
    }
}
