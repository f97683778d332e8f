//! What only a real machine answers, so that tests can have any.

use crate::output::{Files, OutputOptions, Target, directory_of};
use crate::session::{Events, Session};
use crate::{CaptureError, Host};

/// Questions to a machine that no file answers.
pub trait Probes {
    /// Opens these events on a cpu as the recorder would, and closes them.
    ///
    /// # Errors
    /// Those of the recorder.
    fn open(&self, events: Events, cpu: u32) -> Result<(), CaptureError>;
    /// Whether the kernel ties the clock of its events to the TSC.
    ///
    /// # Errors
    /// That it cannot be asked.
    fn has_clock(&self, cpu: u32) -> Result<bool, CaptureError>;
    /// CPUID leaf 15H, EBX and EAX; zeros where it does not say.
    fn tsc_ctc_ratio(&self) -> (u32, u32);
    /// Bytes that are free where a recording would be written.
    ///
    /// # Errors
    /// That nothing can be written there.
    fn room(&self, output: &OutputOptions) -> Result<u64, CaptureError>;
}

/// The machine that we run on.
#[derive(Debug, Clone, Copy)]
pub struct ThisMachine;

impl Probes for ThisMachine {
    fn open(&self, events: Events, cpu: u32) -> Result<(), CaptureError> {
        events.try_on(cpu)
    }

    fn has_clock(&self, cpu: u32) -> Result<bool, CaptureError> {
        let events = Events::records_only(rustix::param::page_size(), false);
        Ok(Session::open(events, &[cpu])?.clock().is_some())
    }

    fn tsc_ctc_ratio(&self) -> (u32, u32) {
        Host::here().tsc_ctc_ratio()
    }

    fn room(&self, output: &OutputOptions) -> Result<u64, CaptureError> {
        Files::new(output.clone()).try_place()?;
        let Target::File(path) = &output.target else { return Ok(u64::MAX) };
        let dir = directory_of(path);
        let stat = rustix::fs::statvfs(dir).map_err(CaptureError::system("statvfs"))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}
