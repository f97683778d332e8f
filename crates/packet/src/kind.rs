//! The kinds of packets and their names (SDM, "Packet Definitions"; one variant per packet, MODE by leaf, TNT by size).
//!
//! The names are what `havana packets` prints and accepts; they never change.

use std::fmt;

macro_rules! kinds {
    ($($variant:ident $name:literal $doc:literal,)*) => {
        /// What a packet is, without its payload.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Kind {
            $(#[doc = $doc] $variant,)*
        }

        impl Kind {
            /// Every kind, each at its [`index`](Kind::index).
            pub const ALL: [Kind; [$($name),*].len()] = [$(Kind::$variant),*];

            /// The kind's name, as in `tip.pge`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Kind::$variant => $name,)*
                }
            }
        }
    };
}

kinds! {
    Pad "pad" "PAD: nothing, one byte long.",
    Psb "psb" "PSB: Packet Stream Boundary, where a decoder can synchronise.",
    PsbEnd "psbend" "PSBEND: the end of PSB+.",
    Tip "tip" "TIP: the target of an indirect branch, exception or interrupt.",
    TipPge "tip.pge" "TIP.PGE: packet generation goes on, at this IP.",
    TipPgd "tip.pgd" "TIP.PGD: packet generation stops.",
    Fup "fup" "FUP: Flow Update, the source IP of what comes next.",
    Tnt8 "tnt8" "Short TNT: one to six branches taken or not.",
    Tnt64 "tnt64" "Long TNT: one to 47 branches taken or not.",
    Pip "pip" "PIP: Paging Information, CR3 and whether it is a guest's.",
    Vmcs "vmcs" "VMCS: the control structure that is loaded.",
    Tsc "tsc" "TSC: the time stamp counter; in a guest, the guest's.",
    Tma "tma" "TMA: what CTC was at the TSC before it.",
    Mtc "mtc" "MTC: eight bits of the core crystal clock.",
    Cyc "cyc" "CYC: core cycles since the last CYC.",
    Cbr "cbr" "CBR: Core:Bus Ratio.",
    ModeExec "mode.exec" "MODE.Exec: address size and interrupt flag.",
    ModeTsx "mode.tsx" "MODE.TSX: a transaction begins, commits or aborts.",
    Ovf "ovf" "OVF: packets were lost in the processor.",
    Stop "stop" "TraceStop: the trace entered a stop region.",
    Mnt "mnt" "MNT: Maintenance, model specific.",
    Ptw "ptw" "PTW: what a PTWRITE instruction wrote.",
    Exstop "exstop" "EXSTOP: execution stopped.",
    Mwait "mwait" "MWAIT: an MWAIT deeper than C0.0.",
    Pwre "pwre" "PWRE: a C-state is entered.",
    Pwrx "pwrx" "PWRX: a C-state was left.",
    Bbp "bbp" "BBP: Block Begin.",
    Bip "bip" "BIP: Block Item.",
    Bep "bep" "BEP: Block End.",
    Cfe "cfe" "CFE: Control Flow Event, as a VM exit or an interrupt.",
    Evd "evd" "EVD: Event Data, as a VM exit's reason.",
    Trig "trig" "TRIG: a trigger fired.",
}

impl Kind {
    /// Where the kind stands in [`ALL`](Kind::ALL), for tables of counts.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it bounds who runs: what a trace without branches still holds (design: "envelope").
    pub const fn is_envelope(self) -> bool {
        matches!(
            self,
            Kind::Psb
                | Kind::PsbEnd
                | Kind::Pip
                | Kind::Vmcs
                | Kind::Tsc
                | Kind::Tma
                | Kind::Mtc
                | Kind::Cyc
                | Kind::Cbr
                | Kind::ModeExec
                | Kind::ModeTsx
                | Kind::Ovf
                | Kind::Stop
                | Kind::Exstop
                | Kind::Mwait
                | Kind::Pwre
                | Kind::Pwrx
                | Kind::Cfe
                | Kind::Evd
        )
    }

    /// Whether an [`Envelope`](crate::Envelope) may leave it out: branches, where they lead from and to, and padding.
    pub const fn is_passed_over(self) -> bool {
        matches!(self, Kind::Pad | Kind::Tnt8 | Kind::Tip | Kind::TipPge | Kind::TipPgd | Kind::Fup)
    }

    /// Whether it carries an IP and so takes part in last-IP compression.
    pub const fn has_ip(self) -> bool {
        matches!(self, Kind::Tip | Kind::TipPge | Kind::TipPgd | Kind::Fup)
    }

    /// Whether it tells of time.
    pub const fn is_timing(self) -> bool {
        matches!(self, Kind::Tsc | Kind::Tma | Kind::Mtc | Kind::Cyc | Kind::Cbr)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_tsv() {
        let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(
            names.join(" "),
            "pad psb psbend tip tip.pge tip.pgd fup tnt8 tnt64 pip vmcs tsc tma mtc cyc cbr mode.exec mode.tsx ovf \
             stop mnt ptw exstop mwait pwre pwrx bbp bip bep cfe evd trig"
        );
    }

    #[test]
    fn name_and_index_lead_back() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(Kind::from_name(kind.name()), Some(kind));
            assert_eq!(kind.index(), index);
        }
        assert_eq!(Kind::from_name("bad"), None);
        assert_eq!(Kind::from_name("PSB"), None);
    }
}
