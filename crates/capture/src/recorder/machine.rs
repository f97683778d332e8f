//! What a file says of the machine, and of how it is recorded.

use havana_trace::perf_data::{About, Event, MachineNote, PtBits, RecorderNote, Start};
use rustix::time::{ClockId, clock_gettime};

use super::Options;
use crate::host::{Pmu, tsc};
use crate::session::Session;
use crate::settings::{Mode, Settings};
use crate::{CaptureError, Host};

pub(super) fn about(host: &Host, options: &Options) -> About {
    let processor = host.processor();
    About {
        hostname: host.name(),
        os_release: host.release(),
        cpu_id: processor.id(),
        cpu_name: processor.name,
        command: options.command.clone(),
        cpus_online: host.online().len() as u32,
    }
}

pub(super) fn note(host: &Host, options: &Options, about: &About) -> MachineNote {
    let About { hostname, os_release, cpu_name, cpu_id, command, cpus_online } = about.clone();
    MachineNote {
        version: options.version.clone(),
        hostname,
        os_release,
        cpu_name,
        cpu_id,
        cpus: cpus_online,
        // A record holds so much of it.
        command: command.into_iter().take(256).map(|word| word.chars().take(128).collect()).collect(),
        mode: options.mode.name().into(),
        precision: options.precision.name().into(),
        nested: host.nested(),
    }
}

/// The TSC and the time of day, at one moment: of some tries the one between whose ends least time passed.
pub(super) fn clocks() -> RecorderNote {
    let read = |_| {
        let before = tsc();
        let wall = clock_gettime(ClockId::Realtime);
        let after = tsc();
        (after - before, before + (after - before) / 2, wall.tv_sec * 1_000_000_000 + wall.tv_nsec)
    };
    let (_, tsc, wall_ns) = (0..16).map(read).min().unwrap_or_default();
    RecorderNote::Clock { tsc, wall_ns }
}

pub(super) fn start(
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
