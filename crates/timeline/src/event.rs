//! What happened on a cpu, and when: what the tracks of the cpus hand to the machine.

use havana_rows::{LossCause, Time};

use crate::sure::Share;

/// Which VMCS is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loaded {
    Vmcs(u64),
    /// None, after VMCLEAR.
    Nothing,
    /// Not known; a later PSB+ may tell, if no VMCS packet stands between.
    Unknown(u32),
}

impl Loaded {
    pub(crate) fn vmcs(self) -> Option<u64> {
        match self {
            Loaded::Vmcs(v) => Some(v),
            _ => None,
        }
    }
}

/// Why an exit was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Why {
    /// Basic exit reason (SDM, appendix C).
    pub(crate) reason: u16,
    /// An event says so; else KVM went to the handler of that reason.
    pub(crate) seen: bool,
}

/// One thing that happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum What {
    /// A known time, for the sure bounds; not an event.
    Known,
    Entry {
        cr3: u64,
        host_cr3: Option<u64>,
        loaded: Loaded,
        /// The interrupt that the guest takes first.
        vector: Option<u8>,
    },
    Exit {
        host_cr3: u64,
        guest_ip: Option<u64>,
        reason: Option<Why>,
    },
    GuestCr3(u64),
    HostCr3(u64),
    Load(Loaded),
    /// The cpu begins to sleep. `seen`: a packet says so, and it does not only follow from missing MTCs.
    Sleep {
        seen: bool,
    },
    Wake,
    Lost {
        cause: LossCause,
        offset: u64,
        bytes: u64,
    },
    /// The trace goes on, in a state not known.
    Resume,
    /// The trace goes on, or begins, in this state.
    Found {
        nr: bool,
        cr3: u64,
        host_cr3: Option<u64>,
        loaded: Loaded,
    },
    End,
}

/// What a track hands on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Told {
    Event { at: Time, what: What },
    Share(Share),
}
