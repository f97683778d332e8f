//! `havana demo`: the whole way on a capture that lies in the binary.
//!
//! Two VMs share one cpu; half-way, a process in one of them begins to run and does not stop.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use havana_trace::{RawOptions, open_raw};

use super::analyze::{Plan, write};
use super::scratch::Scratch;
use crate::cli::Demo;
use crate::report::{self, Form};

const STREAM: &[u8] = include_bytes!("../../../../testdata/captures/hog-vma/cpu0.pt");
const FACTS: &[u8] = include_bytes!("../../../../testdata/captures/hog-vma/trace.toml");

pub(crate) fn run(args: &Demo) -> anyhow::Result<ExitCode> {
    let scratch = Scratch::new("demo")?;
    let capture = scratch.path().join("demo");
    std::fs::create_dir(&capture)?;
    std::fs::write(capture.join("cpu0.pt"), STREAM)?;
    std::fs::write(capture.join("trace.toml"), FACTS)?;
    let trace = open_raw(std::slice::from_ref(&capture), &RawOptions::default())?;
    let kept = scratch.path().join("demo.havana");
    let output: &Path = args.output.as_deref().unwrap_or(&kept);
    let plan = Plan::whole(output, "demo".into());
    let mut out = std::io::stdout();
    writeln!(
        out,
        "A bundled capture: 3.5 s of one cpu of a KVM host with two quiet VMs, until a process in one runs away.\n"
    )?;
    let dataset = write(&trace, &plan)?;
    report::print(&dataset, havana_insight::found(&dataset)?, Form::Text)?;
    if args.output.is_some() {
        writeln!(out, "\ndataset  {}", output.display())?;
    }
    Ok(ExitCode::SUCCESS)
}
