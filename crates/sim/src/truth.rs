//! The exact truth as text: a line for each thing that happened, comma separated, addresses hexadecimal, TSC decimal.
//!
//! | line | what |
//! | --- | --- |
//! | `S,cpu,tsc,nonroot,vmcs,cr3` | state of each cpu at the start |
//! | `T,tid,VM/vcpuN` | the thread of a vCPU |
//! | `C,cpu,tsc,nonroot,vmcs,cr3,rip` | MOV CR3 |
//! | `P,cpu,tsc,vmcs` | VMPTRLD |
//! | `E,cpu,tsc,vmcs,guest_cr3,guest_rip,tsc_offset,injected_event` | VM entry |
//! | `X,cpu,tsc,vmcs,basic_reason,guest_cr3,guest_rip,qualification,vector` | VM exit |
//! | `H,cpu,tsc,how`, `W,cpu,tsc` | sleep, wake |
//! | `R,cpu,tsc,value` | the driver writes IA32_RTIT_CTL; bit 0: the trace is on |
//! | `O,cpu,tsc,1`, `O,cpu,tsc,0` | packets are lost from here on; up to here, and OVF says so |
//! | `M,cpu,tsc,nonroot,vmcs,cr3,1006,0` | the end |
//! | `K,cpu,tsc,switch,prev_tid,prev_state,next_tid`, `K,cpu,tsc,wake,tid,target_cpu` | the scheduler |

use std::io::{self, Write};

use crate::hw::{Hw, Watch};
use crate::node::Task;

/// The marker of the end.
const END: u32 = 1006;

/// Writes the truth down. An error of the writer is kept for [`finish`](Truth::finish).
pub struct Truth<W> {
    out: W,
    vmcs: Vec<u64>,
    failed: Option<io::Error>,
}

impl<W: Write> Truth<W> {
    /// The truth of a node whose cpus begin at `tsc` in root operation with these CR3s; its vCPUs' threads and names.
    pub fn new(mut out: W, tsc: i64, cr3: &[u64], threads: &[Task]) -> io::Result<Self> {
        for (tid, name) in threads.iter().filter_map(|t| Some((t.tid, t.role.as_ref()?))) {
            writeln!(out, "T,{tid},{name}")?;
        }
        for (cpu, cr3) in cr3.iter().enumerate() {
            writeln!(out, "S,{cpu},{tsc},0,0,{cr3:x}")?;
        }
        Ok(Truth { out, vmcs: vec![0; cr3.len()], failed: None })
    }

    /// All is written: the node was watched up to `tsc`.
    pub fn finish(mut self, tsc: i64) -> io::Result<W> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        for cpu in 0..self.vmcs.len() {
            writeln!(self.out, "M,{cpu},{tsc},0,{:x},0,{END},0", self.vmcs[cpu])?;
        }
        self.out.flush()?;
        Ok(self.out)
    }

    fn line(&mut self, cpu: usize, tsc: i64, hw: &Hw) -> io::Result<()> {
        let loaded = self.vmcs[cpu];
        let out = &mut self.out;
        match *hw {
            Hw::HostCr3 { cr3 } => writeln!(out, "C,{cpu},{tsc},0,{loaded:x},{cr3:x},0"),
            Hw::GuestCr3 { vmcs, cr3 } => writeln!(out, "C,{cpu},{tsc},1,{vmcs:x},{cr3:x},0"),
            Hw::Load { vmcs } => {
                self.vmcs[cpu] = vmcs;
                writeln!(out, "P,{cpu},{tsc},{vmcs:x}")
            }
            Hw::Enter { vmcs, cr3, clock, ip } => {
                writeln!(out, "E,{cpu},{tsc},{vmcs:x},{cr3:x},{ip:x},{:x},0", clock.offset)
            }
            Hw::Exit { vmcs, reason, cr3, ip, .. } => {
                writeln!(out, "X,{cpu},{tsc},{vmcs:x},{reason},{cr3:x},{ip:x},0,0")
            }
            Hw::Sleep => writeln!(out, "H,{cpu},{tsc},2"),
            Hw::Wake => writeln!(out, "W,{cpu},{tsc}"),
            Hw::Switch { from, runnable, to } => {
                writeln!(out, "K,{cpu},{tsc},switch,{from},{},{to}", if runnable { "R" } else { "S" })
            }
            Hw::Wakeup { tid } => writeln!(out, "K,{cpu},{tsc},wake,{tid},{cpu}"),
            Hw::Overflow => writeln!(out, "O,{cpu},{tsc},1"),
            Hw::OverflowEnds => writeln!(out, "O,{cpu},{tsc},0"),
            Hw::TraceOff { .. } => writeln!(out, "R,{cpu},{tsc},0"),
            Hw::TraceOn => writeln!(out, "R,{cpu},{tsc},1"),
            Hw::Ended { .. } => Ok(()),
        }
    }
}

impl<W: Write> Watch for Truth<W> {
    fn see(&mut self, cpu: usize, tsc: i64, hw: &Hw) {
        if self.failed.is_none()
            && let Err(error) = self.line(cpu, tsc, hw)
        {
            self.failed = Some(error);
        }
    }
}
