//! The trace of this host, as it is being recorded: an interval after the other.
//!
//! Rings are told to say what they have each time that an interval has passed, and emptied meanwhile where they fill. A
//! window ends a moment before that, so that what a vCPU did off its cpu at its end is told by an entry that follows. So
//! much later is what is shown.

use std::time::{Duration, Instant};

use havana_capture::before::{Inventory, threads};
use havana_capture::host::{Pmu, tsc};
use havana_capture::ring::Size;
use havana_capture::session::{Events, Session};
use havana_capture::{CaptureError, Host, Mode, Precision, Settings, machine};
use havana_timeline::errata_of;
use havana_trace::CpuModel;
use havana_trace::perf_data::{About, CpuCost, RecorderNote, VmNote};

use crate::LiveError;
use crate::gather::{Gathered, Machine};
use crate::window::{Window, Windows, margins, ticks};

/// What to record.
#[derive(Debug, Clone)]
pub struct Options {
    /// How much time a window is of.
    pub interval: Duration,
    /// Which cpus; none: all.
    pub cpus: Vec<u32>,
    /// Bytes of a cpu's ring of trace; of its records. Powers of two.
    pub rings: Size,
    /// What was said on the command line.
    pub command: Vec<String>,
    /// Version of the program.
    pub version: String,
}

/// VMs and cpus are looked for each time that so long has passed.
const LOOK: Duration = Duration::from_secs(2);
/// Whoever wants it to stop waits no longer than this.
const TURN: Duration = Duration::from_millis(50);

/// This host's rings.
pub struct Rings {
    host: Host,
    options: Options,
    settings: Settings,
    pmu: Pmu,
    session: Session,
    inventory: Inventory,
    about: About,
    gathered: Gathered,
    /// When the next window's trace is taken, and where that window begins.
    due: Instant,
    from: i64,
    looked: Instant,
    /// What there was to say of each cpu when the last window was made.
    cost: Vec<CpuCost>,
    says: Vec<String>,
    stopped: bool,
}

impl Rings {
    /// Gets all that is needed, and begins.
    ///
    /// # Errors
    /// That this host cannot be recorded, in a sentence that says what to do.
    pub fn open(host: Host, options: Options) -> Result<Rings, LiveError> {
        let pmu = host.pmu()?;
        let processor = host.processor();
        let settings = Settings::new(&pmu, &processor, Mode::Envelope, Precision::Normal)?;
        let cpus = host.chosen(&options.cpus)?;
        let session = Session::open(Events::new(&pmu, &settings, Mode::Envelope, options.rings), &cpus)?;
        let model = processor.model.and_then(|(family, model, stepping)| {
            let [family, model, stepping] = [family, model, stepping].map(u16::try_from);
            Some(CpuModel { family: family.ok()?, model: model.ok()?, stepping: stepping.ok()? })
        });
        let mut inventory = Inventory::default();
        inventory.refresh(&host);
        let rings = Rings {
            about: machine::about(&host, &options.command),
            gathered: Gathered::new(errata_of(model), threads(&host)),
            due: Instant::now() + options.interval + margins(options.interval).1,
            from: 0,
            looked: Instant::now(),
            cost: Vec::new(),
            says: Vec::new(),
            stopped: false,
            host,
            options,
            settings,
            pmu,
            session,
            inventory,
        };
        // That its clock can be told is known before anything is recorded.
        rings.start()?;
        rings.session.enable()?;
        Ok(Rings { from: tsc(), ..rings })
    }

    /// What will be lacking: sentences.
    pub fn warnings(&self) -> Vec<String> {
        self.settings.warnings(&self.host)
    }

    /// The VMs that were found.
    pub fn vms(&self) -> &[VmNote] {
        self.inventory.all()
    }

    fn start(&self) -> Result<havana_trace::perf_data::Start, CaptureError> {
        machine::start(&self.host, &self.session, &self.settings, &self.pmu, Mode::Envelope)
    }

