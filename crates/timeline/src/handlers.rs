//! Why an exit was, where no event says so: the first address that KVM goes to after it and that lies in the handler of
//! one reason only.
//!
//! Needs branches and the host's symbols. KVM calls handlers through a table (`kvm_vmx_exit_handlers` in Linux,
//! arch/x86/kvm/vmx/vmx.c), which leaves a TIP at the handler's begin; those it calls directly are seen when something they called
//! returns to them, unless the processor compresses returns. So what is told is right, and not all is told.

/// Where the handlers of exit reasons are in a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handlers {
    /// From, to, basic exit reason; ascending.
    ranges: Vec<(u64, u64, u16)>,
}

/// Functions that only exits of one basic reason (SDM, appendix C) come to, in Linux 4.14 to 6.12.
const HANDLERS: &[(&str, u16)] = &[
    ("handle_exception", 0),
    ("handle_exception_nmi", 0),
    ("handle_external_interrupt", 1),
    ("handle_external_interrupt_irqoff", 1),
    ("vmx_handle_external_intr", 1),
    ("vmx_do_interrupt_irqoff", 1),
    ("handle_triple_fault", 2),
    ("handle_interrupt_window", 7),
    ("handle_nmi_window", 8),
    ("handle_task_switch", 9),
    ("handle_cpuid", 10),
    ("kvm_emulate_cpuid", 10),
    ("handle_halt", 12),
    ("kvm_emulate_halt", 12),
    ("kvm_emulate_invd", 13),
    ("handle_invlpg", 14),
    ("handle_rdpmc", 15),
    ("kvm_emulate_rdpmc", 15),
    ("handle_vmcall", 18),
    ("kvm_emulate_hypercall", 18),
    ("handle_cr", 28),
    ("handle_dr", 29),
    ("handle_io", 30),
    ("handle_rdmsr", 31),
    ("kvm_emulate_rdmsr", 31),
    ("handle_wrmsr", 32),
    ("kvm_emulate_wrmsr", 32),
    ("handle_fastpath_set_msr_irqoff", 32),
    ("handle_mwait", 36),
    ("kvm_emulate_mwait", 36),
    ("handle_monitor_trap", 37),
    ("handle_monitor", 39),
    ("kvm_emulate_monitor", 39),
    ("handle_pause", 40),
    ("handle_machine_check", 41),
    ("handle_tpr_below_threshold", 43),
    ("handle_apic_access", 44),
    ("handle_apic_eoi_induced", 45),
    ("handle_ept_violation", 48),
    ("handle_ept_misconfig", 49),
    ("handle_preemption_timer", 52),
    ("handle_fastpath_preemption_timer", 52),
    ("kvm_lapic_expired_hv_timer", 52),
    ("handle_wbinvd", 54),
    ("kvm_emulate_wbinvd", 54),
    ("handle_xsetbv", 55),
    ("kvm_emulate_xsetbv", 55),
    ("handle_apic_write", 56),
    ("handle_invpcid", 58),
    ("handle_vmfunc", 59),
    ("handle_encls", 60),
    ("handle_pml_full", 62),
    ("handle_bus_lock_vmexit", 74),
    ("handle_notify", 75),
];

impl Handlers {
    /// Of the text of `/proc/kallsyms`. `None` where it names none of them, or hides addresses (`kptr_restrict`).
    pub fn of_kallsyms(text: &str) -> Option<Handlers> {
        let mut symbols: Vec<(u64, Option<u16>)> = text.lines().filter_map(symbol).collect();
        symbols.sort_unstable();
        let mut ranges: Vec<(u64, u64, u16)> = Vec::new();
        for (at, &(from, reason)) in symbols.iter().enumerate() {
            // Two names of one place are one function.
            let to = symbols[at..].iter().map(|symbol| symbol.0).find(|next| *next > from);
            if let (Some(reason), Some(to)) = (reason, to) {
                ranges.push((from, to, reason));
            }
        }
        ranges.dedup();
        (!ranges.is_empty()).then_some(Handlers { ranges })
    }

    /// The reason whose handler this address lies in.
    pub(crate) fn reason(&self, ip: u64) -> Option<u16> {
        let at = self.ranges.partition_point(|range| range.0 <= ip);
        let (_, to, reason) = *self.ranges.get(at.checked_sub(1)?)?;
        (ip < to).then_some(reason)
    }
}

/// `ffffffffc0321e90 t handle_io.cold [kvm_intel]`: its address, and of which reason it is.
fn symbol(line: &str) -> Option<(u64, Option<u16>)> {
    let mut words = line.split_ascii_whitespace();
    let (address, kind, name) = (words.next()?, words.next()?, words.next()?);
    let address = u64::from_str_radix(address, 16).ok().filter(|address| *address != 0)?;
    let kvm = words.next().is_none_or(|module| module == "[kvm_intel]" || module == "[kvm]");
    // The compiler cuts functions up: `.cold`, `.part.0`, `.isra.0`.
    let whole = name.split_once('.').map_or(name, |(whole, _)| whole);
    let code = matches!(kind, "t" | "T");
    let reason = HANDLERS.iter().find(|handler| code && kvm && handler.0 == whole).map(|handler| handler.1);
    Some((address, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_ends_where_the_next_symbol_begins() {
        let text = "ffffffffc0003000 t handle_io\t[kvm_intel]\nffffffffc0003200 t other\t[kvm_intel]\n\
                    ffffffffc0001000 T kvm_emulate_halt\t[kvm]\nffffffffc0001010 t kvm_emulate_halt.part.0\t[kvm]\n\
                    ffffffffc0001020 d handle_dr\t[kvm]\nffffffffa0000000 t handle_io\t[usb]\nnot a line\n";
        let handlers = Handlers::of_kallsyms(text).unwrap();
        let told = |ip: u64| handlers.reason(0xffff_ffff_c000_0000 + ip);
        assert_eq!([told(0x3000), told(0x31ff), told(0x3200), told(0xfff)], [Some(30), Some(30), None, None]);
        assert_eq!([told(0x1000), told(0x101f), told(0x1020)], [Some(12), Some(12), None]);
        assert_eq!(handlers.reason(0xffff_ffff_a000_0000), None);
    }

    #[test]
    fn symbols_without_addresses_tell_nothing() {
        assert_eq!(Handlers::of_kallsyms("0000000000000000 t handle_io\t[kvm_intel]\n"), None);
        assert_eq!(Handlers::of_kallsyms("ffffffff81000000 T _text\nffffffff81000010 T start\n"), None);
    }
}
