//! How long a packet is that is passed over, by its first byte (SDM, "Packet Definitions").

/// First byte of the packets with two opcode bytes: of note.
pub(crate) const NOTE: u8 = 0x02;

/// Bytes from a packet's first to the next packet; 0 for what is of note.
pub(crate) static STEP: [u8; 256] = {
    let mut table = [0; 256];
    let mut first = 0;
    while first < 256 {
        table[first] = step(first as u8);
        first += 1;
    }
    table
};

const fn step(first: u8) -> u8 {
    // By IPBytes: none, and two and four bytes of IP.
    const IP: [u8; 8] = [1, 3, 5, 0, 0, 0, 0, 0];
    match first {
        NOTE => 0,
        // PAD, short TNT.
        _ if first & 1 == 0 => 1,
        // TIP, TIP.PGE, TIP.PGD. Those that say more of the IP are few.
        _ if matches!(first & 0x1f, 0x0d | 0x11 | 0x01) => IP[(first >> 5) as usize],
        _ => 0,
    }
}
