//! All cpus of a trace, in the order of time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use havana_packet::{Errata, Kind as PacketKind};
use havana_rows::{Sink, Time, Vm, VmOffset};
use havana_trace::{CpuModel, Said, Sideband, Trace};

use crate::event::{Told, What};
use crate::feed::Feed;
use crate::handlers::Handlers;
use crate::machine::{Machine, Options};
use crate::offset::Offsets;
use crate::rule::{Rule, holds};
use crate::span::{FAR, Span};
use crate::survey::{Clocks, survey};
use crate::track::Track;

/// What was in the trace beside its rows.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Packets by kind name.
    pub packets: BTreeMap<&'static str, u64>,
    /// Branch packets (TNT, TIP) were in it.
    pub branches: bool,
    /// Host TSC of the first and last known moment of all cpus.
    pub first_tsc: Option<i64>,
    /// See `first_tsc`.
    pub last_tsc: Option<i64>,
    /// Stretches of bytes that are no packets.
    pub damaged: u64,
    /// VM exits whose VMCS could not be told.
    pub nameless_exits: u64,
    /// Records of the kernel that came out of order, by more than can be sorted.
    pub late_records: u64,
    /// A vCPU's thread runs several VMCSs: its guest is itself a host of guests.
    pub nested: bool,
    /// VMCS packets, and nothing in non-root operation.
    pub never_in_guest: bool,
    /// No TSC of the host ties this trace to time.
    pub no_host_time: bool,
    /// Cpus with trace bytes and not one known time in them.
    pub timeless: Vec<u32>,
    /// MTC packets tell whether a cpu is awake.
    pub sleep_shows: bool,
}

/// Progress: bytes of trace read so far.
pub type Progress<'a> = &'a mut dyn FnMut(u64);

/// A trace of fewer bytes is read before threads have begun.
const WORTH_A_THREAD: u64 = 4 << 20;

/// The errata of that model.
pub fn errata_of(model: Option<CpuModel>) -> Errata {
    match model {
        Some(CpuModel { family, model, stepping }) => u8::try_from(model)
            .map_or_else(|_| Errata::default(), |m| Errata::for_cpu(family, m, stepping.min(255) as u8)),
        None => Errata::default(),
    }
}

/// A trace about to be read: its clocks are surveyed, and the first moment of each cpu is known.
pub struct Analysis<'a> {
    // The tracks borrow the survey; it is small, made once, and lives as long as the trace is read.
    tracks: Vec<Track<'a>>,
    sideband: Option<&'a Sideband>,
    offsets: Offsets,
    machine: Machine,
    heap: BinaryHeap<Reverse<(i64, usize)>>,
    next: Vec<Option<(Time, What)>>,
    summary: Summary,
}

/// What the survey of a trace found; an [`Analysis`] borrows it.
pub struct Survey {
    clocks: Clocks,
    errata: Errata,
    every_packet: bool,
    handlers: Option<Arc<Handlers>>,
}

impl Survey {
    /// Finds out what must be known of the clocks before the first event.
    pub fn of(trace: &Trace) -> Survey {
        let errata = errata_of(trace.facts.cpu);
        Survey { clocks: survey(trace, errata), errata, every_packet: false, handlers: None }
    }

    /// The analysis is to read every packet, and not the envelope alone: for tests, which hold one against the other.
    #[must_use]
    pub fn every_packet(self) -> Survey {
        Survey { every_packet: true, ..self }
    }

    /// The analysis is to read every branch, and to tell why exits were by where KVM went then.
    #[must_use]
    pub fn with_handlers(self, handlers: Handlers) -> Survey {
        Survey { every_packet: true, handlers: Some(Arc::new(handlers)), ..self }
    }
}

