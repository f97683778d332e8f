//! Rows at random, for tests.

use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use crate::{
    CpuState, CpuStateKind, Evidence, Exit, Finding, FindingKind, FindingSpan, Lod, LodExits, Loss, LossCause, Process,
    Severity, State, Taker, TakerKind, Thread, ThreadKind, Time, TrackKind, Vcpu, VcpuState, VcpuStateKind, Vm,
    VmOffset,
};

fn tick() -> impl Strategy<Value = i64> {
    prop_oneof![0..1000i64, any::<i64>()]
}

fn time() -> impl Strategy<Value = Time> {
    (tick(), any::<i64>(), any::<i64>()).prop_map(|(tsc, lo, hi)| Time { tsc, lo, hi })
}

fn id() -> impl Strategy<Value = i32> {
    prop_oneof![0..4i32, any::<i32>()]
}

fn address() -> impl Strategy<Value = i64> {
    prop_oneof![Just(0x1000), any::<i64>()]
}

fn ratio() -> impl Strategy<Value = Option<f64>> {
    of(-2.0..2.0f64)
}

fn text() -> impl Strategy<Value = String> {
    "[a-zä/ ]{0,6}"
}

prop_compose! {
    pub(super) fn cpu_state()(
        cpu in id(), start in time(), end in time(), state in select(CpuStateKind::ALL),
        evidence in select(Evidence::ALL), vm_id in of(id()), vcpu_id in of(id()), process_id in of(id()),
        host_cr3 in of(address()), guest_cr3 in of(address()), tid in of(id()),
    ) -> CpuState {
        CpuState { cpu, start, end, state, evidence, vm_id, vcpu_id, process_id, host_cr3, guest_cr3, tid }
    }
}

prop_compose! {
    pub(super) fn vcpu_state()(
        vcpu_id in id(), vm_id in id(), start in time(), end in time(), state in select(VcpuStateKind::ALL),
        evidence in select(Evidence::ALL), cpu in of(id()), process_id in of(id()),
        taken_by in of((select(TakerKind::ALL), of(id()))), taken_by_tid in of(id()),
    ) -> VcpuState {
        let taken_by = taken_by.map(|(kind, id)| Taker { kind, id });
        VcpuState { vcpu_id, vm_id, start, end, state, evidence, cpu, process_id, taken_by, taken_by_tid }
    }
}

prop_compose! {
    fn exit_ids()(exit_id in id(), vcpu_id in id(), vm_id in id(), cpu in id(), process_id in id()) -> [i32; 5] {
        [exit_id, vcpu_id, vm_id, cpu, process_id]
    }
}

prop_compose! {
    pub(super) fn exit()(
        [exit_id, vcpu_id, vm_id, cpu, process_id] in exit_ids(), entry in of(time()), exit in time(),
        reentry in of(time()), reentry_cpu in of((id(), of(id()))), guest_cr3 in address(), reason in of((id(), select(Evidence::ALL))),
        guest_ip in of(address()), evidence in select(Evidence::ALL),
    ) -> Exit {
        let (reason, reason_evidence) = reason.unzip();
        let (reentry_cpu, reentry_vector) = reentry_cpu.unzip();
        let reentry_vector = reentry_vector.flatten();
        Exit {
            exit_id, vcpu_id, vm_id, cpu, entry, exit, reentry, reentry_cpu, reentry_vector, guest_cr3, process_id, reason,
            reason_evidence, guest_ip, evidence,
        }
    }
}

prop_compose! {
    pub(super) fn vm()(
        vm_id in id(), host_cr3 in address(), first_tsc in tick(), last_tsc in tick(), tsc_offset in of(time()),
        tsc_scale in ratio(), name in of(text()), uuid in of(text()), pid in of(id()),
    ) -> Vm {
        Vm { vm_id, host_cr3, first_tsc, last_tsc, tsc_offset, tsc_scale, name, uuid, pid }
    }
}

