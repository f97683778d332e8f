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
    use havana_trace::perf_data::CostNote;

    use super::*;

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
