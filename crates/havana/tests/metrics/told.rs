//! Prometheus' text format, read by other code than that which writes it.

use std::collections::BTreeMap;

/// Samples, by name and labels as they are written.
#[derive(Debug, Default)]
pub(super) struct Told(pub(super) BTreeMap<String, f64>);

impl Told {
    /// Of a text: a sample stands once, below its TYPE.
    pub(super) fn read(text: &str) -> Told {
        let mut told = Told::default();
        let mut family = "";
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                family = comment.split(' ').nth(1).unwrap();
                continue;
            }
            let (key, value) = line.rsplit_once(' ').unwrap();
            assert!(key.starts_with(&format!("{family}{{")), "{line} stands below {family}");
            assert!(told.0.insert(key.to_owned(), value.parse().unwrap()).is_none(), "{line} stands twice");
        }
        told
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)]) -> &mut f64 {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        self.0.entry(format!("{name}{{{}}}", labels.join(","))).or_default()
    }

    pub(super) fn counters(&self) -> impl Iterator<Item = (&String, &f64)> {
        self.0.iter().filter(|(key, _)| key.split('{').next().unwrap().ends_with("_total"))
    }

    /// All of a name whose labels end so.
    pub(super) fn sum(&self, name: &str, labels: &str) -> f64 {
        let all = self.0.iter().filter(|(key, _)| key.split('{').next() == Some(name));
        all.filter(|(key, _)| key.ends_with(&format!("{labels}}}"))).map(|(_, value)| value).sum()
    }

    /// Of all vCPUs of a VM: seconds in a state.
    pub(super) fn vcpus(&self, vm: &str, state: &str) -> f64 {
        let of = |key: &str| key.contains(&format!("vm={vm:?},")) && key.ends_with(&format!("state={state:?}}}"));
        let all = self.0.iter().filter(|(key, _)| key.starts_with("havana_vcpu_seconds_total{") && of(key));
        all.map(|(_, value)| value).sum()
    }
}

/// Equal but for the order in which it was added up.
pub(super) fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}
