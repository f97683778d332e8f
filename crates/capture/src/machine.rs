//! What a file says of the machine, and of how it is recorded.

use havana_trace::perf_data::{About, Event, LONGEST_NOTE, MachineNote, PtBits, RecorderNote, Start, VmNote};
use rustix::time::{ClockId, clock_gettime};

use crate::host::{Pmu, tsc};
use crate::session::Session;
use crate::settings::{Mode, Precision, Settings};
use crate::{CaptureError, Host};

/// The machine. `command`: how it is recorded.
pub fn about(host: &Host, command: &[String]) -> About {
    let processor = host.processor();
    About {
        hostname: host.name(),
        os_release: host.release(),
        cpu_id: processor.id(),
        cpu_name: processor.name,
        command: command.to_vec(),
        cpus_online: host.online().len() as u32,
        thread_siblings: host.thread_siblings(),
        // A note at the beginning says it: a file may not come to its end.
        clock: None,
    }
}

/// The same, and how it is recorded, by which version of the program.
pub fn note(host: &Host, version: &str, (mode, precision): (Mode, Precision), about: &About) -> MachineNote {
    let About { hostname, os_release, cpu_name, cpu_id, command, cpus_online, thread_siblings, .. } = about.clone();
    MachineNote {
        version: version.into(),
        hostname,
        os_release,
        cpu_name,
        cpu_id,
        cpus: cpus_online,
        // A record holds so much of it.
        command: command.into_iter().take(256).map(|word| word.chars().take(128).collect()).collect(),
        mode: mode.name().into(),
        precision: precision.name().into(),
        // Of a thousand cores a record has room.
        thread_siblings: thread_siblings.into_iter().take(1024).collect(),
        nested: host.nested(),
    }
}

/// The TSC and the time of day, at one moment: of some tries the one between whose ends least time passed.
pub fn clocks() -> RecorderNote {
    let read = |_| {
        let before = tsc();
        let wall = clock_gettime(ClockId::Realtime);
        let after = tsc();
        (after - before, before + (after - before) / 2, wall.tv_sec * 1_000_000_000 + wall.tv_nsec)
    };
    let (_, tsc, wall_ns) = (0..16).map(read).min().unwrap_or_default();
    RecorderNote::Clock { tsc, wall_ns }
}

/// What holds from the start of a file.
///
/// # Errors
/// That the kernel's clock is not tied to the TSC.
pub fn start(
    host: &Host,
    session: &Session,
    settings: &Settings,
    pmu: &Pmu,
    mode: Mode,
) -> Result<Start, CaptureError> {
    let clock = session.clock().ok_or(CaptureError::NoClock)?;
    let named =
        [session.events.trace.map(|pt| (settings.event.as_str(), pt)), Some(("dummy:u", session.events.records))];
    let events = named.into_iter().flatten().enumerate().map(|(place, (name, attribute))| Event {
        name: name.into(),
        attribute,
        ids: session.cpus.iter().filter_map(|cpu| cpu.ids().get(place).copied()).collect(),
    });
    Ok(Start {
        events: events.collect(),
        cpus: session.cpus.iter().map(|cpu| cpu.cpu).collect(),
        clock,
        bits: PtBits {
            tsc: pmu.mask("tsc"),
            noretcomp: pmu.mask("noretcomp"),
            mtc: pmu.mask("mtc"),
            mtc_period: pmu.mask("mtc_period"),
            cyc: pmu.mask("cyc"),
        },
        tsc_ctc_ratio: host.tsc_ctc_ratio(),
        max_nonturbo_ratio: pmu.max_nonturbo_ratio,
        snapshot: mode == Mode::Snapshot,
        event_trace: settings.event_trace,
    })
}

/// Notes of VMs, as many as are needed for each to fit into a record.
pub fn vms(vms: Vec<VmNote>) -> Vec<RecorderNote> {
    let tsc = tsc();
    let mut notes = Vec::new();
    let mut some: Vec<VmNote> = Vec::new();
    let mut room = LONGEST_NOTE;
    for mut vm in vms {
        // What a command line says may be of any length.
        vm.name = vm.name.map(|name| name.chars().take(256).collect());
        vm.uuid = vm.uuid.map(|uuid| uuid.chars().take(64).collect());
        let bytes = 2048 + 32 * (vm.vcpus.len() + vm.vhost.len());
        if bytes > room && !some.is_empty() {
            notes.push(RecorderNote::Vms { tsc, vms: std::mem::take(&mut some) });
            room = LONGEST_NOTE;
        }
        room = room.saturating_sub(bytes);
        some.push(vm);
    }
    if !some.is_empty() {
        notes.push(RecorderNote::Vms { tsc, vms: some });
    }
    notes
}
