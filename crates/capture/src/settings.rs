//! What to have the processor write, as a number for the kernel.
//!
//! Bits are where sysfs says that they are (`format/`), and only those are set that the processor can do (`caps/`). What
//! it cannot is said, with what comes of it.

use crate::host::{Pmu, Processor};
use crate::{CaptureError, Host};

/// What is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// The packets that bound who runs, and no branch.
    #[default]
    Envelope,
    /// Branches too.
    Full,
    /// As the envelope, in rings that are overwritten until somebody wants them.
    Snapshot,
}

impl Mode {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Envelope => "envelope",
            Mode::Full => "full",
            Mode::Snapshot => "snapshot",
        }
    }

    /// Bytes of a cpu's ring of trace where nobody says how many.
    pub fn ring_bytes(self) -> usize {
        if self == Mode::Full { 16 << 20 } else { 4 << 20 }
    }
}

/// How well times are known, against bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// An MTC each 512 crystal ticks: some ±10 µs.
    Coarse,
    /// CYC: each event dated, to nanoseconds. Without CYC an MTC each 64 crystal ticks: some ±1.3 µs.
    #[default]
    Normal,
    /// As that, with an MTC each 64 crystal ticks; without CYC each 8: some ±0.2 µs.
    Fine,
}

impl Precision {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Coarse => "coarse",
            Precision::Normal => "normal",
            Precision::Fine => "fine",
        }
    }

    /// With CYC; N of an MTC each 2^N crystal ticks, with CYC and without.
    fn wants(self) -> (bool, u64, u64) {
        match self {
            Precision::Coarse => (false, 9, 9),
            Precision::Normal => (true, 9, 6),
            Precision::Fine => (true, 6, 3),
        }
    }
}

/// A PSB each 2^(N + 11) bytes: 4 KB. Where a decoder can begin, and where a file may.
const PSB_PERIOD: u64 = 1;

/// What a host lacks, though it can be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// What: a capability of `intel_pt` or a parameter of KVM, by its name.
    pub of: &'static str,
    /// What it lacks, and what comes of it: a sentence.
    pub says: String,
}

impl Lack {
    fn new(of: &'static str, says: impl Into<String>) -> Lack {
        Lack { of, says: says.into() }
    }
}

/// What to have the processor write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `perf_event_attr.config`.
    pub config: u64,
    /// The same in perf's words: `intel_pt/branch=0,cyc=1/`.
    pub event: String,
    /// What it lacks, and what comes of it.
    pub lacks: Vec<Lack>,
    /// The processor has Event Trace, and it is on.
    pub event_trace: bool,
    /// Branches are recorded.
    pub branches: bool,
}

/// The value of those that a bitmap allows that is nearest to what is wanted.
fn nearest(allowed: u64, wanted: u64) -> Option<u64> {
    (0..16u64).filter(|n| allowed >> n & 1 == 1).min_by_key(|n| n.abs_diff(wanted))
}

impl Settings {
    /// For a PMU.
    ///
    /// # Errors
    /// Where the kernel cannot record without branches, and that is asked for.
    pub fn new(pmu: &Pmu, processor: &Processor, mode: Mode, precision: Precision) -> Result<Settings, CaptureError> {
        let mut lacks = Vec::new();
        let mut config = 0;
        let mut words = Vec::new();
        let mut set = |name: &str, value: u64| {
            let bits = pmu.put(name, value);
            config |= bits.unwrap_or(0);
            if bits.is_some() && !matches!(name, "pt" | "tsc") {
                words.push(format!("{name}={value}"));
            }
            bits.is_some()
        };
        let mut branches = mode == Mode::Full;
        if !branches && processor.always_branches() {
            lacks.push(Lack::new(
                "branch",
                "this processor (Broadwell) traces branches or nothing: they are recorded, some hundred MB a second and \
                 busy cpu",
            ));
            branches = true;
        }
        if !set("pt", 1) && !branches {
            return Err(CaptureError::CannotDo {
                what:
                    "this kernel cannot leave branches out (intel_pt has no format/pt): record with --mode full, or on \
                       Linux 4.15 or later"
                        .into(),
            });
        }
        set("tsc", 1);
        set("branch", u64::from(branches));
        let (cyc, with_cyc, without_cyc) = precision.wants();
        let has_cyc = cyc && pmu.cap("psb_cyc") == 1 && set("cyc", 1);
        if cyc && !has_cyc {
            lacks.push(Lack::new(
                "psb_cyc",
                "the processor has no CYC packets: an event is known to an MTC period, and no better",
            ));
        }
        let periods = pmu.cap("mtc_periods");
        match nearest(periods, if has_cyc { with_cyc } else { without_cyc }).filter(|_| pmu.cap("mtc") == 1) {
            Some(period) => {
                set("mtc", 1);
                set("mtc_period", period);
            }
            None => lacks.push(Lack::new(
                "mtc",
                "the processor has no MTC packets: sleep is not seen, and times are known to milliseconds",
            )),
        }
        if let Some(period) = nearest(pmu.cap("psb_periods"), PSB_PERIOD).filter(|_| pmu.cap("psb_cyc") == 1) {
            set("psb_period", period);
        }
        let event_trace = pmu.cap("event_trace") == 1 && set("event", 1);
        if !event_trace {
            lacks.push(Lack::new("event_trace", "the processor has no Event Trace: exits are without their reasons"));
        }
        if !(pmu.cap("power_event_trace") == 1 && set("pwr_evt", 1)) {
            lacks.push(Lack::new(
                "power_event_trace",
                "the processor has no power event trace: sleep is inferred, not observed",
            ));
        }
        Ok(Settings { config, event: format!("intel_pt/{}/", words.join(",")), lacks, event_trace, branches })
    }

