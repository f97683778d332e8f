//! What a perf.data says of the machine it was recorded on: sections behind the records, each a bit of the header.

use super::super::header::feature;
use super::{Attribute, Event, words};

/// What is known of a machine and a recording.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Its name.
    pub hostname: String,
    /// Its kernel's release.
    pub os_release: String,
    /// Its processor in words,
    pub cpu_name: String,
    /// and in numbers: `GenuineIntel,6,85,4`.
    pub cpu_id: String,
    /// How the recording was made.
    pub command: Vec<String>,
    /// Logical processors that were online; 0: those that are recorded.
    pub cpus_online: u32,
    /// Cpus that share a core, a list a core, such as `0,4`. None: not said.
    pub thread_siblings: Vec<String>,
    /// A moment, by the wall clock and by that of the events, ns. None: not said.
    pub clock: Option<(u64, u64)>,
}

/// Strings are filled up to so many bytes.
const STRING_ALIGN: usize = 64;

fn string(text: &str) -> Vec<u8> {
    let len = (text.len() + 1).next_multiple_of(STRING_ALIGN);
    let mut bytes = (len as u32).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes.resize(4 + len, 0);
    bytes
}

fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

impl About {
    /// Sections by their bit, in its order. Where the trace is is none of them.
    pub(super) fn sections(&self, cpus: u32, events: &[Event]) -> Vec<(u64, Vec<u8>)> {
        let cpus = if self.cpus_online > 0 { self.cpus_online } else { cpus };
        let mut command = numbers(&[self.command.len() as u32]);
        self.command.iter().for_each(|word| command.extend(string(word)));
        let mut described = numbers(&[events.len() as u32, Attribute::SIZE as u32]);
        for event in events {
            described.extend(event.attribute.bytes());
            described.extend(numbers(&[event.ids.len() as u32]));
            described.extend(string(&event.name));
            described.extend(words(&event.ids));
        }
        let mut sections = vec![
            (feature::HOSTNAME, string(&self.hostname)),
            (feature::OSRELEASE, string(&self.os_release)),
            (feature::ARCH, string("x86_64")),
            (feature::NRCPUS, numbers(&[cpus, cpus])),
            (feature::CPUDESC, string(&self.cpu_name)),
            (feature::CPUID, string(&self.cpu_id)),
            (feature::CMDLINE, command),
            (feature::EVENT_DESC, described),
        ];
        if !self.thread_siblings.is_empty() {
            // Of sockets, which come first, nothing is said; nor which number a core has, as perf itself once did.
            let mut topology = numbers(&[0, self.thread_siblings.len() as u32]);
            self.thread_siblings.iter().for_each(|core| topology.extend(string(core)));
            sections.push((feature::CPU_TOPOLOGY, topology));
        }
        if let Some((wall_ns, event_ns)) = self.clock {
            // Version 1 (`util/header.c`, write_clock_data), of CLOCK_MONOTONIC.
            sections.push((feature::CLOCK_DATA, words(&[1 | (1 << 32), wall_ns, event_ns])));
        }
        sections
    }
}

/// Where the trace is: how many records, and each one's offset and size, without the trace itself (`util/auxtrace.h`).
pub(super) fn auxtrace(pieces: &[u64]) -> Vec<u8> {
    const SIZE: u64 = 48;
    let mut bytes = words(&[pieces.len() as u64]);
    pieces.iter().for_each(|at| bytes.extend(words(&[*at, SIZE])));
    bytes
}
