//! What the metrics are now, and how that is written: Prometheus' text format, version 0.0.4.
//!
//! ```text
//! # HELP name text                    \ and newline escaped
//! # TYPE name counter|gauge
//! name{label="value",…} number        \, newline and " escaped in values
//! ```
//!
//! That version every Prometheus reads, and it is the only one that the textfile collector does; OpenMetrics would add
//! nothing that is told here.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::families::{Family, Kind};

/// What the text is, for HTTP.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Samples of a family, by the values of its labels.
type Samples = BTreeMap<Vec<String>, f64>;

/// Metrics and what they are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sheet {
    families: BTreeMap<&'static str, (&'static Family, Samples)>,
}

impl Sheet {
    fn sample(&mut self, family: &'static Family, labels: &[&str]) -> &mut f64 {
        debug_assert_eq!(family.labels.len(), labels.len(), "{}", family.name);
        let (_, samples) = self.families.entry(family.name).or_insert_with(|| (family, Samples::new()));
        samples.entry(labels.iter().map(|label| (*label).to_owned()).collect()).or_default()
    }

    /// It has grown by so much; by nothing makes it known.
    pub(crate) fn add(&mut self, family: &'static Family, labels: &[&str], more: f64) {
        debug_assert_eq!(family.kind, Kind::Counter, "{}", family.name);
        *self.sample(family, labels) += more.max(0.0);
    }

    /// It is this now.
    pub(crate) fn set(&mut self, family: &'static Family, labels: &[&str], value: f64) {
        *self.sample(family, labels) = value;
    }

    /// Keeps, of what has this label, only samples of whose value `keep` says so.
    pub(crate) fn keep(&mut self, label: &str, keep: impl Fn(&str) -> bool) {
        for (family, samples) in self.families.values_mut() {
            if let Some(at) = family.labels.iter().position(|name| *name == label) {
                samples.retain(|values, _| keep(&values[at]));
            }
        }
    }

    /// Nothing is known of it.
    pub(crate) fn clear(&mut self, family: &'static Family) {
        self.families.remove(family.name);
    }

    /// All of it, of this node: one without a name is `unknown`, as in a dataset.
    pub(crate) fn text(&self, node: &str) -> String {
        let node = if node.is_empty() { "unknown" } else { node };
        let mut out = String::new();
        for (family, samples) in self.families.values().filter(|(_, samples)| !samples.is_empty()) {
            let Family { name, kind, labels, help } = family;
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
            for (values, value) in samples {
                out.push_str(name);
                out.push_str("{node=\"");
                escape(&mut out, node);
                for (label, value) in labels.iter().zip(values) {
                    let _ = write!(out, "\",{label}=\"");
                    escape(&mut out, value);
                }
                let _ = writeln!(out, "\"}} {value}");
            }
        }
        out
    }
}

fn escape(out: &mut String, value: &str) {
    for letter in value.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::{LOSSES, TOP_END, TOP_WINDOWS, VCPU_EXITS, VMS};

    #[test]
    fn as_prometheus_reads_it() {
        let mut sheet = Sheet::default();
        sheet.set(&VMS, &[], 3.0);
        sheet.set(&VMS, &[], 2.0);
        sheet.add(&VCPU_EXITS, &["a \"b\"\\\nc", "0"], 1.0);
        sheet.add(&VCPU_EXITS, &["a \"b\"\\\nc", "0"], 0.5);
        sheet.add(&VCPU_EXITS, &["web", "1"], 0.0);
        sheet.add(&LOSSES, &["gap"], 1e21);
        sheet.add(&TOP_WINDOWS, &[], -1.0);
        sheet.keep("cause", |cause| cause != "gap");
        sheet.set(&TOP_END, &[], 1.0);
        sheet.clear(&TOP_END);
        assert_eq!(
            sheet.text("kvm-07"),
            r#"# HELP havana_top_windows_total Windows that were looked at.
# TYPE havana_top_windows_total counter
havana_top_windows_total{node="kvm-07"} 0
# HELP havana_vcpu_exits_total VM exits of a vCPU.
# TYPE havana_vcpu_exits_total counter
havana_vcpu_exits_total{node="kvm-07",vm="a \"b\"\\\nc",vcpu="0"} 1.5
havana_vcpu_exits_total{node="kvm-07",vm="web",vcpu="1"} 0
# HELP havana_vms VMs that the last window saw.
# TYPE havana_vms gauge
havana_vms{node="kvm-07"} 2
"#
        );
    }
}
