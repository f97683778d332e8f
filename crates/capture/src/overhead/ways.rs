//! What is compared, and what of it this host can do.

use std::fmt;

use super::tracepoints::{Pattern, Tracepoints};
use crate::{CaptureError, Host, Mode, Precision, Settings};

/// A way to record a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Not at all: what the others are held against.
    Nothing,
    /// Intel PT, who runs and no branch.
    Envelope(Precision),
    /// Intel PT with branches.
    Full(Precision),
    /// Tracepoints of the kernel.
    Tracepoints,
}

impl Way {
    /// Its name, without the precision.
    pub fn name(self) -> &'static str {
        match self {
            Way::Nothing => "nothing",
            Way::Envelope(_) => Mode::Envelope.name(),
            Way::Full(_) => Mode::Full.name(),
            Way::Tracepoints => "tracepoints",
        }
    }

    /// What of Intel PT; `None` where it is not that.
    pub fn trace(self) -> Option<(Mode, Precision)> {
        match self {
            Way::Envelope(precision) => Some((Mode::Envelope, precision)),
            Way::Full(precision) => Some((Mode::Full, precision)),
            Way::Nothing | Way::Tracepoints => None,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unusual = self.trace().map(|(_, precision)| precision).filter(|precision| *precision != Precision::Normal);
        match unusual {
            // `pad`: so that columns can be made of them.
            Some(precision) => f.pad(&format!("{} ({})", self.name(), precision.name())),
            None => f.pad(self.name()),
        }
    }
}

/// Ways that this host cannot go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Which.
    pub ways: Vec<Way>,
    /// Why, and what to do: a sentence.
    pub why: String,
}

/// What will be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// [`Way::Nothing`], and after it what of the wanted is possible, each once.
    pub ways: Vec<Way>,
    /// The rest.
    pub left_out: Vec<LeftOut>,
    /// What recordings of Intel PT will lack: sentences.
    pub warnings: Vec<String>,
    /// Those that are recorded, where they are.
    pub tracepoints: Option<Tracepoints>,
}

/// Of what is wanted what this host can do.
pub fn choose(host: &Host, wanted: &[Way], patterns: &[Pattern]) -> Choice {
    let mut choice = Choice { ways: vec![Way::Nothing], left_out: vec![], warnings: vec![], tracepoints: None };
    for &way in wanted {
        if choice.ways.contains(&way) {
            continue;
        }
        match choice.make_ready(host, way, patterns) {
            Ok(()) => choice.ways.push(way),
            Err(error) => choice.leave_out(way, error.to_string()),
        }
    }
    choice
}

impl Choice {
    fn make_ready(&mut self, host: &Host, way: Way, patterns: &[Pattern]) -> Result<(), CaptureError> {
        if let Some((mode, precision)) = way.trace() {
            let settings = Settings::new(&host.pmu()?, &host.processor(), mode, precision)?;
            for warning in settings.warnings(host) {
                if !self.warnings.contains(&warning) {
                    self.warnings.push(warning);
                }
            }
        }
        if way == Way::Tracepoints {
            self.tracepoints = Some(Tracepoints::find(host, patterns)?);
        }
        Ok(())
    }

    fn leave_out(&mut self, way: Way, why: String) {
        match self.left_out.iter_mut().find(|left| left.why == why) {
            Some(left) if left.ways.contains(&way) => {}
            Some(left) => left.ways.push(way),
            None => self.left_out.push(LeftOut { ways: vec![way], why }),
        }
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, way) in self.ways.iter().enumerate() {
            let before = match at {
                0 => "",
                _ if at + 1 == self.ways.len() => " and ",
                _ => ", ",
            };
            write!(f, "{before}{way}")?;
        }
        write!(f, " left out: {}", self.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FakeHost;

    const ALL: [Way; 5] = [
        Way::Nothing,
        Way::Envelope(Precision::Normal),
        Way::Envelope(Precision::Coarse),
        Way::Full(Precision::Normal),
        Way::Tracepoints,
    ];

    fn kvm() -> Vec<Pattern> {
        vec!["kvm:*".parse().unwrap()]
    }

    #[test]
    fn what_a_bare_host_cannot_is_said_once_a_reason() {
        let fake = FakeHost::new();
        let choice = choose(&fake.host, &ALL, &kvm());
        assert_eq!(choice.ways, [Way::Nothing]);
        let says: Vec<String> = choice.left_out.iter().map(ToString::to_string).collect();
        assert_eq!(says.len(), 2, "{says:?}");
        assert!(says[0].starts_with("envelope, envelope (coarse) and full left out: no Intel PT on this host ("));
        assert!(says[1].starts_with("tracepoints left out: tracefs is not mounted"), "{says:?}");
    }

    #[test]
    fn a_host_with_all_of_it() {
        let fake = FakeHost::new();
        fake.write("sys/bus/event_source/devices/intel_pt/type", "9\n");
        fake.write("sys/bus/event_source/devices/intel_pt/format/pt", "config:0\n");
        fake.write("sys/kernel/tracing/events/kvm/kvm_exit/id", "7\n");
        let twice = [ALL, ALL].concat();
        let choice = choose(&fake.host, &twice[1..], &kvm());
        assert_eq!(choice.ways, ALL);
        assert!(choice.left_out.is_empty() && choice.tracepoints.is_some());
        let mut once = choice.warnings.clone();
        once.sort();
        once.dedup();
        assert!(!once.is_empty() && once.len() == choice.warnings.len(), "{:?}", choice.warnings);
    }
}