    /// What a recording with them will lack on a host: sentences.
    pub fn warnings(&self, host: &Host) -> Vec<String> {
        self.lacks.iter().chain(&hides_vms(host)).map(|lack| lack.says.clone()).collect()
    }
}

/// What of a host keeps VMs from being seen, though it can be recorded.
pub(crate) fn hides_vms(host: &Host) -> Vec<Lack> {
    let mut lacks = Vec::new();
    if let Some(mode) = host.line("/sys/module/kvm_intel/parameters/pt_mode").filter(|mode| mode != "0") {
        lacks.push(Lack::new(
            "pt_mode",
            format!(
                "kvm_intel has pt_mode={mode}: guests are hidden from the host's trace; load it with pt_mode=0 (no VM may \
                 run meanwhile): modprobe -r kvm_intel && modprobe kvm_intel pt_mode=0"
            ),
        ));
    }
    if host.nested().is_none() {
        lacks.push(Lack::new("kvm_intel", "kvm_intel is not loaded: no VM of KVM runs here now"));
    }
    lacks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Field;

    /// As an emulated Skylake has it; without those named.
    pub(crate) fn pmu(without: &[&str]) -> Pmu {
        let fields = [
            ("pt", "config:0"),
            ("cyc", "config:1"),
            ("pwr_evt", "config:4"),
            ("mtc", "config:9"),
            ("tsc", "config:10"),
            ("branch", "config:13"),
            ("mtc_period", "config:14-17"),
            ("psb_period", "config:24-27"),
            ("event", "config:31"),
        ];
        let caps = [
            ("mtc", 1),
            ("psb_cyc", 1),
            ("mtc_periods", 0xffff),
            ("psb_periods", 0x3f),
            ("power_event_trace", 1),
            ("event_trace", 1),
        ];
        let there = |name: &&str| !without.contains(name);
        let fields = fields.into_iter().filter(|(name, _)| there(name));
        let caps = caps.into_iter().filter(|(name, _)| there(name));
        Pmu {
            number: 9,
            fields: fields.map(|(name, text)| (name.into(), Field::parse(text).unwrap())).collect(),
            caps: caps.map(|(name, value)| (name.into(), value)).collect(),
            max_nonturbo_ratio: 21,
            address_filters: 0,
        }
    }

    fn settings(without: &[&str], mode: Mode, precision: Precision) -> Settings {
        Settings::new(&pmu(without), &Processor::default(), mode, precision).unwrap()
    }

    #[test]
    fn all_that_there_is_by_default() {
        let all = settings(&[], Mode::Envelope, Precision::Normal);
        assert_eq!(all.event, "intel_pt/branch=0,cyc=1,mtc=1,mtc_period=9,psb_period=1,event=1,pwr_evt=1/");
        assert_eq!(all.config, 1 | 1 << 1 | 1 << 4 | 1 << 9 | 1 << 10 | 9 << 14 | 1 << 24 | 1 << 31);
        assert!(all.lacks.is_empty() && all.event_trace && !all.branches);
        assert_eq!(settings(&[], Mode::Full, Precision::Normal).config, all.config | 1 << 13);
        assert_eq!(settings(&[], Mode::Snapshot, Precision::Normal).config, all.config);
    }

    #[test]
    fn what_is_lacking_is_said_and_made_up_for() {
        let no_cyc = settings(&["psb_cyc"], Mode::Envelope, Precision::Normal);
        assert_eq!(no_cyc.event, "intel_pt/branch=0,mtc=1,mtc_period=6,event=1,pwr_evt=1/");
        assert_eq!(no_cyc.lacks.len(), 1, "{:?}", no_cyc.lacks);
        let bare = settings(&["psb_cyc", "mtc", "event_trace", "power_event_trace"], Mode::Envelope, Precision::Fine);
        assert_eq!(bare.event, "intel_pt/branch=0/");
        assert_eq!(bare.lacks.len(), 4, "{:?}", bare.lacks);
    }

    #[test]
    fn who_cannot_leave_branches_out() {
        let old = Settings::new(&pmu(&["pt"]), &Processor::default(), Mode::Envelope, Precision::Normal);
        assert!(old.unwrap_err().to_string().contains("--mode full"));
        let broadwell = Processor { model: Some((6, 79, 1)), ..Processor::default() };
        let all = Settings::new(&pmu(&[]), &broadwell, Mode::Envelope, Precision::Coarse).unwrap();
        assert!(all.branches && all.config >> 13 & 1 == 1 && all.lacks.len() == 1);
    }

    #[test]
    fn the_nearest_that_there_is() {
        assert_eq!(nearest(0b1001001, 9), Some(6));
        assert_eq!(nearest(0b1001001, 2), Some(3));
        assert_eq!(nearest(0, 2), None);
    }
}