prop_compose! {
    pub(super) fn vm_offset()(
        vm_id in id(), start_tsc in tick(), end_tsc in tick(), tsc_offset in time(), tsc_scale in ratio(),
    ) -> VmOffset {
        VmOffset { vm_id, start_tsc, end_tsc, tsc_offset, tsc_scale }
    }
}

prop_compose! {
    pub(super) fn vcpu()(
        vcpu_id in id(), vm_id in id(), vmcs in address(), first_tsc in tick(), last_tsc in tick(),
        guest_lo_tsc in tick(), guest_hi_tsc in tick(), index in of(id()), tid in of(id()), name in of(text()),
    ) -> Vcpu {
        Vcpu { vcpu_id, vm_id, vmcs, first_tsc, last_tsc, guest_lo_tsc, guest_hi_tsc, index, tid, name }
    }
}

prop_compose! {
    pub(super) fn process()(
        process_id in id(), vm_id in of(id()), cr3 in address(), first_tsc in tick(), last_tsc in tick(),
        evidence in select(Evidence::ALL), name in of(text()),
    ) -> Process {
        Process { process_id, vm_id, cr3, first_tsc, last_tsc, evidence, name }
    }
}

prop_compose! {
    pub(super) fn thread()(
        tid in id(), pid in id(), kind in select(ThreadKind::ALL), first_tsc in tick(), last_tsc in tick(),
        name in of(text()), vm_id in of(id()), vcpu_id in of(id()),
    ) -> Thread {
        Thread { tid, pid, kind, first_tsc, last_tsc, name, vm_id, vcpu_id }
    }
}

prop_compose! {
    pub(super) fn loss()(
        cpu in id(), start_tsc in tick(), end_tsc in tick(), cause in select(LossCause::ALL), source in text(),
        offset_bytes in tick(), bytes in tick(),
    ) -> Loss {
        Loss { cpu, start_tsc, end_tsc, cause, source, offset_bytes, bytes }
    }
}

prop_compose! {
    fn who()(vm_id in of(id()), vcpu_id in of(id()), process_id in of(id())) -> [Option<i32>; 3] {
        [vm_id, vcpu_id, process_id]
    }
}

prop_compose! {
    pub(super) fn finding()(
        finding_id in id(), kind in select(FindingKind::ALL), severity in select(Severity::ALL), score in 0.0..1.0f64,
        sure in 0.0..1.0f64, title in text(), [vm_id, vcpu_id, process_id] in who(), start_tsc in of(tick()),
        end_tsc in of(tick()),
    ) -> Finding {
        Finding { finding_id, kind, severity, score, sure, title, vm_id, vcpu_id, process_id, start_tsc, end_tsc }
    }
}

prop_compose! {
    pub(super) fn finding_span()(
        finding_id in id(), cpu in of(id()), vcpu_id in of(id()), process_id in of(id()), start_tsc in tick(),
        end_tsc in tick(),
    ) -> FindingSpan {
        FindingSpan { finding_id, cpu, vcpu_id, process_id, start_tsc, end_tsc }
    }
}

prop_compose! {
    pub(super) fn lod()(
        level in id(), tile in tick(), track_kind in select(TrackKind::ALL), track_id in id(), vcpu_id in of(id()), bucket_start_tsc in tick(),
        bucket_end_tsc in tick(), state in select(State::ALL), evidence in select(Evidence::ALL),
        by in of((select(TakerKind::ALL), of(id()))), (busy_tsc, count) in (tick(), tick()),
    ) -> Lod {
        let by = by.map(|(kind, id)| Taker { kind, id });
        Lod { level, tile, track_kind, track_id, vcpu_id, bucket_start_tsc, bucket_end_tsc, state, evidence, by, busy_tsc, count }
    }
}

prop_compose! {
    pub(super) fn lod_exits()(
        level in id(), tile in tick(), vcpu_id in id(), vm_id in id(), bucket_start_tsc in tick(), reason in of(id()),
        latency_class in of(id()), latency_tsc in tick(), count in tick(),
    ) -> LodExits {
        LodExits { level, tile, vcpu_id, vm_id, bucket_start_tsc, reason, latency_class, latency_tsc, count }
    }
}
