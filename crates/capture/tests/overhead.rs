//! Runs in the ways that a host without Intel PT has, of the kernel that runs.
//!
//! Skipped where tracefs is not mounted, or tracepoints may not be recorded.

use std::io::{self, Write};
use std::path::Path;

use havana_capture::overhead::{Pattern, Runner, Tracepoints, Way};
use havana_capture::{CaptureError, Host, Signals};

fn runner(dir: &Path, command: &[&str], tracepoints: Option<Tracepoints>) -> Runner {
    Runner {
        host: Host::here(),
        command: command.iter().map(Into::into).collect(),
        shown: false,
        cpus: Vec::new(),
        ring_bytes: Some(64 << 10),
        record_bytes: 64 << 10,
        tracepoints,
        dir: dir.into(),
        signals: Signals::none(),
    }
}

#[test]
fn nothing_recorded_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let run = runner(dir.path(), &["sh", "-c", "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done"], None);
    let run = { run }.run(Way::Nothing).unwrap();
    assert!(run.status.success() && run.wall_seconds > 0.0 && run.cpu_seconds > 0.0);
    assert_eq!((run.bytes, run.reader_seconds), (0, 0.0));
}

#[test]
fn a_switch_is_a_sample_and_the_file_is_gone() {
    let switches: Pattern = "sched:sched_switch".parse().unwrap();
    let wakeups: Pattern = "sched:sched_wakeup".parse().unwrap();
    let skipped = |why: &dyn std::fmt::Display| {
        let _ = writeln!(io::stderr(), "skipped: a_switch_is_a_sample: {why}");
    };
    let tracepoints = match Tracepoints::find(&Host::here(), &[switches, wakeups]) {
        Ok(tracepoints) => tracepoints,
        Err(error) => return skipped(&error),
    };
    let dir = tempfile::tempdir().unwrap();
    // 200 sleeps: a switch away, one back and a wakeup each, of 40 bytes at least.
    let script = "i=0; while [ $i -lt 200 ]; do sleep 0.001; i=$((i+1)); done";
    match runner(dir.path(), &["sh", "-c", script], Some(tracepoints)).run(Way::Tracepoints) {
        Err(error @ (CaptureError::NotPermitted | CaptureError::MayNotLock { .. })) => skipped(&error),
        Err(error) => panic!("{error}"),
        Ok(run) => {
            assert!(run.bytes > 200 * 3 * 40, "{run:?}");
            assert!(run.reader_seconds > 0.0 && run.reader_seconds < run.wall_seconds, "{run:?}");
        }
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
