//! Rows as they were told, and what must hold of them whatever the bytes were.

use std::collections::HashMap;
use std::convert::Infallible;

use havana_packet::{BadReason, Decoder};
use havana_rows::{
    CpuState, Exit, Loss, LossCause, Process, Sink, Taker, TakerKind, Thread, Time, Vcpu, VcpuState, Vm, VmOffset,
};
use havana_timeline::{Analysis, Summary, Survey, errata_of};
use havana_trace::Trace;

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Rows {
    pub(crate) cpu_states: Vec<CpuState>,
    pub(crate) vcpu_states: Vec<VcpuState>,
    pub(crate) exits: Vec<Exit>,
    pub(crate) losses: Vec<Loss>,
    pub(crate) vms: Vec<Vm>,
    pub(crate) vm_offsets: Vec<VmOffset>,
    pub(crate) vcpus: Vec<Vcpu>,
    pub(crate) processes: Vec<Process>,
    pub(crate) threads: Vec<Thread>,
}

impl Rows {
    pub(crate) fn count(&self) -> usize {
        self.cpu_states.len()
            + self.vcpu_states.len()
            + self.exits.len()
            + self.losses.len()
            + self.vm_offsets.len()
            + self.vms.len()
            + self.vcpus.len()
            + self.processes.len()
    }
}

macro_rules! takes {
    ($($method:ident: $row:ty => $table:ident),+ $(,)?) => {
        impl Rows {
            /// Says where these rows of every packet are not those of the envelope.
            pub(crate) fn must_equal(&self, envelope: &Rows) -> Result<(), String> {
                $(
                    let (these, those) = (&self.$table, &envelope.$table);
                    if these != those {
                        let at = these.iter().zip(those).take_while(|(a, b)| a == b).count();
                        let (table, a, b) = (stringify!($table), these.get(at), those.get(at));
                        return Err(format!("{table}, row {at}: {a:?} of every packet, {b:?} of the envelope"));
                    }
                )+
                Ok(())
            }
        }

        impl Sink for Rows {
            type Error = Infallible;
            $(fn $method(&mut self, row: $row) -> Result<(), Infallible> {
                self.$table.push(row);
                Ok(())
            })+
        }
    };
}

takes! {
    cpu_state: CpuState => cpu_states,
    vcpu_state: VcpuState => vcpu_states,
    exit: Exit => exits,
    loss: Loss => losses,
    vm: Vm => vms,
    vm_offset: VmOffset => vm_offsets,
    vcpu: Vcpu => vcpus,
    process: Process => processes,
    thread: Thread => threads,
}

/// The whole timeline over a trace.
pub(crate) fn analyze(trace: &Trace) -> (Rows, Summary) {
    analyzed(trace, &Survey::of(trace))
}

/// The same from every packet, and not from the envelope alone.
pub(crate) fn analyze_every_packet(trace: &Trace) -> Rows {
    analyzed(trace, &Survey::of(trace).every_packet()).0
}

fn analyzed(trace: &Trace, survey: &Survey) -> (Rows, Summary) {
    let mut rows = Rows::default();
    let summary = match Analysis::new(trace, survey, None).run(&mut rows, &mut |_| ()) {
        Ok(summary) => summary,
        Err(never) => match never {},
    };
    (rows, summary)
}

macro_rules! must {
    ($holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err(format!($($what)+));
        }
    };
}

/// All that must hold of the rows of any trace.
pub(crate) fn sound(trace: &Trace, rows: &Rows, summary: &Summary) -> Result<(), String> {
    let bytes: u64 = trace.streams.iter().map(|s| s.len()).sum();
    must!(rows.count() as u64 <= 4 * bytes + 64, "{} rows of {bytes} bytes", rows.count());
    whole(trace, rows)?;
    silence(trace, rows, summary)
}

