//! The rings of all cpus that are recorded, and what is done with all of them.
//!
//! A cpu has two: one of the kernel's records (who is switched to, what threads are called), of a software event; and
//! one of Intel PT, with its trace and the records about that. So records that are lost cost no word about the trace.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use havana_trace::perf_data::{Attribute, CpuCost, Flags, TimeConv};
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::time::Timespec;

use crate::CaptureError;
use crate::event::{Control, Event};
use crate::host::Pmu;
use crate::ring::{Found, Records, Rings, Size, record_kind as kind};
use crate::settings::{Mode, Settings};

/// A ring and who fills it.
pub struct Filled {
    /// Who.
    pub control: Box<dyn Control + Send>,
    /// Where to.
    pub rings: Rings,
}

/// A cpu that is recorded.
pub struct Cpu {
    /// Its number.
    pub cpu: u32,
    /// Its trace. `None` where only the kernel's records are wanted.
    pub trace: Option<Filled>,
    /// The kernel's records.
    pub records: Filled,
    /// What came of it.
    pub cost: CpuCost,
    /// Of a ring that is overwritten: it was full once.
    wrapped: bool,
}

impl Cpu {
    /// Of these rings.
    pub fn new(cpu: u32, trace: Option<Filled>, records: Filled) -> Cpu {
        Cpu { cpu, trace, records, cost: CpuCost { cpu, ..CpuCost::default() }, wrapped: false }
    }

    /// Ids of its events, in the order of [`Events`].
    pub fn ids(&self) -> Vec<u64> {
        self.trace.iter().chain([&self.records]).map(|filled| filled.control.id()).collect()
    }
}

/// Takes what rings hold. Places in `at` are of a ring's whole stream.
pub trait Taker {
    /// The kernel's records of a cpu, whole ones, in their order.
    ///
    /// # Errors
    /// Its own: what it was given stays in the ring.
    fn records(&mut self, cpu: u32, bytes: [&[u8]; 2]) -> io::Result<()>;
    /// A piece of a cpu's trace.
    ///
    /// # Errors
    /// As above.
    fn trace(&mut self, cpu: u32, at: u64, bytes: [&[u8]; 2]) -> io::Result<()>;
    /// A cpu's trace had stopped, its ring being full: of what follows something is missing.
    fn stopped(&mut self, cpu: u32) {
        let _ = cpu;
    }
}

/// What a cpu's rings are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Events {
    /// Intel PT. `None`: the kernel's records alone.
    pub trace: Option<Attribute>,
    /// The kernel's records.
    pub records: Attribute,
    /// Sizes of the rings: of trace; of records.
    pub size: Size,
    /// Nobody empties them.
    pub overwritten: bool,
}

/// Records about the trace itself: an AUX record each time that a part of it is told of. There are few.
const TRACE_RECORDS: usize = 32 << 10;

/// What newer kernels know to record besides.
const SIDE_NEWER: u64 = Flags::NAMESPACES | Flags::KSYMBOL | Flags::CGROUP;

impl Events {
    /// The kernel's records alone.
    pub fn records_only(bytes: usize, overwritten: bool) -> Events {
        let backward = if overwritten { Flags::WRITE_BACKWARD } else { 0 };
        let records = Attribute {
            pmu: Attribute::SOFTWARE,
            config: Attribute::DUMMY,
            sample_type: Attribute::BEHIND_RECORDS,
            flags: Flags::SIDEBAND | SIDE_NEWER | Flags::DISABLED | Flags::WATERMARK | backward,
            read_format: Attribute::READ,
            wakeup_watermark: u32::try_from(bytes / 4).unwrap_or(u32::MAX),
            aux_watermark: 0,
        };
        Events { trace: None, records, size: Size { data: bytes, aux: 0 }, overwritten }
    }

