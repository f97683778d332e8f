//! Where a decoder can begin, and when that was: the PSB+ of a stream that the host made.
//!
//! Only its own bytes are believed. A PSB+ whose PIP says NR = 0 was made in root operation, and its TSC is the host's
//! (SDM vol. 3, Intel Processor Trace); one that a guest made has the guest's TSC, which dates nothing here. So a place
//! that is found is dated for sure, and between two of them any number of other PSBs may lie: a cpu that is in guests all
//! the time has few. A PSB that lies across two segments is passed over.
//!
//! A damaged TSC may look valid. One is believed when the next does not lie before it.

use std::collections::VecDeque;

use havana_packet::{Decoder, Errata, PSB, Packet, find_psb};
use havana_trace::Stream;

/// PSB+ is shorter than this.
const PSB_PLUS: usize = 512;

/// A PSB+ that the host made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begin {
    /// Bytes of the stream before it.
    pub(crate) at: u64,
    /// And up to its end.
    pub(crate) end: u64,
    /// Its TSC.
    pub(crate) tsc: i64,
}

/// The TSC of the PSB+ at the begin of `bytes`, and where it ends; `None` where not the host made it, or it is not whole.
pub(crate) fn of_host(bytes: &[u8], errata: Errata) -> Option<(i64, usize)> {
    let bytes = &bytes[..bytes.len().min(PSB_PLUS)];
    let (mut nr, mut tsc) = (None, None);
    for (i, item) in Decoder::new(bytes).with_errata(errata).enumerate() {
        match item.what.ok()? {
            Packet::Psb if i > 0 => return None,
            Packet::Pip { nr: made_in, .. } => nr = Some(made_in),
            Packet::Tsc { tsc: at } => tsc = Some(at as i64),
            Packet::PsbEnd | Packet::Ovf => {
                return tsc.filter(|_| nr == Some(false)).map(|tsc| (tsc, item.offset + item.len));
            }
            _ => {}
        }
    }
    None
}

/// Goes through a stream front to back, and knows the places of a stretch of it.
#[derive(Debug, Default)]
pub(crate) struct Begins {
    known: VecDeque<Begin>,
    /// The newest, which is not believed yet.
    doubt: Option<Begin>,
    /// There were some before them.
    forgot: bool,
    /// Where to look on: a segment, bytes of the stream before it, and the place in it.
    segment: usize,
    before: u64,
    at: usize,
    ended: bool,
}

impl Begins {
    /// Looks on until one is known that is not before `until`.
    pub(crate) fn scan(&mut self, stream: &Stream, errata: Errata, until: i64) {
        while !self.ended && self.known.back().is_none_or(|last| last.tsc < until) {
            match self.next(stream, errata) {
                Some(next) => self.hear(next),
                None => {
                    self.known.extend(self.doubt.take());
                    self.ended = true;
                }
            }
        }
    }

    fn next(&mut self, stream: &Stream, errata: Errata) -> Option<Begin> {
        while let Some(segment) = stream.segment(self.segment) {
            while let Some(psb) = find_psb(segment.bytes, self.at) {
                self.at = psb + PSB.len();
                if let Some((tsc, len)) = of_host(&segment.bytes[psb..], errata) {
                    let at = self.before + psb as u64;
                    return Some(Begin { at, end: at + len as u64, tsc });
                }
            }
            self.before += segment.bytes.len() as u64;
            self.segment += 1;
            self.at = 0;
        }
        None
    }

    fn hear(&mut self, next: Begin) {
        let last = self.known.back().map_or(i64::MIN, |last| last.tsc);
        match self.doubt {
            Some(doubt) if doubt.tsc <= next.tsc => {
                self.known.push_back(doubt);
                self.doubt = Some(next);
            }
            // One of the two is wrong. What goes on from what is known is right.
            _ if next.tsc >= last => self.doubt = Some(next),
            _ => {}
        }
    }