/// What must hold of rows whatever of the trace is missing, too.
pub(crate) fn whole(trace: &Trace, rows: &Rows) -> Result<(), String> {
    times(rows)?;
    ids(trace, rows)?;
    apart(rows)
}

/// lo ≤ tsc ≤ hi, and start ≤ end.
fn times(rows: &Rows) -> Result<(), String> {
    let bounded = |t: &Time| t.lo <= t.tsc && t.tsc <= t.hi;
    for r in &rows.cpu_states {
        must!(bounded(&r.start) && bounded(&r.end) && r.start.tsc <= r.end.tsc, "times of {r:?}");
    }
    for r in &rows.vcpu_states {
        must!(bounded(&r.start) && bounded(&r.end) && r.start.tsc <= r.end.tsc, "times of {r:?}");
    }
    for r in &rows.exits {
        must!(bounded(&r.exit), "times of {r:?}");
        must!(r.entry.is_none_or(|t| bounded(&t) && t.tsc <= r.exit.tsc), "entry after exit: {r:?}");
        let after = |t: Time| bounded(&t) && (r.reentry_cpu != Some(r.cpu) || r.exit.tsc <= t.tsc);
        must!(r.reentry.is_none_or(after), "reentry before exit: {r:?}");
        must!(r.reentry.is_some() == r.reentry_cpu.is_some(), "{r:?}");
    }
    for r in &rows.losses {
        must!(r.start_tsc <= r.end_tsc, "times of {r:?}");
    }
    for r in &rows.vm_offsets {
        must!(bounded(&r.tsc_offset) && r.start_tsc <= r.end_tsc, "times of {r:?}");
    }
    for r in &rows.vms {
        must!(r.tsc_offset.is_none_or(|t| bounded(&t)) && r.first_tsc <= r.last_tsc, "times of {r:?}");
    }
    for r in &rows.vcpus {
        must!(0 <= r.guest_lo_tsc && r.guest_lo_tsc <= r.guest_hi_tsc, "guest time of {r:?}");
        must!(r.first_tsc <= r.last_tsc, "times of {r:?}");
    }
    for r in &rows.processes {
        must!(r.first_tsc <= r.last_tsc, "times of {r:?}");
    }
    Ok(())
}

/// Whatever a row names is told, and belongs to whom the row says.
fn ids(trace: &Trace, rows: &Rows) -> Result<(), String> {
    let vm_of_vcpu = |v: i32| rows.vcpus.get(v as usize).map(|v| v.vm_id);
    let vm_of_process = |p: i32| rows.processes.get(p as usize).map(|p| p.vm_id);
    let vm = |vm: i32| rows.vms.get(vm as usize).is_some_and(|v| v.vm_id == vm);
    must!(rows.vcpus.iter().enumerate().all(|(i, v)| v.vcpu_id == i as i32 && vm(v.vm_id)), "vcpus");
    must!(
        rows.processes.iter().enumerate().all(|(i, p)| p.process_id == i as i32 && p.vm_id.is_none_or(vm)),
        "processes"
    );
    must!(rows.vms.iter().enumerate().all(|(i, v)| v.vm_id == i as i32), "vms");
    must!(rows.vm_offsets.iter().all(|o| vm(o.vm_id)), "vm_offsets");
    let cpu = |cpu: i32| trace.streams.iter().any(|s| s.cpu as i32 == cpu);
    for r in &rows.cpu_states {
        must!(cpu(r.cpu), "{r:?}");
        must!(r.vcpu_id.map(vm_of_vcpu) == r.vm_id.map(Some), "{r:?}");
        let of = r.vm_id.filter(|_| r.state == havana_rows::CpuStateKind::Guest);
        must!(r.process_id.is_none_or(|p| vm_of_process(p) == Some(of)), "{r:?}");
    }
    for r in &rows.vcpu_states {
        must!(r.cpu.is_none_or(cpu) && vm_of_vcpu(r.vcpu_id) == Some(r.vm_id), "{r:?}");
        must!(r.process_id.is_none_or(|p| vm_of_process(p) == Some(Some(r.vm_id))), "{r:?}");
        let taken = match r.taken_by {
            Some(Taker { kind: TakerKind::Vm, id: Some(id) }) => vm(id),
            Some(Taker { kind: TakerKind::Host, id: Some(id) }) => vm_of_process(id) == Some(None),
            Some(Taker { kind: TakerKind::Vm, id: None }) => false,
            Some(Taker { kind: TakerKind::Host, id: None }) | None => true,
        };
        must!(taken, "{r:?}");
    }
    let mut seen = vec![false; rows.exits.len()];
    for r in &rows.exits {
        must!(cpu(r.cpu) && vm_of_vcpu(r.vcpu_id) == Some(r.vm_id), "{r:?}");
        must!(vm_of_process(r.process_id) == Some(Some(r.vm_id)), "{r:?}");
        let slot = seen.get_mut(r.exit_id as usize);
        must!(slot.is_some_and(|s| !std::mem::replace(s, true)), "exit_id of {r:?}");
    }
    for r in &rows.losses {
        let stream = trace.streams.iter().find(|s| s.name == r.source && s.cpu as i32 == r.cpu);
        let inside = |s: &havana_trace::Stream| {
            r.offset_bytes >= 0 && r.bytes >= 0 && (r.offset_bytes + r.bytes) as u64 <= s.file().len() as u64
        };
        must!(stream.is_some_and(inside), "{r:?}");
    }
    Ok(())
}

