//! Who, when and where: the trailer that the kernel puts behind the body of each record that is no sample
//! (`perf_event_attr.sample_id_all`).
//!
//! From its begin, each where its bit of `sample_type` is set: pid and tid, time, id, stream id, cpu, identifier; eight
//! bytes each. Which event's bits hold is told by the identifier, where events differ.

use std::collections::HashMap;

use super::bytes::{i32_at, u32_at, u64_at};
use super::header::{Event, sample};

/// A record's trailer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SampleId {
    pub(super) pid: Option<i32>,
    pub(super) tid: Option<i32>,
    /// Nanoseconds of the events' clock. 0 is what perf itself writes.
    pub(super) time: Option<u64>,
    pub(super) cpu: Option<u32>,
}

/// Reads trailers.
#[derive(Debug, Clone, Default)]
pub(super) struct SampleIds {
    first: Option<u64>,
    /// All events have an identifier, and at its place.
    by_id: Option<HashMap<u64, u64>>,
    /// The cpu of an id (ID_INDEX).
    cpus: HashMap<u64, u32>,
}

impl SampleIds {
    pub(super) fn new(events: &[Event]) -> Self {
        let types: Vec<u64> = events.iter().filter_map(|e| e.sample_type).collect();
        let alike = types.iter().all(|t| Some(t) == types.first());
        let identified = types.iter().all(|t| t & sample::IDENTIFIER != 0);
        let by_id = (!alike && identified).then(|| {
            let of = |e: &Event| e.sample_type.map(|t| e.ids.iter().map(move |&id| (id, t)).collect::<Vec<_>>());
            events.iter().filter_map(of).flatten().collect()
        });
        SampleIds { first: types.first().copied(), by_id, cpus: HashMap::new() }
    }

    /// An ID_INDEX record: which id is of which cpu.
    pub(super) fn id_index(&mut self, body: &[u8]) {
        let count = usize::try_from(u64_at(body, 0).unwrap_or(0)).unwrap_or(usize::MAX);
        // Newer perf has another list behind it.
        for entry in body.get(8..).unwrap_or_default().chunks_exact(32).take(count) {
            if let (Some(id), Some(cpu)) = (u64_at(entry, 0), u64_at(entry, 16))
                && let Ok(cpu) = u32::try_from(cpu)
            {
                self.cpus.insert(id, cpu);
            }
        }
    }

    pub(super) fn read(&self, body: &[u8]) -> SampleId {
        self.try_read(body).unwrap_or_default()
    }

    fn try_read(&self, body: &[u8]) -> Option<SampleId> {
        let mut sample_type = self.first?;
        if let Some(by_id) = &self.by_id {
            let id = u64_at(body, body.len().checked_sub(8)?)?;
            sample_type = by_id.get(&id).copied().unwrap_or(sample_type);
        }
        let fields = [sample::TID, sample::TIME, sample::ID, sample::STREAM_ID, sample::CPU, sample::IDENTIFIER];
        let has = |field: u64| sample_type & field != 0;
        let mut at = body.len().checked_sub(8 * fields.iter().filter(|f| has(**f)).count())?;
        let mut out = SampleId::default();
        for field in fields.into_iter().filter(|f| has(*f)) {
            match field {
                sample::TID => (out.pid, out.tid) = (i32_at(body, at), i32_at(body, at + 4)),
                sample::TIME => out.time = u64_at(body, at),
                sample::CPU => out.cpu = u32_at(body, at),
                sample::ID | sample::IDENTIFIER if out.cpu.is_none() => {
                    out.cpu = self.cpus.get(&u64_at(body, at)?).copied();
                }
                _ => {}
            }
            at += 8;
        }
        Some(out)
    }
}
