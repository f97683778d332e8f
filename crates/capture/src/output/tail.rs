//! The end of a cpu's trace so far: a file that goes on after another begins each cpu at a PSB that lies in it.
//!
//! The driver starts the trace anew only when the event is opened anew, so a file cannot begin where another ended: a
//! decoder would find nothing before the next PSB, and would not know who runs. What is written twice so is small, and
//! the file says from when on it is to be counted.

use memchr::memmem::Finder;

/// PSB (SDM vol. 3, Intel Processor Trace, table of packets): eight times these two bytes.
pub(super) const PSB: [u8; 16] = {
    let mut psb = [0x02; 16];
    let mut i = 1;
    while i < 16 {
        psb[i] = 0x82;
        i += 2;
    }
    psb
};

/// So many bytes are kept: more than a processor writes while all cpus are told to say what they have.
const KEPT: usize = 64 << 10;

/// The last bytes of a stream.
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    /// Place of their end in the stream.
    end: u64,
}

impl Tail {
    /// A piece of it came.
    pub(super) fn add(&mut self, at: u64, bytes: [&[u8]; 2]) {
        if at != self.end {
            self.bytes.clear();
        }
        let len = bytes[0].len() + bytes[1].len();
        self.end = at + len as u64;
        for piece in bytes {
            let piece = &piece[piece.len().saturating_sub(KEPT)..];
            let over = (self.bytes.len() + piece.len()).saturating_sub(KEPT);
            self.bytes.drain(..over);
            self.bytes.extend(piece);
        }
    }

    /// From its first PSB on: the place in the stream, and the bytes.
    pub(super) fn since_psb(&self) -> Option<(u64, Vec<u8>)> {
        let at = Finder::new(&PSB).find(&self.bytes)?;
        let bytes = self.bytes[at..].to_vec();
        Some((self.end - bytes.len() as u64, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_begins_at_a_psb_wherever_pieces_end() {
        let mut stream = vec![0x99; 500];
        stream.extend(PSB);
        stream.extend([0x55; 1000]);
        for cut in [1, 400, 505, 515, 516, 1200] {
            let mut tail = Tail::default();
            tail.add(7, [&stream[..cut / 2], &stream[cut / 2..cut]]);
            tail.add(7 + cut as u64, [&stream[cut..], &[]]);
            assert_eq!(tail.since_psb(), Some((507, stream[500..].to_vec())), "{cut}");
        }
        let mut tail = Tail::default();
        tail.add(0, [&stream, &[]]);
        // Something is missing between.
        tail.add(10_000, [&[1], &[]]);
        assert_eq!(tail.since_psb(), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut tail = Tail::default();
        let piece = [&PSB[..], &[0; 40_000]].concat();
        for i in 0..10 {
            tail.add(i * piece.len() as u64, [&piece, &[]]);
        }
        assert_eq!(tail.bytes.len(), KEPT);
        let (at, bytes) = tail.since_psb().unwrap();
        assert_eq!((at, bytes.len()), (9 * piece.len() as u64, piece.len()));
    }
}
