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
use crate::node::Node;

/// The marker of the end.
const END: u32 = 1006;
/// Bytes of lines that are written at once.
const ENOUGH: usize = 1 << 16;

/// Writes the truth down. An error of the writer is kept for [`finish`](Truth::finish).
pub struct Truth<W> {
    out: W,
    lines: Lines,
    vmcs: Vec<u64>,
    failed: Option<io::Error>,
}

impl<W: Write> Truth<W> {
    /// The truth of a node that is about to be run.
    pub fn new(mut out: W, node: &Node) -> io::Result<Self> {
        let (tsc, cr3) = (node.begin(), node.host_cr3());
        for (tid, name) in node.tasks().iter().filter_map(|t| Some((t.tid, t.role.as_ref()?))) {
            writeln!(out, "T,{tid},{name}")?;
        }
        for (cpu, cr3) in cr3.iter().enumerate() {
            writeln!(out, "S,{cpu},{tsc},0,0,{cr3:x}")?;
        }
        Ok(Truth { out, lines: Lines::default(), vmcs: vec![0; cr3.len()], failed: None })
    }

    /// All is written: the node was watched up to `tsc`.
    pub fn finish(mut self, tsc: i64) -> io::Result<W> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.flush()?;
        for cpu in 0..self.vmcs.len() {
            writeln!(self.out, "M,{cpu},{tsc},0,{:x},0,{END},0", self.vmcs[cpu])?;
        }
        self.out.flush()?;
        Ok(self.out)
    }

    fn line(&mut self, cpu: usize, tsc: i64, hw: &Hw) -> io::Result<()> {
        let loaded = self.vmcs[cpu];
        let lines = &mut self.lines;
        match *hw {
            Hw::HostCr3 { cr3 } => lines.begin("C", cpu, tsc).text(",0").hex(loaded).hex(cr3).text(",0\n"),
            Hw::GuestCr3 { vmcs, cr3 } => lines.begin("C", cpu, tsc).text(",1").hex(vmcs).hex(cr3).text(",0\n"),
            Hw::Load { vmcs } => {
                self.vmcs[cpu] = vmcs;
                lines.begin("P", cpu, tsc).hex(vmcs).text("\n")
            }
            Hw::Enter { vmcs, cr3, clock, ip } => {
                lines.begin("E", cpu, tsc).hex(vmcs).hex(cr3).hex(ip).hex(clock.offset.cast_unsigned()).text(",0\n")
            }
            Hw::Exit { vmcs, reason, cr3, ip, .. } => {
                lines.begin("X", cpu, tsc).hex(vmcs).decimal(reason.into()).hex(cr3).hex(ip).text(",0,0\n")
            }
            Hw::Sleep => lines.begin("H", cpu, tsc).text(",2\n"),
            Hw::Wake => lines.begin("W", cpu, tsc).text("\n"),
            Hw::Switch { from, runnable, to } => {
                let state = if runnable { ",R" } else { ",S" };
                lines
                    .begin("K", cpu, tsc)
                    .text(",switch")
                    .decimal(from.into())
                    .text(state)
                    .decimal(to.into())
                    .text("\n")
            }
            Hw::Wakeup { tid } => {
                lines.begin("K", cpu, tsc).text(",wake").decimal(tid.into()).decimal(cpu as i64).text("\n")
            }
            Hw::Overflow => lines.begin("O", cpu, tsc).text(",1\n"),
            Hw::OverflowEnds => lines.begin("O", cpu, tsc).text(",0\n"),
            Hw::TraceOff { .. } => lines.begin("R", cpu, tsc).text(",0\n"),
            Hw::TraceOn => lines.begin("R", cpu, tsc).text(",1\n"),
            Hw::Ended { .. } => return Ok(()),
        };
        if self.lines.0.len() >= ENOUGH { self.flush() } else { Ok(()) }
    }

    /// Hands on what was gathered.
    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.lines.0)?;
        self.lines.0.clear();
        Ok(())
    }
}

/// Lines that are not yet written. There are millions a second, and `write!` would be most of the cost.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn text(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    fn begin(&mut self, kind: &str, cpu: usize, tsc: i64) -> &mut Self {
        self.text(kind).decimal(cpu as i64).decimal(tsc)
    }

    /// A comma, and a number in decimal.
    fn decimal(&mut self, number: i64) -> &mut Self {
        self.text(if number < 0 { ",-" } else { "," });
        let mut rest = number.unsigned_abs();
        self.digits(|| {
            let digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            (digit, rest == 0)
        })
    }

    /// A comma, and a number in hexadecimal.
    fn hex(&mut self, mut rest: u64) -> &mut Self {
        self.text(",");
        self.digits(|| {
            let digit = b"0123456789abcdef"[(rest & 0xf) as usize];
            rest >>= 4;
            (digit, rest == 0)
        })
    }

    /// Digits, of which the lowest comes first, until one is the last.
    fn digits(&mut self, mut next: impl FnMut() -> (u8, bool)) -> &mut Self {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            let (digit, last) = next();
            at -= 1;
            digits[at] = digit;
            if last {
                break;
            }
        }
        self.0.extend_from_slice(&digits[at..]);
        self
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