impl<'a> Analysis<'a> {
    /// Begins to read. `window`: only what lies between these two moments (host TSC) counts to the sure bounds of the
    /// time in the guest; rows are told whole.
    pub fn new(trace: &'a Trace, survey: &'a Survey, window: Option<(i64, i64)>) -> Self {
        let window = window.map_or(Span::ANY, |(lo, hi)| Span { lo, hi });
        let Survey { clocks, errata, every_packet, handlers } = survey;
        let feed = if *every_packet { Feed::new } else { Feed::envelope };
        let tracks: Vec<Track<'_>> = trace
            .streams
            .iter()
            .zip(&clocks.starts)
            .map(|(stream, start)| {
                let track = Track::new(feed(stream, *errata), *errata, clocks, start, window);
                track.with_handlers(handlers.clone())
            })
            .collect();
        let sleep_shows = tracks.iter().any(Track::has_crystal);
        let mut machine = Machine::new(tracks.iter().map(|t| (t.cpu, t.source.to_owned())), Options { sleep_shows });
        let sideband = trace.sideband.as_ref();
        if let Some(sideband) = sideband.filter(|s| s.tells_switches()) {
            machine.listen(sideband.tells_preemption, sideband.all_cpus, sideband.resolution);
        }
        let mut analysis = Analysis {
            sideband,
            offsets: Offsets::new(),
            machine,
            heap: BinaryHeap::new(),
            next: vec![None; tracks.len()],
            summary: Summary { sleep_shows, no_host_time: clocks.no_host_time, ..Summary::default() },
            tracks,
        };
        for c in 0..analysis.tracks.len() {
            analysis.advance(c);
        }
        analysis
    }

    /// Host TSC of the first moment known on any cpu; `None` where there is none.
    pub fn first_tsc(&self) -> Option<i64> {
        self.heap.peek().map(|Reverse((tsc, _))| *tsc)
    }

    /// Reads the trace once, front to back, and tells `sink` what happened.
    ///
    /// Memory does not grow with the trace: it holds what is not yet decided, and what there is of VMs, vCPUs and
    /// processes.
    ///
    /// # Errors
    /// Only those of the sink: a trace is never refused as a whole.
    pub fn run<S: Sink>(mut self, sink: &mut S, progress: Progress<'_>) -> Result<Summary, S::Error> {
        let bytes: u64 = self.tracks.iter().map(Track::len).sum();
        if bytes < WORTH_A_THREAD || std::thread::available_parallelism().map_or(1, usize::from) == 1 {
            return self.read(sink, progress);
        }
        // The scope ends when all threads did; they end when the tracks do, which `read` takes with it.
        std::thread::scope(|scope| {
            self.tracks.iter_mut().for_each(|track| track.read_ahead(scope));
            self.read(sink, progress)
        })
    }

    fn read<S: Sink>(mut self, sink: &mut S, progress: Progress<'_>) -> Result<Summary, S::Error> {
        self.summary.first_tsc = self.first_tsc();
        self.machine.begin(self.summary.first_tsc.unwrap_or(0));
        let mut said = self.sideband.map(Sideband::records).into_iter().flatten().peekable();
        let mut said_at = i64::MIN;
        let mut steps = 0u32;
        while let Some(Reverse((_, c))) = self.heap.pop() {
            let Some((at, what)) = self.next[c].take() else { continue };
            while let Some(record) = said.next_if(|record| record.tsc <= at.tsc) {
                self.summary.late_records += u64::from(record.tsc < said_at && record.what != Said::Lost);
                said_at = said_at.max(record.tsc);
                self.machine.said(record, sink)?;
            }
            self.summary.last_tsc = self.summary.last_tsc.max(Some(at.tsc));
            self.machine.event(c, at, what, sink)?;
            self.advance(c);
            steps = steps.wrapping_add(1);
            if steps.is_multiple_of(1 << 16) {
                progress(self.tracks.iter().map(Track::position).sum());
            }
        }
        self.machine.finish(sink)?;
        tell_vms(&self.machine, &self.offsets, sink)?;
        let mut summary = self.summary;
        for track in &self.tracks {
            for kind in PacketKind::ALL {
                let count = track.counts[kind.index()];
                if count > 0 {
                    *summary.packets.entry(kind.name()).or_default() += count;
                }
            }
            summary.branches |= track.branches();
            summary.damaged += track.damaged();
            if !track.told_anything() {
                summary.timeless.push(track.cpu);
            }
        }
        summary.nameless_exits = self.machine.nameless_exits;
        summary.nested = self.machine.nested();
        let guests = self.tracks.iter().any(Track::ever_guest) || !holds(Rule::GuestsHidden);
        summary.never_in_guest = !guests && summary.packets.contains_key(PacketKind::Vmcs.name());
        Ok(summary)
    }