    /// VMs that came or changed; cpus that came or went.
    fn look(&mut self) {
        self.inventory.refresh(&self.host);
        let online = self.host.online();
        if online.is_empty() {
            return;
        }
        let known: Vec<u32> = self.session.cpus.iter().map(|cpu| cpu.cpu).collect();
        for cpu in known.iter().filter(|cpu| !online.contains(cpu)) {
            self.session.remove_cpu(*cpu);
            self.gathered.remove(*cpu);
            self.says.push(format!("cpu {cpu} went offline"));
        }
        let wanted = |cpu: &u32| self.options.cpus.is_empty() || self.options.cpus.contains(cpu);
        let come: Vec<u32> = online.iter().copied().filter(wanted).filter(|cpu| !known.contains(cpu)).collect();
        for cpu in come {
            match self.session.add_cpu(cpu).and_then(|()| self.session.enable()) {
                Ok(()) => self.says.push(format!("cpu {cpu} came online")),
                Err(error) => self.says.push(format!("cpu {cpu} came online, and is not seen: {error}")),
            }
        }
        self.about.cpus_online = u32::try_from(online.len()).unwrap_or(u32::MAX);
    }

    /// What was lost since the last window.
    fn losses(&mut self) -> Vec<String> {
        let mut says = std::mem::take(&mut self.says);
        let before = std::mem::take(&mut self.cost);
        for now in self.session.cpus.iter().map(|cpu| cpu.cost) {
            let was = before.iter().find(|cost| cost.cpu == now.cpu).copied().unwrap_or_default();
            if now.stops > was.stops {
                let count = now.stops - was.stops;
                says.push(format!("cpu {}: its trace stopped {count} times, the ring being full (--buffer)", now.cpu));
            }
            if now.lost_records > was.lost_records {
                let count = now.lost_records - was.lost_records;
                says.push(format!("cpu {}: {count} of the kernel's records were lost", now.cpu));
            }
            self.cost.push(now);
        }
        says
    }

    /// The window that ends now.
    fn window(&mut self) -> Result<Window, LiveError> {
        // What is older than this is in the rings when they have been told to say what they have.
        let now = tsc();
        self.session.flush();
        self.session.take(&mut self.gathered)?;
        self.gathered.taken(now);
        let start = self.start()?;
        let note = (Mode::Envelope, Precision::Normal);
        let mut notes = vec![
            RecorderNote::Machine(machine::note(&self.host, &self.options.version, note, &self.about)),
            machine::clocks(),
        ];
        notes.extend(machine::vms(self.inventory.all().to_vec()));
        let machine = Machine { start: &start, about: &self.about, notes: &notes };
        let trace = self.gathered.read(&machine, now)?;
        let hz = trace.facts.tsc_hz.ok_or(LiveError::NoRate)?;
        let (lead, tail) = margins(self.options.interval);
        let from = self.from;
        let to = now.saturating_sub(ticks(tail, hz)).max(from);
        self.from = to;
        self.gathered.forget(to.saturating_sub(ticks(lead, hz)));
        Ok(Window { trace, from, to, last: false, says: self.losses() })
    }
}

impl Windows for Rings {
    fn next(&mut self, stop: &dyn Fn() -> bool) -> Result<Option<Window>, LiveError> {
        loop {
            if stop() || self.stopped {
                self.stopped = true;
                self.session.disable();
                return Ok(None);
            }
            let left = self.due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.session.wait(left.min(TURN))?;
            self.session.take(&mut self.gathered)?;
        }
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            self.look();
        }
        let window = self.window()?;
        // Where the analysis takes longer than an interval, windows are longer.
        self.due = (self.due + self.options.interval).max(Instant::now());
        Ok(Some(window))
    }

    fn meanwhile(&mut self) -> Result<(), LiveError> {
        self.session.take(&mut self.gathered)?;
        Ok(())
    }

    fn told(&mut self, _: Option<i64>) {}

    fn set_interval(&mut self, interval: Duration) {
        self.options.interval = interval;
    }
}
