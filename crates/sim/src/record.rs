//! The trace of a watched node, as files: raw streams, a processor model each, whose bytes go to a writer as they come;
//! or a perf.data.

use std::io::{self, Seek, Write};

use crate::hw::{Hw, Watch};
use crate::node::Node;
use crate::perf::PerfData;
use crate::pt::{Clock, Mode, Pt};
use crate::rng::Rng;
use crate::scenario::{Form, Scenario};

/// A trace in the form that its scenario asks for.
pub enum Recording<W: Write + Seek> {
    /// Streams of packets, and what they do not say.
    Raw(Streams<W>),
    /// A perf.data.
    Perf(Box<PerfData<W>>),
}

impl<W: Write + Seek> Recording<W> {
    /// The recording of a node that is about to be run. Files are made by their names.
    ///
    /// # Errors
    /// Those of `create` and of what it made.
    pub fn new<E: From<io::Error>>(
        scenario: &Scenario,
        node: &Node,
        mut create: impl FnMut(&str) -> Result<W, E>,
    ) -> Result<Self, E> {
        if scenario.trace.form == Form::Perf {
            let out = create("perf.data")?;
            return Ok(Recording::Perf(Box::new(PerfData::new(out, scenario, node)?)));
        }
        let mut facts = create("trace.toml")?;
        facts.write_all(scenario.facts().as_bytes())?;
        facts.flush()?;
        let mut files = Vec::new();
        for (cpu, cr3) in node.host_cr3().into_iter().enumerate() {
            files.push((cr3, create(&format!("cpu{cpu}.pt"))?));
        }
        Ok(Recording::Raw(Streams::new(&scenario.mode(), scenario.clock(), scenario.node.seed, node.begin(), files)))
    }

    /// The trace ends at `tsc`: how many bytes there are of it.
    ///
    /// # Errors
    /// The writers' own.
    pub fn finish(self, tsc: i64) -> io::Result<u64> {
        match self {
            Recording::Raw(streams) => Ok(streams.finish(tsc)?.iter().map(|(_, bytes)| bytes).sum()),
            Recording::Perf(perf) => perf.finish(tsc).map(|(_, bytes)| bytes),
        }
    }
}

impl<W: Write + Seek> Watch for Recording<W> {
    fn see(&mut self, cpu: usize, tsc: i64, hw: &Hw) {
        match self {
            Recording::Raw(streams) => streams.see(cpu, tsc, hw),
            Recording::Perf(perf) => perf.see(cpu, tsc, hw),
        }
    }
}

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
        pt.see(tsc, hw);
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
