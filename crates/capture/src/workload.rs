//! A command that runs while it is recorded: when it ends, and what it used.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::host::end_of;
use crate::{CaptureError, Signal, Signals};

/// A command that runs.
#[derive(Debug)]
pub struct Workload {
    child: Child,
    program: String,
    end: OwnedFd,
    began: Instant,
    /// CPU time of children before it.
    before: Duration,
}

/// What a command used, from its begin to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// Time that passed (`CLOCK_MONOTONIC`).
    pub wall: Duration,
    /// Time on cpus, user and system, with all that it started and waited for.
    pub cpu: Duration,
    /// How it ended.
    pub status: ExitStatus,
}

/// A command as it was said; `None` where nothing was.
pub fn command(words: &[OsString]) -> Option<Command> {
    let (program, args) = words.split_first()?;
    let mut command = Command::new(program);
    command.args(args);
    Some(command)
}

impl Workload {
    /// Starts it.
    ///
    /// # Errors
    /// That it cannot be, with its name.
    pub fn start(command: &mut Command) -> Result<Workload, CaptureError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let fail = |source| CaptureError::Command { program: program.clone(), source };
        let before = cpu_of_children().map_err(fail)?;
        let began = Instant::now();
        let child = command.spawn().map_err(fail)?;
        let end = end_of(child.id()).map_err(fail)?;
        Ok(Workload { child, program, end, began, before })
    }

    /// What becomes readable when it ends.
    pub fn end(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }

    /// How it ended; `None` while it runs.
    ///
    /// # Errors
    /// The system's own.
    pub fn status(&mut self) -> Result<Option<ExitStatus>, CaptureError> {
        let Workload { child, program, .. } = self;
        child.try_wait().map_err(|source| CaptureError::Command { program: program.clone(), source })
    }

    /// Waits until it ends. No other child of this process may end meanwhile: the system sums up what they used.
    ///
    /// # Errors
    /// That a signal came, which then ended the command too; or the system's own.
    pub fn wait(mut self, signals: &mut Signals) -> Result<Used, CaptureError> {
        let wall = loop {
            let ended = self.wait_for_any(signals)?.then(|| self.began.elapsed());
            // Ctrl-C ends the command itself too.
            let signal = signals.take().into_iter().find_map(|signal| match signal {
                Signal::End(name) => Some(name),
                Signal::Snapshot => None,
            });
            if let Some(signal) = signal {
                // Where it has ended already there is nothing to kill.
                let _ = self.child.kill();
                let _ = self.child.wait();
                return Err(CaptureError::Interrupted { signal });
            }
            if let Some(wall) = ended {
                break wall;
            }
        };
        let fail = |source| CaptureError::Command { program: self.program.clone(), source };
        let status = self.child.wait().map_err(fail)?;
        let cpu = cpu_of_children().map_err(fail)?.saturating_sub(self.before);
        Ok(Used { wall, cpu, status })
    }

    /// Sleeps until it ends or a signal came: whether it ended.
    fn wait_for_any(&self, signals: &Signals) -> Result<bool, CaptureError> {
        let watched = [self.end.as_fd()].into_iter().chain(signals.fds());
        let mut fds: Vec<PollFd<'_>> = watched.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        match poll(&mut fds, None) {
            Ok(_) => Ok(fds[0].revents().contains(PollFlags::IN)),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(CaptureError::system("poll")(errno)),
        }
    }
}

/// CPU time of children that have ended and were waited for.
fn cpu_of_children() -> std::io::Result<Duration> {
    let used = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let duration = |time: TimeVal| {
        let micros = u64::try_from(time.tv_usec()).unwrap_or(0);
        Duration::from_secs(u64::try_from(time.tv_sec()).unwrap_or(0)) + Duration::from_micros(micros)
    };
    Ok(duration(used.user_time()) + duration(used.system_time()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &[&str]) -> Result<Used, CaptureError> {
        let words: Vec<OsString> = words.iter().map(Into::into).collect();
        Workload::start(&mut command(&words).unwrap())?.wait(&mut Signals::none())
    }

    #[test]
    fn how_it_ends_and_how_long_it_took() {
        let used = run(&["sh", "-c", "sleep 0.05; exit 3"]).unwrap();
        assert_eq!(used.status.code(), Some(3));
        assert!(used.wall >= Duration::from_millis(50));
        assert!(command(&[]).is_none());
    }

    #[test]
    fn one_that_is_not_there_is_named() {
        let error = run(&["/no/such/program"]).unwrap_err().to_string();
        assert!(error.starts_with("/no/such/program: No such file"), "{error}");
    }
}