    /// Takes the next event of a cpu into the heap.
    fn advance(&mut self, c: usize) {
        while let Some(told) = self.tracks[c].next(&mut self.offsets) {
            match told {
                Told::Share(share) => self.machine.share(share),
                Told::Event { at, what } => {
                    self.next[c] = Some((at, what));
                    self.heap.push(Reverse((at.tsc, c)));
                    return;
                }
            }
        }
    }
}

/// The VMs, and the clocks of each.
fn tell_vms<S: Sink>(machine: &Machine, offsets: &Offsets, sink: &mut S) -> Result<(), S::Error> {
    for (i, vm) in machine.vms().iter().enumerate() {
        let vm_id = i32::try_from(i).unwrap_or(i32::MAX);
        let clocks = clocks_of(vm, offsets);
        let time = |s: Span| Time { tsc: s.mid(), lo: s.lo, hi: s.hi };
        let single = (clocks.len() == 1).then(|| &clocks[0]);
        sink.vm(Vm {
            vm_id,
            host_cr3: vm.host_cr3 as i64,
            first_tsc: vm.first,
            last_tsc: vm.last,
            tsc_offset: single.map(|c| time(c.offset)),
            tsc_scale: single.and_then(|c| c.scale),
            name: machine.vm_name(i),
            uuid: None,
            pid: vm.pid,
        })?;
        for clock in &clocks {
            sink.vm_offset(VmOffset {
                vm_id,
                start_tsc: clock.from.max(vm.first),
                end_tsc: clock.to.min(vm.last),
                tsc_offset: time(clock.offset),
                tsc_scale: clock.scale,
            })?;
        }
    }
    Ok(())
}

struct VmClock {
    offset: Span,
    scale: Option<f64>,
    from: i64,
    to: i64,
}

/// A clock is held against no more of its VM's others than this.
const MOST_ALIKE: usize = 256;

/// The clocks of a VM's vCPUs. Those that can be one are one: vCPUs of a VM mostly share their offset.
fn clocks_of(vm: &crate::machine::VmInfo, offsets: &Offsets) -> Vec<VmClock> {
    let mut all: Vec<VmClock> = Vec::new();
    for &vmcs in &vm.vmcs {
        for clock in offsets.of_vmcs(vmcs) {
            let offset = offsets.bounds(clock);
            if offset.lo <= -FAR || offset.hi >= FAR {
                continue;
            }
            let c = &offsets.clocks()[clock];
            let host = |guest: i64| ((guest - offset.mid()) as f64 / c.scale().unwrap_or(1.0)) as i64;
            let (from, to) = (host(c.first), host(c.last));
            if to < vm.first || from > vm.last {
                // Of another VM that had this page before or after.
                continue;
            }
            let same = all
                .iter_mut()
                .rev()
                .take(MOST_ALIKE)
                .find(|a| a.scale.is_none() && !c.is_scaled() && a.offset.and(offset).is_some());
            match same {
                Some(a) => {
                    a.offset = a.offset.and(offset).unwrap_or(a.offset);
                    a.from = a.from.min(from);
                    a.to = a.to.max(to);
                }
                None => all.push(VmClock { offset, scale: c.scale(), from, to }),
            }
        }
    }
    all.sort_by_key(|c| c.from);
    all
}