    /// Trace, and the kernel's records beside it.
    pub fn new(pmu: &Pmu, settings: &Settings, mode: Mode, size: Size) -> Events {
        let overwritten = mode == Mode::Snapshot;
        let aux_watermark = if overwritten { 0 } else { u32::try_from(size.aux / 4).unwrap_or(u32::MAX) };
        let trace = Attribute {
            pmu: pmu.number,
            config: settings.config,
            sample_type: Attribute::BEHIND_RECORDS,
            flags: Flags::DISABLED | Flags::SAMPLE_ID_ALL,
            read_format: Attribute::READ,
            wakeup_watermark: 0,
            aux_watermark,
        };
        Events { trace: Some(trace), size, ..Events::records_only(size.data, overwritten) }
    }

    /// As this kernel takes them: bits that it does not know are taken away. Opens them on a cpu to see.
    fn suited(mut self, cpu: u32) -> Result<Events, Errno> {
        let mut attributes = [Some(&mut self.records), self.trace.as_mut()];
        for attribute in attributes.iter_mut().flatten() {
            // Only the one is of records, and has those flags.
            let tries = [(0, 0), (SIDE_NEWER, 0), (SIDE_NEWER, Attribute::READ ^ Attribute::READ_ID)];
            let tries = tries.map(|(flags, read)| Attribute {
                flags: attribute.flags & !flags,
                read_format: attribute.read_format & !read,
                ..**attribute
            });
            let mut result = Err(Errno::INVAL);
            for tried in tries {
                result = Event::open(&tried, cpu).map(|_| tried);
                if !matches!(result, Err(Errno::INVAL)) {
                    break;
                }
            }
            **attribute = result?;
        }
        Ok(self)
    }

    /// Whether a cpu takes them: opens them, as they suit its kernel, and closes them.
    ///
    /// # Errors
    /// As [`Session::open`], but for memory.
    pub fn try_on(self, cpu: u32) -> Result<(), CaptureError> {
        let config = self.trace.map_or(0, |trace| trace.config);
        self.suited(cpu).map(drop).map_err(|errno| CaptureError::of_open(errno, cpu, config))
    }

    /// Bytes of memory that the kernel locks for a cpu: rings, and a page before each.
    pub fn locked_bytes(&self) -> u64 {
        let trace = if self.trace.is_some() { TRACE_RECORDS + self.size.aux + rustix::param::page_size() } else { 0 };
        (trace + self.size.data + rustix::param::page_size()) as u64
    }

    fn open(&self, cpu: u32) -> Result<Cpu, CaptureError> {
        let mb = self.locked_bytes().div_ceil(1 << 20);
        let config = self.trace.map_or(0, |trace| trace.config);
        let fill = |attribute: &Attribute, size: Size| {
            let event = Event::open(attribute, cpu).map_err(|errno| CaptureError::of_open(errno, cpu, config))?;
            let rings = Rings::of_event(event.as_fd(), size, self.overwritten);
            let rings = rings.map_err(|errno| CaptureError::of_map(errno, mb))?;
            Ok(Filled { control: Box::new(event), rings })
        };
        let trace = self.trace.as_ref().map(|attribute| {
            let size = Size { data: TRACE_RECORDS, aux: self.size.aux };
            fill(attribute, size)
        });
        let records = fill(&self.records, Size { data: self.size.data, aux: 0 })?;
        Ok(Cpu::new(cpu, trace.transpose()?, records))
    }
}

/// The cpus that are recorded.
pub struct Session {
    /// What their rings are of.
    pub events: Events,
    /// Them, by number as they came.
    pub cpus: Vec<Cpu>,
    epoll: OwnedFd,
}

/// What [`Session::wait`] was woken by, of what it was not asked to watch itself.
const RINGS: u64 = u64::MAX;

