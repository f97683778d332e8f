//! One perf event on one cpu: a file descriptor, and what can be asked of it (man 2 perf_event_open).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use havana_trace::perf_data::Attribute;
use perf_event_open_sys as sys;
use rustix::io::Errno;

/// What can be asked of whoever fills a ring.
pub trait Control: AsFd {
    /// The id that its records carry.
    fn id(&self) -> u64;
    /// Begins, or goes on.
    ///
    /// # Errors
    /// What the kernel says.
    fn enable(&self) -> Result<(), Errno>;
    /// Stops; what has come is in the ring.
    ///
    /// # Errors
    /// What the kernel says.
    fn disable(&self) -> Result<(), Errno>;
    /// The ring is told of all that has come so far (an AUX record, and head), and none is lost.
    ///
    /// # Errors
    /// What the kernel says.
    fn flush(&self) -> Result<(), Errno>;
    /// No record is written into its ring, or they are again.
    ///
    /// # Errors
    /// What the kernel says.
    fn pause_output(&self, pause: bool) -> Result<(), Errno>;
}

/// An event of a cpu, of whatever runs there.
#[derive(Debug)]
pub struct Event {
    fd: OwnedFd,
    id: u64,
}

impl Event {
    /// Opens it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(attribute: &Attribute, cpu: u32) -> Result<Event, Errno> {
        let mut attr = sys::bindings::perf_event_attr {
            type_: attribute.pmu,
            size: Attribute::SIZE as u32,
            config: attribute.config,
            sample_type: attribute.sample_type,
            read_format: attribute.read_format,
            aux_watermark: attribute.aux_watermark,
            _bitfield_1: sys::bindings::__BindgenBitfieldUnit::new(attribute.flags.to_le_bytes()),
            ..Default::default()
        };
        attr.__bindgen_anon_1.sample_period = Attribute::PERIOD;
        attr.__bindgen_anon_2.wakeup_watermark = attribute.wakeup_watermark;
        let cpu = i32::try_from(cpu).map_err(|_| Errno::INVAL)?;
        let flags = u64::from(sys::bindings::PERF_FLAG_FD_CLOEXEC);
        // SAFETY: `attr` lives through the call, and says its own size.
        let fd = unsafe { sys::perf_event_open(&raw mut attr, -1, cpu, -1, flags) };
        if fd < 0 {
            return Err(errno());
        }
        // SAFETY: the kernel just made it, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut id = 0;
        // SAFETY: the kernel writes the one word.
        check(unsafe { sys::ioctls::ID(fd.as_raw_fd(), &raw mut id) })?;
        Ok(Event { fd, id })
    }

    /// Its records go into the ring of another event of its cpu, which is mapped.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn write_into(&self, other: &Event) -> Result<(), Errno> {
        // SAFETY: takes no memory.
        check(unsafe { sys::ioctls::SET_OUTPUT(self.fd.as_raw_fd(), other.fd.as_raw_fd()) })
    }
}

impl Control for Event {
    fn id(&self) -> u64 {
        self.id
    }

    fn enable(&self) -> Result<(), Errno> {
        // SAFETY: takes no memory.
        check(unsafe { sys::ioctls::ENABLE(self.fd.as_raw_fd(), 0) })
    }

    fn disable(&self) -> Result<(), Errno> {
        // SAFETY: as above.
        check(unsafe { sys::ioctls::DISABLE(self.fd.as_raw_fd(), 0) })
    }

    /// Setting its period again has the kernel stop and start the event within one interrupt on its cpu
    /// (`__perf_event_period`): nothing else runs there in between, so no trace is lost. To disable and enable it takes
    /// two, and what runs between them is in no trace.
    fn flush(&self) -> Result<(), Errno> {
        let period = Attribute::PERIOD;
        // The binding takes a number where the kernel takes its address.
        // SAFETY: the kernel reads the one word.
        check(unsafe { sys::ioctls::PERIOD(self.fd.as_raw_fd(), (&raw const period) as u64) })
    }

    fn pause_output(&self, pause: bool) -> Result<(), Errno> {
        // SAFETY: takes no memory.
        check(unsafe { sys::ioctls::PAUSE_OUTPUT(self.fd.as_raw_fd(), u32::from(pause)) })
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn check(result: i32) -> Result<(), Errno> {
    if result < 0 { Err(errno()) } else { Ok(()) }
}

/// What the last call that failed said.
fn errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
