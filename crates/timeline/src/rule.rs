//! The rules that the hardware imposes, by name, each of which a test can take away.
//!
//! Where the code follows one it asks [`holds`], which is `true`: a constant, and nothing is left of it. With the feature
//! `faults`, which is for tests alone, one analysis can be made `without` a rule, and a test sees whether its loss is
//! noticed.

macro_rules! rules {
    ($($(#[$doc:meta])+ $name:ident = $section:literal,)+) => {
        /// A rule.
        #[allow(unreachable_pub, reason = "public with the feature alone")]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Rule { $($(#[$doc])+ $name,)+ }

        #[cfg(feature = "faults")]
        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Rule] = &[$(Rule::$name,)+];

            /// Where the design says it: 1 transitions, 2 VMCS, 3 order, 4 time, 5 guests' clocks, 6 VMs, 7 CR3, 8 states
            /// in root, 9 losses, 10 errata, 11 newer processors, 13 recording.
            pub const fn section(self) -> u8 {
                match self { $(Rule::$name => $section,)+ }
            }
        }
    };
}

rules! {
    /// NR decides: 0→1 is a VM entry, 1→0 a VM exit.
    NrDecides = 1,
    /// 1→1 is a CR3 write in the guest, and no entry.
    GuestWritesCr3 = 1,
    /// A CR3 of which only PCID or KPTI's half changed is no switch.
    HalfIsNoSwitch = 1,
    /// After a loss a PIP gives NR and CR3, and not how they came about.
    LossHidesHow = 1,
    /// Base address all ones: no VMCS is loaded.
    AllOnesIsNone = 2,
    /// A VMCS stays loaded while other processes of the host run.
    VmcsStays = 2,
    /// PSB+ names the loaded VMCS.
    PsbNamesVmcs = 2,
    /// A VMCS whose exits return to another host CR3 is another vCPU.
    VmcsIsReused = 2,
    /// What stands in PSB+ is state, and no event.
    PsbIsState = 3,
    /// PSB+ is read to its end before its TSC is judged.
    PsbIsWhole = 3,
    /// OVF ends PSB+ too.
    OvfEndsPsb = 3,
    /// MTC and CYC in PSB+ are real time.
    PsbTimesAreReal = 3,
    /// FUP before an exit's PIP is the guest's instruction.
    FupIsGuests = 3,
    /// Each event has bounds, and not its estimate alone.
    Bounds = 4,
    /// MTC tells time.
    MtcTells = 4,
    /// A CYC right before a packet dates it.
    CycDates = 4,
    /// No MTC edge passes an awake cpu without its MTC: what is missing is sleep.
    SleepGaps = 4,
    /// A TSC made in non-root operation is the guest's.
    GuestTsc = 5,
    /// Each TSC of a guest narrows its offset.
    Bracketing = 5,
    /// A sample that contradicts the offset starts another clock.
    OffsetChanges = 5,
    /// Samples on a line are of a scaled clock.
    OffsetScales = 5,
    /// vCPUs of one VM mostly share their offset.
    OffsetIsShared = 5,
    /// TMA counts the host's crystal in a guest too.
    TmaIsHosts = 5,
    /// The clock bits that TMA lacks are found.
    TmaLacksBits = 5,
    /// VMCSs whose exits return to one host CR3 are one VM.
    VmIsHostCr3 = 6,
    /// CR3 without PCID and half names an address space.
    MaskCr3 = 7,
    /// A guest's CR3 is one process within its VM only.
    KeyHasVm = 7,
    /// After an exit the VM's host CR3 is the hypervisor's, until another is loaded.
    Hypervisor = 8,
    /// Idle keeps the last CR3: it goes before hypervisor.
    IdleGoesFirst = 8,
    /// A vCPU that halted waits.
    HaltWaits = 8,
    /// A switch record says whether a thread could have run on.
    SwitchTells = 8,
    /// A loss is an interval.
    LossIsInterval = 9,
    /// After a loss the VMCS is not known.
    LossHidesVmcs = 9,
    /// Missing MTCs around a pause of the trace are no sleep.
    PauseIsNoSleep = 9,
    /// SKZ84: a guest's TMA is corrupt.
    Skz84 = 10,
    /// SKL168: the MTC right before a PSB may be missing.
    Skl168 = 10,
    /// Event Trace names the reason of an exit.
    EventsName = 11,
    /// Power events tell sleep.
    PowerTells = 11,
    /// VMCS packets and never NR = 1: guests are hidden.
    GuestsHidden = 13,
}

/// Whether a rule is followed.
#[cfg(not(feature = "faults"))]
#[inline(always)]
pub(crate) const fn holds(_: Rule) -> bool {
    true
}

#[cfg(feature = "faults")]
mod faults {
    use std::cell::Cell;

    use super::Rule;

    thread_local! {
        static WITHOUT: Cell<Option<Rule>> = const { Cell::new(None) };
    }

    /// Whether a rule is followed in this thread.
    #[inline]
    pub(crate) fn holds(rule: Rule) -> bool {
        WITHOUT.get() != Some(rule)
    }

    /// Does something, an analysis from its survey on, without a rule.
    pub fn without<T>(rule: Option<Rule>, f: impl FnOnce() -> T) -> T {
        let before = WITHOUT.replace(rule);
        let done = f();
        WITHOUT.set(before);
        done
    }
}

#[cfg(feature = "faults")]
pub(crate) use faults::holds;
#[cfg(feature = "faults")]
pub use faults::without;