/// Every instant of a cpu is in one row, and no instant of a vCPU in two.
fn apart(rows: &Rows) -> Result<(), String> {
    let mut ends: HashMap<i32, Time> = HashMap::new();
    for r in &rows.cpu_states {
        if let Some(end) = ends.insert(r.cpu, r.end) {
            must!(end.tsc == r.start.tsc, "cpu rows do not join: {end:?}, {r:?}");
        }
    }
    let mut vcpus: Vec<&VcpuState> = rows.vcpu_states.iter().collect();
    vcpus.sort_by_key(|r| (r.vcpu_id, r.start.tsc, r.end.tsc));
    for w in vcpus.windows(2) {
        must!(w[0].vcpu_id != w[1].vcpu_id || w[0].end.tsc <= w[1].start.tsc, "vCPU rows overlap: {w:?}");
    }
    Ok(())
}

/// Bytes that are no packets are in `losses`, unless their cpu has no time at all, which the summary says.
fn silence(trace: &Trace, rows: &Rows, summary: &Summary) -> Result<(), String> {
    let errata = errata_of(trace.facts.cpu);
    for stream in &trace.streams {
        if summary.timeless.contains(&stream.cpu) {
            must!(rows.cpu_states.iter().all(|r| r.cpu != stream.cpu as i32), "cpu {} has no time", stream.cpu);
            continue;
        }
        let losses: Vec<&Loss> = rows.losses.iter().filter(|l| l.source == stream.name).collect();
        let told = |offset: usize, len: usize, causes: &[LossCause]| {
            losses.iter().any(|l| {
                l.offset_bytes <= offset as i64
                    && (offset + len) as i64 <= l.offset_bytes + l.bytes
                    && causes.contains(&l.cause)
            })
        };
        let decoder = Decoder::new(stream.file()).with_errata(errata);
        let before = decoder.offset();
        must!(
            before == 0 || told(0, before, &[LossCause::BeforeSync]),
            "{before} bytes before the first PSB in silence"
        );
        for item in decoder {
            if let Err(reason) = item.what
                && reason != BadReason::Erratum
            {
                // Before the first known time whole stretches may be told as one.
                let causes = &[LossCause::Damaged, LossCause::Truncated, LossCause::BeforeSync];
                must!(told(item.offset, item.len, causes), "in silence on cpu {}: {item:x?}", stream.cpu);
            }
        }
    }
    Ok(())
}