impl Session {
    /// Opens events and rings on these cpus. Nothing is recorded yet.
    ///
    /// # Errors
    /// That this is not permitted, in use, or not known here: see [`CaptureError`].
    pub fn open(events: Events, cpus: &[u32]) -> Result<Session, CaptureError> {
        let config = events.trace.map_or(0, |trace| trace.config);
        let events = match cpus.first() {
            Some(&cpu) => events.suited(cpu).map_err(|errno| CaptureError::of_open(errno, cpu, config))?,
            None => events,
        };
        let mut session = Session::of(events, Vec::new())?;
        for &cpu in cpus {
            session.add(events.open(cpu)?)?;
        }
        Ok(session)
    }

    /// Of rings that are there.
    ///
    /// # Errors
    /// The system's own.
    pub fn of(events: Events, cpus: Vec<Cpu>) -> Result<Session, CaptureError> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(CaptureError::system("epoll_create"))?;
        let mut session = Session { events, cpus: Vec::new(), epoll };
        for cpu in cpus {
            session.add(cpu)?;
        }
        Ok(session)
    }

    fn add(&mut self, cpu: Cpu) -> Result<(), CaptureError> {
        for filled in cpu.trace.iter().chain([&cpu.records]) {
            self.watch(filled.control.as_fd(), RINGS)?;
        }
        self.cpus.push(cpu);
        Ok(())
    }

    /// A cpu came online: opens its rings. Nothing of it is recorded yet.
    ///
    /// # Errors
    /// As [`open`](Session::open).
    pub fn add_cpu(&mut self, cpu: u32) -> Result<(), CaptureError> {
        let cpu = self.events.open(cpu)?;
        self.add(cpu)
    }

    /// A cpu went offline: forgets its rings, of which all was taken.
    pub fn remove_cpu(&mut self, cpu: u32) -> Option<CpuCost> {
        let at = self.cpus.iter().position(|c| c.cpu == cpu)?;
        Some(self.cpus.remove(at).cost)
    }

    /// [`wait`](Session::wait) tells when there is something to read there, too.
    ///
    /// # Errors
    /// The system's own.
    pub fn watch(&self, fd: BorrowedFd<'_>, token: u64) -> Result<(), CaptureError> {
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN)
            .map_err(CaptureError::system("epoll_ctl"))
    }

    /// Sleeps until rings have work, something [watched](Session::watch) has, or time is up: the tokens of what has.
    ///
    /// # Errors
    /// The system's own.
    pub fn wait(&self, timeout: Duration) -> Result<Vec<u64>, CaptureError> {
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        let mut woken = [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; 64];
        match epoll::wait(&self.epoll, &mut woken, Some(&timeout)) {
            Ok(count) => Ok(woken[..count].iter().map(|e| e.data.u64()).filter(|token| *token != RINGS).collect()),
            Err(Errno::INTR) => Ok(Vec::new()),
            Err(errno) => Err(CaptureError::system("epoll_wait")(errno)),
        }
    }

    /// Begins, where that is not done yet: records first, so that none of whom the trace shows is missing.
    ///
    /// # Errors
    /// That another has Intel PT, or what the kernel says.
    pub fn enable(&self) -> Result<(), CaptureError> {
        self.cpus.iter().try_for_each(enable)
    }

    /// Ends: trace first.
    pub fn disable(&self) {
        for cpu in &self.cpus {
            // A cpu that is not there any more has stopped already.
            let _ = cpu.trace.as_ref().map(|trace| trace.control.disable());
        }
        for cpu in &self.cpus {
            let _ = cpu.records.control.disable();
        }
    }

    /// Rings are told of all that the processors have written.
    pub fn flush(&self) {
        for trace in self.cpus.iter().filter_map(|cpu| cpu.trace.as_ref()) {
            let _ = trace.control.flush();
        }
    }

    /// Takes all that the rings hold. True where there was anything.
    ///
    /// # Errors
    /// The taker's: what it did not take stays in its ring.
    pub fn take(&mut self, taker: &mut impl Taker) -> io::Result<bool> {
        let mut any = false;
        for Cpu { cpu, trace, records, cost, .. } in &mut self.cpus {
            any |= take_records(&mut records.rings, *cpu, cost, taker)?.0;
            let Some(trace) = trace else { continue };
            let (some, stopped) = take_records(&mut trace.rings, *cpu, cost, taker)?;
            any |= some;
            let (span, bytes) = trace.rings.aux();
            if !span.is_empty() {
                taker.trace(*cpu, span.from, bytes)?;
                trace.rings.give_back_aux(span.to);
                cost.trace_bytes += span.len() as u64;
                any = true;
            }
            if stopped {
                taker.stopped(*cpu);
                // The kernel switches off an event whose ring was full, and leaves it to us.
                let _ = trace.control.enable();
            }
        }
        Ok(any)
    }

    /// Takes what rings hold that are overwritten: a snapshot of this moment.
    ///
    /// # Errors
    /// The taker's.
    pub fn snapshot(&mut self, taker: &mut impl Taker) -> io::Result<()> {
        for Cpu { cpu, trace, records, cost, wrapped } in &mut self.cpus {
            if let Some(trace) = trace {
                let mut flush = || {
                    let _ = trace.control.flush();
                };
                let Found { bytes, head, wrapped: full } = trace.rings.overwritten_aux(*wrapped, &mut flush);
                *wrapped = full;
                // It is a place in the ring, as perf has it: of how often that was full nobody knows.
                taker.trace(*cpu, head as u64, [&bytes, &[]])?;
                cost.trace_bytes += bytes.len() as u64;
                // Records about the trace are few: their ring is emptied.
                take_records(&mut trace.rings, *cpu, cost, taker)?;
            }
            let _ = records.control.pause_output(true);
            let bytes = records.rings.overwritten_data();
            let _ = records.control.pause_output(false);
            taker.records(*cpu, [&bytes, &[]])?;
            cost.record_bytes += bytes.len() as u64;
        }
        Ok(())
    }

    /// What the rings still hold nobody will take: counts it.
    pub fn give_up(&mut self) {
        for Cpu { trace, cost, .. } in &mut self.cpus {
            let left = trace.as_mut().map_or(0, |trace| trace.rings.aux().0.len());
            cost.unwritten_bytes += left as u64;
        }
    }

    /// How event times follow from the TSC.
    pub fn clock(&self) -> Option<TimeConv> {
        self.cpus.first()?.records.rings.clock()
    }
}

