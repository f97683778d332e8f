//! What is told of the recorder.

use havana_capture::Counted;
use havana_trace::perf_data::CpuCost;

use crate::families as f;
use crate::sheet::Sheet;

/// A recorder, and what it has counted.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// The node's name.
    pub node: String,
    /// Version of the recorder.
    pub version: String,
    /// What is recorded, in perf's words.
    pub event: String,
    /// What it has counted.
    pub counted: Counted,
}

impl Record {
    /// As Prometheus reads it.
    pub fn text(&self) -> String {
        let Record { node, version, event, counted } = self;
        let mut sheet = Sheet::default();
        sheet.set(&f::RECORD_INFO, &[version, event], 1.0);
        sheet.add(&f::RECORD_SECONDS, &[], counted.cost.seconds);
        for CpuCost { cpu, trace_bytes, record_bytes, stops, lost_records, unwritten_bytes } in &counted.cost.cpus {
            let cpu = cpu.to_string();
            let all = [
                (&f::RECORD_TRACE, trace_bytes),
                (&f::RECORD_RECORDS, record_bytes),
                (&f::RECORD_STOPS, stops),
                (&f::RECORD_LOST, lost_records),
                (&f::RECORD_UNWRITTEN, unwritten_bytes),
            ];
            for (family, count) in all {
                sheet.add(family, &[&cpu], *count as f64);
            }
        }
        sheet.add(&f::RECORD_WRITTEN, &[], counted.cost.bytes as f64);
        sheet.add(&f::RECORD_FILES, &[], counted.files as f64);
        sheet.add(&f::RECORD_SNAPSHOTS, &[], counted.snapshots as f64);
        sheet.add(&f::RECORD_WAKEUPS, &[], counted.wakeups as f64);
        sheet.add(&f::RECORD_CPU, &[], counted.cost.cpu_seconds);
        sheet.set(&f::RECORD_MEMORY, &[], counted.cost.memory_bytes as f64);
        sheet.set(&f::RECORD_VMS, &[], counted.vms as f64);
        sheet.text(node)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use havana_capture::fake::Bell;
    use havana_capture::ring::{Rings, Size};
    use havana_capture::session::{Cpu, Events, Filled, Session, Taker};
    use havana_trace::perf_data::CostNote;

    use super::*;

    /// Takes all, and keeps nothing.
    struct Nowhere;

    impl Taker for Nowhere {
        fn records(&mut self, _: u32, _: [&[u8]; 2]) -> io::Result<()> {
            Ok(())
        }

        fn trace(&mut self, _: u32, _: u64, _: [&[u8]; 2]) -> io::Result<()> {
            Ok(())
        }
    }

    /// What rings that the kernel overfills have lost.
    #[test]
    fn what_a_session_counts_is_told() {
        let filled = |size| {
            let (rings, kernel) = Rings::in_memory(size).unwrap();
            (Filled { control: Box::new(Bell::new().unwrap()), rings }, kernel)
        };
        let (trace, mut of_trace) = filled(Size { data: 4096, aux: 16 << 10 });
        let (records, mut of_records) = filled(Size { data: 4096, aux: 0 });
        let mut session =
            Session::of(Events::records_only(4096, false), vec![Cpu::new(3, Some(trace), records)]).unwrap();
        // A switch: 48 bytes, of which a page holds 85.
        let switch = [&15u32.to_le_bytes()[..], &[0, 0], &48u16.to_le_bytes(), &[1; 40]].concat();
        let written = (0..100).filter(|_| of_records.record(&switch)).count();
        assert_eq!((written, of_trace.trace(&[9; 20 << 10])), (85, 16 << 10));
        // An AUX record that says TRUNCATED.
        let aux = [&11u32.to_le_bytes()[..], &[0, 0], &32u16.to_le_bytes(), &[0; 16], &1u64.to_le_bytes()].concat();
        assert!(of_trace.record(&aux));
        session.take(&mut Nowhere).unwrap();
        // As soon as there is room the kernel says what was lost.
        assert!(of_records.record(&switch));
        session.take(&mut Nowhere).unwrap();
        let cost = CostNote { cpus: session.cpus.iter().map(|cpu| cpu.cost).collect(), ..CostNote::default() };
        let text = Record { counted: Counted { cost, ..Counted::default() }, ..Record::default() }.text();
        for (family, due) in [
            (&f::RECORD_TRACE, 16 << 10),
            (&f::RECORD_RECORDS, 32 + 86 * 48 + 24),
            (&f::RECORD_STOPS, 1),
            (&f::RECORD_LOST, 15),
            (&f::RECORD_UNWRITTEN, 0),
        ] {
            let line = format!("\n{}{{node=\"unknown\",cpu=\"3\"}} {due}\n", family.name);
            assert!(text.contains(&line), "{line}{text}");
        }
    }

    #[test]
    fn a_cpu_that_came_again_is_one() {
        let cpu = |cpu, trace_bytes| CpuCost { cpu, trace_bytes, ..CpuCost::default() };
        let cost = CostNote { cpus: vec![cpu(0, 5), cpu(1, 7), cpu(0, 11)], ..CostNote::default() };
        let record = Record { node: "n".into(), counted: Counted { cost, ..Counted::default() }, ..Record::default() };
        let text = record.text();
        let told = |name| text.lines().filter(|line| line.starts_with(name)).collect::<Vec<_>>();
        let trace = "havana_record_trace_bytes_total";
        assert_eq!(
            told(trace),
            [format!("{trace}{{node=\"n\",cpu=\"0\"}} 16"), format!("{trace}{{node=\"n\",cpu=\"1\"}} 7")]
        );
        for family in f::RECORD {
            assert!(!told(family.name).is_empty(), "{} is never told", family.name);
        }
    }
}
