//! The last IP (SDM, "IP Compression") where packets are passed over.
//!
//! A whole IP is of note, so the upper half of the last IP is always known. The lower half is found when it is asked for, from
//! the packets before: a few steps back there is one of four bytes.

use havana_leap::step;

use super::Envelope;
use crate::{Ip, State, decode_one};

const LOWER: u64 = 0xffff_ffff;

impl Envelope<'_> {
    /// Finds the lower half of the last IP before the packet at `at`.
    #[cold]
    pub(super) fn find_ip(&mut self, at: usize) {
        let from = std::mem::replace(&mut self.ip_at, at);
        let bytes = self.walk.bytes;
        let (mut known, mut ip, mut end) = (0, 0, at);
        while known != LOWER && end > from {
            let Some(begin) = self.leaper.entry_before(end, from) else { break };
            let (bits, value) = lower_ip(bytes.get(begin..end).unwrap_or_default());
            ip |= value & !known;
            known |= bits;
            end = begin;
        }
        self.walk.state.last_ip = ip | (self.walk.state.last_ip & !known);
    }
}

/// What these packets say of the lower half of the last IP: which bits, and their values. None of them says more.
fn lower_ip(bytes: &[u8]) -> (u64, u64) {
    let (mut known, mut ip, mut at) = (0, 0, 0);
    while let Some(rest) = bytes.get(at..)
        && let [first, ip_bytes @ ..] = rest
    {
        let is_fup = first & 0x1f == 0x1d;
        let len = match step(*first) {
            0 if is_fup => 1 + usize::from(Ip::len(first >> 5)),
            0 => decode_one(rest, &mut State::default()).map_or(1, |(_, len)| len),
            len => len,
        };
        if let (3 | 5, true, Some(said)) = (len, is_fup || step(*first) > 1, ip_bytes.get(..len - 1)) {
            let bits = Ip::said(first >> 5);
            let value = said.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
            (known, ip) = (known | bits, (ip & !bits) | value);
        }
        at += len;
    }
    (known, ip)
}
