//! A profile of normal: what is learnt, and its file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::BaselineError;
use crate::fingerprint::Fingerprint;

/// What `format` says in every profile.
const FORMAT: &str = "havana-profile";
/// Raised where an older reader would misread.
const VERSION: u32 = 1;

/// What is normal on a node, learnt of datasets ([`crate::learn`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// `havana-profile`.
    pub format: String,
    /// Of this form.
    pub version: u32,
    /// Whether lengths are nanoseconds, and rates are of seconds; else ticks, and of 10⁹ ticks.
    pub nanoseconds: bool,
    /// How long a window is: each value is one of a window.
    pub window: f64,
    /// How many datasets it was learnt of.
    pub datasets: u32,
    /// All VMs together, as parts of all cpus.
    pub node: Usual,
    /// Its VMs.
    pub vms: Vec<VmProfile>,
}

/// What is normal of a VM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VmProfile {
    /// Its uuid, else its name; none: it is known by what runs in it.
    pub name: Option<String>,
    /// In how many of the datasets it was.
    pub datasets: u32,
    /// What it has.
    pub usual: Usual,
    /// Its processes.
    pub processes: Vec<ProcessProfile>,
}

/// What is normal of a guest process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessProfile {
    /// In how many of the datasets it was.
    pub datasets: u32,
    /// What it has.
    pub usual: Usual,
    /// What it is known by.
    pub fingerprint: Fingerprint,
}

/// What is measured of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Time on cpus, as a part of one; of the node, as a part of all.
    Share,
    /// Time in root for it, as a part of one cpu.
    Root,
    /// Time preempted, as a part of what was wanted: that and the time on cpus.
    Steal,
    /// Exits a second.
    Exits,
    /// The median of how long an exit is handled.
    LatencyMedian,
    /// Nine tenths are handled faster.
    LatencyHigh,
    /// Waits (halts) a second.
    Waits,
}

/// What each metric usually is.
pub type Usual = BTreeMap<Metric, Spread>;

/// How values were distributed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// How many windows.
    pub windows: u32,
    /// The median absolute deviation from the median.
    pub mad: f64,
    /// Evenly spaced quantiles, from the least value to the most.
    pub quantiles: Vec<f64>,
}

/// How many quantiles are kept, at most.
const QUANTILES: usize = 41;

impl Spread {
    /// Of some values; none of none.
    pub(super) fn of(values: &[f64]) -> Option<Spread> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let median = quantile(&sorted, 0.5)?;
        let mut deviations: Vec<f64> = sorted.iter().map(|value| (value - median).abs()).collect();
        deviations.sort_by(f64::total_cmp);
        let last = QUANTILES - 1;
        let quantiles = (0..=last).filter_map(|i| quantile(&sorted, i as f64 / last as f64)).map(rounded).collect();
        let windows = u32::try_from(values.len()).unwrap_or(u32::MAX);
        Some(Spread { windows, mad: rounded(quantile(&deviations, 0.5)?), quantiles })
    }

    /// The value below which so many are.
    pub fn quantile(&self, part: f64) -> f64 {
        quantile(&self.quantiles, part).unwrap_or(0.0)
    }
}

/// To nine digits: what is learnt of windows is not known better, and a file is smaller.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let digits = 10_f64.powf(8.0 - value.abs().log10().floor());
    (value * digits).round() / digits
}

/// Of sorted values, between two of them where it lies there.
pub(super) fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = part.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    Some(below + (above - below) * at.fract())
}

impl Profile {
    pub(super) fn new(nanoseconds: bool, window: f64, datasets: u32) -> Profile {
        let (node, vms) = (Usual::new(), Vec::new());
        Profile { format: FORMAT.into(), version: VERSION, nanoseconds, window, datasets, node, vms }
    }

    /// Its file: the same for the same profile.
    pub fn to_json(&self) -> String {
        // Its keys are strings and enums, and its numbers finite: nothing that JSON lacks.
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Reads its file.
    ///
    /// # Errors
    /// Where it is none, or of another version.
    pub fn from_json(text: &str) -> Result<Profile, BaselineError> {
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
        }
        let head: Head = serde_json::from_str(text).map_err(BaselineError::NoProfile)?;
        if head.format != FORMAT {
            return Err(BaselineError::Format { found: head.format });
        }
        if head.version != VERSION {
            return Err(BaselineError::Version { found: head.version, supported: VERSION });
        }
        let profile: Profile = serde_json::from_str(text).map_err(BaselineError::NoProfile)?;
        if profile.window.is_finite() && profile.window >= 1.0 { Ok(profile) } else { Err(BaselineError::Window) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_of_its_values() {
        let spread = Spread::of(&[3.0, 1.0, 2.0, 100.0, 2.0]).unwrap();
        assert_eq!((spread.windows, spread.mad), (5, 1.0));
        assert_eq!([0.0, 0.5, 1.0].map(|part| spread.quantile(part)), [1.0, 2.0, 100.0]);
        assert_eq!(Spread::of(&[]), None);
        assert_eq!([1.234_567_891_23e9, -0.1, 0.0].map(rounded), [1.234_567_89e9, -0.1, 0.0]);
    }

    #[test]
    fn a_file_that_is_none_is_refused_with_a_word() {
        let said = |text: &str| Profile::from_json(text).unwrap_err().to_string();
        assert!(said("{}").starts_with("no profile of HAVAna: missing field `format`"), "{}", said("{}"));
        assert_eq!(said(r#"{"format":"x","version":1}"#), "no profile of HAVAna: its format is \"x\"");
        assert_eq!(
            said(r#"{"format":"havana-profile","version":9}"#),
            "a profile of version 9; this program reads version 1: learn it again"
        );
        let profile = Profile::new(true, 1e6, 3);
        assert_eq!(Profile::from_json(&profile.to_json()).unwrap(), profile);
        let none = profile.to_json().replace("1000000.0", "0.0");
        assert_eq!(said(&none), "a profile whose windows have no length");
    }
}