/// True where there were any, and where one says that the trace had stopped.
fn take_records(rings: &mut Rings, cpu: u32, cost: &mut CpuCost, taker: &mut impl Taker) -> io::Result<(bool, bool)> {
    let (span, bytes) = rings.data();
    if span.is_empty() {
        return Ok((false, false));
    }
    let mut stopped = false;
    let (mut stops, mut lost) = (0, 0);
    for record in Records::new(bytes) {
        match record.kind {
            kind::AUX if record.words[2] & NOT_WHOLE != 0 => {
                stops += 1;
                stopped = true;
            }
            kind::LOST => lost += record.words[1],
            kind::LOST_SAMPLES => lost += record.words[0],
            _ => {}
        }
    }
    taker.records(cpu, bytes)?;
    rings.give_back_data(span.to);
    cost.record_bytes += span.len() as u64;
    cost.stops += stops;
    cost.lost_records += lost;
    Ok((true, stopped))
}

/// TRUNCATED, PARTIAL, COLLISION.
const NOT_WHOLE: u64 = 1 | 4 | 8;

fn enable(cpu: &Cpu) -> Result<(), CaptureError> {
    let fail = |errno| match errno {
        Errno::BUSY => CaptureError::Busy { cpu: cpu.cpu },
        errno => CaptureError::system("PERF_EVENT_IOC_ENABLE")(errno),
    };
    cpu.records.control.enable().map_err(fail)?;
    cpu.trace.as_ref().map_or(Ok(()), |trace| trace.control.enable()).map_err(fail)
}
