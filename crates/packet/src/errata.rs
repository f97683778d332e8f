//! What some cpus get wrong in their traces (Intel specification updates, under the names of the first update that
//! listed each).
//!
//! Two of them change which bytes are a packet, so decoding heeds them: [`skz84`](Errata::skz84) and
//! [`skd007`](Errata::skd007). The others change only what packets mean; they are here for whoever reads meaning.

/// The errata of one cpu model. None by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Errata {
    /// SKZ84. A TMA made in a guest that runs with TSC offsetting or scaling has a corrupt CTC and FastCounter, and one
    /// bogus byte follows it.
    ///
    /// Decoding: a TMA with a reserved bit set is reported with the byte after it as [`BadReason::Erratum`], eight
    /// bytes, and decoding goes on right behind. So is a TMA in PSB+ that looks whole but has a CBR one byte too late,
    /// behind a byte that is no packet of PSB+. Corruption that leaves no such sign cannot be told here: a reader of
    /// meaning does well to take no TMA in non-root operation on these cpus for true.
    ///
    /// [`BadReason::Erratum`]: crate::BadReason::Erratum
    pub skz84: bool,
    /// SKD007 (SKL049, KBL041). An OVF may come after the first byte of a CYC of several bytes, in place of the rest.
    ///
    /// Decoding: the bytes then read as a two-byte CYC that ends in `02` and a one-byte CYC `f3`. Two CYCs in a row
    /// come only where the first has overflowed, so this is taken for the erratum: the first byte is reported as
    /// [`BadReason::Erratum`](crate::BadReason::Erratum), then the OVF.
    pub skd007: bool,
    /// SKL168. A CYC right before a PSB, perhaps with its MTC, may be dropped. Meaning only: at a PSB the bounds of the
    /// time since the last MTC widen by one CYC and one MTC period.
    pub skl168: bool,
    /// BDM70 (SKD024, SKL021, KBL021). A PSB+ before a TIP.PGE may hold a FUP and a MODE.Exec that do not belong there.
    /// Meaning only: an IP in PSB+ does not prove that packets were being generated.
    pub bdm70: bool,
    /// BDM64. A branch target right before a transactional abort may be wrong. Meaning only.
    pub bdm64: bool,
    /// SKD010 (SKD014, SKL033, KBL030). An OVF may not be followed by its FUP or TIP.PGE. Meaning only: what follows
    /// an OVF does not tell where the trace goes on.
    pub skd010: bool,
    /// SKD022 (SKL024, KBL023). A VM entry that clears TraceEn may put a FUP before the TIP.PGD. Meaning only: that FUP
    /// is no asynchronous event.
    pub skd022: bool,
    /// SKL014 (KBL014). A TIP.PGD by a direct branch out of a filter region may lack its IP. Meaning only.
    pub skl014: bool,
    /// APL11. An OVF may be followed by a TIP.PGD, where TraceEn or ContextEn went off meanwhile. Meaning only: an OVF
    /// may be the end of the trace or of its context.
    pub apl11: bool,
    /// APL12. An OVF outside of a filter region may be followed by a FUP that does not belong there. Meaning only.
    pub apl12: bool,
}

impl Errata {
    /// The errata of an Intel cpu by its CPUID family and model; none where the model is not known.
    ///
    /// No erratum of these is known to go away with a stepping; it is asked for so that one may.
    pub const fn for_cpu(family: u16, model: u8, stepping: u8) -> Errata {
        let _ = stepping;
        let none = Errata {
            skz84: false,
            skd007: false,
            skl168: false,
            bdm70: false,
            bdm64: false,
            skd010: false,
            skd022: false,
            skl014: false,
            apl11: false,
            apl12: false,
        };
        let core = Errata { bdm70: true, skl014: true, skd022: true, ..none };
        match (family, model) {
            // Broadwell.
            (6, 0x3d | 0x47 | 0x4f | 0x56) => Errata { bdm70: true, bdm64: true, ..none },
            // Skylake, Kaby Lake, Comet Lake: clients.
            (6, 0x4e | 0x5e | 0x8e | 0x9e | 0xa5 | 0xa6) => Errata { skd007: true, skd010: true, skl168: true, ..core },
            // Skylake to Granite Rapids: servers. Diamond Rapids has a family of its own.
            (6, 0x55 | 0x6a | 0x6c | 0x8f | 0xad | 0xae | 0xcf) | (0x13, 0x01) => Errata { skz84: true, ..core },
            // Cannon Lake, Ice Lake, Tiger Lake, Rocket Lake: clients.
            (6, 0x66 | 0x7d | 0x7e | 0x8c | 0x8d | 0xa7 | 0xa8) => core,
            // Alder Lake and later clients, with Atom cores beside the others.
            (6, 0x97 | 0x9a | 0xaa | 0xac | 0xb5 | 0xb7 | 0xba | 0xbd | 0xbf | 0xc5 | 0xc6 | 0xcc) => {
                Errata { apl11: true, ..core }
            }
            // Goldmont.
            (6, 0x5c | 0x5f) => Errata { apl11: true, apl12: true, ..none },
            // Goldmont Plus, Tremont, Gracemont, Crestmont, Darkmont.
            (6, 0x7a | 0x86 | 0x96 | 0x9c | 0xaf | 0xb6 | 0xdd) => Errata { apl11: true, ..none },
            _ => none,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_model() {
        let skylake_client = Errata::for_cpu(6, 0x5e, 3);
        assert!(skylake_client.skd007 && skylake_client.skl168 && !skylake_client.skz84);
        let skylake_server = Errata::for_cpu(6, 85, 4);
        assert!(skylake_server.skz84 && skylake_server.bdm70 && !skylake_server.skd007);
        assert!(Errata::for_cpu(6, 0x5c, 9).apl12);
        assert_eq!(Errata::for_cpu(6, 0x2a, 7), Errata::default());
        assert_eq!(Errata::for_cpu(25, 0x55, 1), Errata::default());
    }
}
