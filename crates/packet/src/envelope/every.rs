//! Every packet: all of a thousand bytes are listed at once, and handed on.

use havana_leap::{LISTED, Listing, MOST_LISTED, What};

use super::{End, Envelope, Take, WINDOW, is_plain_psb, may_follow_psb, word_at};
use crate::brief::brief;
use crate::psb::PSB;
use crate::{Ip, Item, Kind, Packet, State};

impl Envelope<'_> {
    /// Lists every packet as long as all is ordinary.
    #[inline]
    pub(super) fn lists_all(&mut self, take: &mut impl Take) -> End {
        let bytes = self.walk.bytes.get(..self.walk.end).unwrap_or_default();
        loop {
            if let Some(end) = self.list_all(bytes, take) {
                return end;
            }
            // What is not listed, or not to be taken for what it seems without a closer look.
            let offset = self.walk.pos;
            if offset >= bytes.len() {
                self.walk.limit = offset;
                return End::Bytes;
            }
            if bytes[offset..].starts_with(&PSB[..2]) && !is_plain_psb(bytes, offset) {
                return End::Odd;
            }
            match self.decode(bytes, offset) {
                None | Some((Packet::Bbp { .. }, _)) => return End::Odd,
                Some((packet, next)) => {
                    self.walk.pos = next;
                    if !take.item(Item { offset, len: next - offset, what: Ok(packet) }) {
                        return End::Enough;
                    }
                }
            }
        }
    }

    #[inline]
    fn list_all(&mut self, bytes: &[u8], take: &mut impl Take) -> Option<End> {
        while !self.one {
            let from = self.walk.pos;
            let window = bytes.get(from..)?.first_chunk::<WINDOW>()?;
            let list = self.leaper.list(bytes, from, MOST_LISTED, Listing::Runs)?;
            let next = from + list.next;
            if may_follow_psb(bytes, next) {
                return None;
            }
            let State { errata, mut last_ip, mut psb_plus, .. } = self.walk.state;
            let mut stopped = None;
            for (at, end, what) in list.runs() {
                if what <= What::Tnt as u8 {
                    let kind = if what == What::Tnt as u8 { Kind::Tnt8 } else { Kind::Pad };
                    if let Some(taken) = take.run(kind, from + at, window.get(at..end).unwrap_or_default()) {
                        stopped = Some((from + at + taken, Some(End::Enough)));
                        break;
                    }
                    continue;
                }
                let word = word_at(window, at);
                let Some(mut brief) = brief(&errata, from + at, what, word) else {
                    stopped = Some((from + at, None));
                    break;
                };
                // No branch of a program tells an IP packet from a TNT: a processor would guess wrong too often.
                let ipc = word as u8 >> 5;
                let is_ip = u64::from(what >= What::Tip as u8 && what <= What::TipPgd as u8).wrapping_neg();
                let said = Ip::said(ipc) & is_ip;
                last_ip = (last_ip & !said) | (word >> 8 & said);
                brief.payload = (last_ip & is_ip) | (brief.payload & !is_ip);
                brief.len += (2 * ipc) & is_ip as u8;
                psb_plus &= what < What::PsbEnd as u8;
                if !take.brief(brief) {
                    stopped = Some((from + at + usize::from(brief.len), Some(End::Enough)));
                    break;
                }
            }
            (self.walk.state.last_ip, self.walk.state.psb_plus) = (last_ip, psb_plus);
            if let Some((at, end)) = stopped {
                self.walk.pos = at;
                return end;
            }
            self.walk.pos = next;
            if list.next < MOST_LISTED * LISTED {
                break;
            }
        }
        None
    }
}
