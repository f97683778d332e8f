//! Folded stacks, as flamegraph.pl, inferno and speedscope read them.
//!
//! A line is `web-2;vCPU 0;CR3 0x5494000;guest 81230`, the time in nanoseconds (ticks where no rate is known). Frames of
//! one name are one frame there, so what shares all its names is summed.

use std::collections::BTreeMap;
use std::io::Write;

use crate::stacks::{self, NO_PROCESS};
use crate::{ExportError, Selection};

/// Writes them.
///
/// # Errors
/// Where the dataset cannot be read, or the lines not be written.
pub fn write(selection: &Selection<'_>, mut out: impl Write) -> Result<(), ExportError> {
    let names = selection.names()?;
    let mut lines: BTreeMap<String, i64> = BTreeMap::new();
    for (stack, sum) in stacks::sum(selection)? {
        let process = stack.process_id.map_or_else(|| NO_PROCESS.into(), |id| names.process(id));
        let frames = [names.vm(stack.vm_id), names.vcpu(stack.vcpu_id), process, stack.state.name().into()];
        *lines.entry(frames.map(frame).join(";")).or_default() += sum.ticks;
    }
    for (stack, ticks) in lines.iter().filter(|(_, ticks)| **ticks > 0) {
        writeln!(out, "{stack} {}", selection.length(*ticks))?;
    }
    Ok(out.flush()?)
}

/// A name without what ends frames and lines.
fn frame(name: String) -> String {
    name.replace(';', ":").replace(|c: char| c.is_control(), " ")
}

#[test]
fn a_name_cannot_end_its_frame() {
    assert_eq!(frame("a;b\nc".into()), "a:b c");
}