    /// Where to begin for what is from `tsc` on: the last place before that; the first that is not forgotten where there is
    /// none.
    pub(crate) fn before(&self, tsc: i64) -> u64 {
        let first = self.known.front().filter(|_| self.forgot).map_or(0, |begin| begin.at);
        self.known.iter().rev().find(|begin| begin.tsc <= tsc).map_or(first, |begin| begin.at)
    }

    /// Where all up to `tsc` has been read: the end of the first place after that. `None`: the end of the stream.
    pub(crate) fn after(&self, tsc: i64) -> Option<u64> {
        self.known.iter().find(|begin| begin.tsc >= tsc).map(|begin| begin.end)
    }

    /// Nobody will ask for anything before `tsc`.
    pub(crate) fn forget(&mut self, tsc: i64) {
        while self.known.get(1).is_some_and(|second| second.tsc <= tsc) {
            self.known.pop_front();
            self.forgot = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use havana_packet::encode;

    use super::*;

    fn plus(nr: Option<bool>, tsc: u64) -> Vec<u8> {
        let pip = nr.map(|nr| Packet::Pip { cr3: 0x1000, nr });
        let packets = [Some(Packet::Psb), pip, Some(Packet::Tsc { tsc }), Some(Packet::PsbEnd)];
        let mut bytes = Vec::new();
        for packet in packets.into_iter().flatten() {
            encode(&packet, &mut bytes).unwrap();
        }
        bytes
    }

    fn all(bytes: Vec<u8>, until: i64) -> Vec<(u64, i64)> {
        let stream = Stream::from_bytes(0, "a".into(), bytes);
        let mut begins = Begins::default();
        begins.scan(&stream, Errata::default(), until);
        begins.known.iter().map(|b| (b.at, b.tsc)).collect()
    }

    #[test]
    fn only_the_hosts_are_dated() {
        assert_eq!(of_host(&plus(Some(false), 70), Errata::default()), Some((70, plus(Some(false), 70).len())));
        for none in [plus(Some(true), 70), plus(None, 70), PSB.to_vec(), plus(Some(false), 70)[..20].to_vec(), vec![]] {
            assert_eq!(of_host(&none, Errata::default()), None);
        }
    }

    #[test]
    fn what_lies_between_is_read_with_the_one_before() {
        let host = |tsc| plus(Some(false), tsc);
        let guest = plus(Some(true), 5);
        let stream = [guest.clone(), host(100), guest.clone(), host(200), guest, host(300)].concat();
        let len = host(0).len() as u64;
        let stream = Stream::from_bytes(0, "a".into(), stream);
        let mut begins = Begins::default();
        begins.scan(&stream, Errata::default(), 1_000);
        assert!(begins.ended);
        assert_eq!([50, 100, 250].map(|tsc| begins.before(tsc)), [0, len, 3 * len]);
        assert_eq!([50, 200, 301].map(|tsc| begins.after(tsc)), [Some(2 * len), Some(4 * len), None]);
        begins.forget(250);
        assert_eq!(begins.before(250), 3 * len);
        assert_eq!(begins.known.len(), 2);
        assert_eq!(begins.before(50), 3 * len, "what is forgotten is not read again");
    }

    #[test]
    fn one_that_is_ahead_of_its_next_is_not_believed() {
        let bytes = [100, 200, 999_999, 300, 400].map(|tsc| plus(Some(false), tsc)).concat();
        let tscs = |until| all(bytes.clone(), until).iter().map(|(_, tsc)| *tsc).collect::<Vec<_>>();
        assert_eq!(tscs(1 << 40), [100, 200, 300, 400]);
        assert_eq!(tscs(150), [100, 200], "no further than needed");
        let behind = [100, 5, 200].map(|tsc| plus(Some(false), tsc)).concat();
        assert_eq!(all(behind, 1 << 40).iter().map(|(_, tsc)| *tsc).collect::<Vec<_>>(), [5, 200]);
    }
}
