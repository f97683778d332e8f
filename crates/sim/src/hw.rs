//! What happens on a node, as its processors see it: the one language between the model of a host and those who watch.

use crate::pt::GuestClock;

/// One thing that a processor does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Hw {
    /// MOV CR3 in root operation.
    HostCr3 {
        /// The new value, PCID and all.
        cr3: u64,
    },
    /// MOV CR3 in a guest.
    GuestCr3 {
        /// The guest's VMCS.
        vmcs: u64,
        /// The new value.
        cr3: u64,
    },
    /// VMPTRLD.
    Load {
        /// The VMCS.
        vmcs: u64,
    },
    /// VM entry.
    Enter {
        /// The VMCS.
        vmcs: u64,
        /// The guest's CR3.
        cr3: u64,
        /// Its clock.
        clock: GuestClock,
        /// Its next instruction.
        ip: u64,
    },
    /// VM exit.
    Exit {
        /// The VMCS.
        vmcs: u64,
        /// Basic reason (SDM, appendix C).
        reason: u16,
        /// The guest's CR3.
        cr3: u64,
        /// The host's, which holds from here on.
        host_cr3: u64,
        /// The guest's last instruction.
        ip: u64,
    },
    /// The processor goes to sleep.
    Sleep,
    /// And wakes.
    Wake,
    /// The scheduler gives the processor to another thread.
    Switch {
        /// From whom; 0 is the idle thread.
        from: i32,
        /// It would have run on.
        runnable: bool,
        /// To whom.
        to: i32,
    },
    /// A thread may run again.
    Wakeup {
        /// Which.
        tid: i32,
    },
    /// The processor makes more packets than it can write: from here on they are lost.
    Overflow,
    /// It can write again, and says that some were lost.
    OverflowEnds,
    /// The driver turns the trace off, in root operation.
    TraceOff {
        /// The ring is full.
        full: bool,
    },
    /// And on.
    TraceOn,
    /// A thread is no more.
    Ended {
        /// Which.
        tid: i32,
    },
}

/// Somebody who watches a node. Things come in the order of time.
pub trait Watch {
    /// A processor does something at this TSC.
    fn see(&mut self, cpu: usize, tsc: i64, hw: &Hw);
}

/// Somebody, or nobody.
impl<W: Watch> Watch for Option<W> {
    fn see(&mut self, cpu: usize, tsc: i64, hw: &Hw) {
        if let Some(watch) = self {
            watch.see(cpu, tsc, hw);
        }
    }
}

impl<A: Watch, B: Watch> Watch for (A, B) {
    fn see(&mut self, cpu: usize, tsc: i64, hw: &Hw) {
        self.0.see(cpu, tsc, hw);
        self.1.see(cpu, tsc, hw);
    }
}
