//! Raw streams of a watched node: a processor model each, whose bytes go to a writer as they come.

use std::io::{self, Write};

use crate::hw::{Hw, Watch};
use crate::pt::{Clock, Mode, Pt};
use crate::rng::Rng;

/// Bytes are handed on in such pieces.
const PIECE: usize = 1 << 18;

/// Writes the stream of each cpu. An error of a writer is kept for [`finish`](Streams::finish).
pub struct Streams<W> {
    cpus: Vec<(Pt, W)>,
    failed: Option<io::Error>,
}

impl<W: Write> Streams<W> {
    /// Streams of cpus that begin at `tsc` in root operation, with their CR3 and writer.
    pub fn new(mode: &Mode, clock: Clock, seed: u64, tsc: i64, cpus: impl IntoIterator<Item = (u64, W)>) -> Self {
        let mut rng = Rng::new(seed);
        let cpus = cpus.into_iter().map(|(cr3, out)| (Pt::new(mode.clone(), clock, rng.fork(), tsc, cr3), out));
        Streams { cpus: cpus.collect(), failed: None }
    }

    /// The trace ends at `tsc`: gives back the writers, and how many bytes went to each.
    pub fn finish(mut self, tsc: i64) -> io::Result<Vec<(W, u64)>> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        for (pt, out) in &mut self.cpus {
            pt.end(tsc);
            out.write_all(&pt.out)?;
            out.flush()?;
        }
        Ok(self.cpus.into_iter().map(|(pt, out)| (out, pt.bytes)).collect())
    }
}

impl<W: Write> Watch for Streams<W> {
    fn see(&mut self, cpu: usize, tsc: i64, hw: &Hw) {
        let (pt, out) = &mut self.cpus[cpu];
        match *hw {
            Hw::HostCr3 { cr3 } | Hw::GuestCr3 { cr3, .. } => pt.cr3(tsc, cr3),
            Hw::Load { vmcs } => pt.load(tsc, Some(vmcs)),
            Hw::Enter { cr3, clock, ip, .. } => pt.enter(tsc, cr3, clock, ip),
            Hw::Exit { host_cr3, reason, ip, .. } => pt.exit(tsc, host_cr3, reason, ip),
            Hw::Sleep => pt.sleep(tsc),
            Hw::Wake => pt.wake(tsc),
            Hw::Switch { .. } | Hw::Wakeup { .. } => {}
        }
        if pt.out.len() >= PIECE {
            if self.failed.is_none()
                && let Err(error) = out.write_all(&pt.out)
            {
                self.failed = Some(error);
            }
            pt.out.clear();
        }
    }
}
