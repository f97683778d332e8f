//! The `intel_pt` PMU, as sysfs describes it (Linux `Documentation/ABI/testing/sysfs-bus-event_source-devices-format`,
//! `arch/x86/events/intel/pt.c`).
//!
//! | file | what it says |
//! | --- | --- |
//! | `type` | its number, for `perf_event_attr.type` |
//! | `format/NAME` | where a setting lies: `config:14-17` |
//! | `caps/NAME` | what the processor can do (CPUID leaf 14H), hexadecimal |
//! | `max_nonturbo_ratio`, `nr_addr_filters` | decimal |

use std::collections::BTreeMap;
use std::fs;

use super::Host;
use crate::CaptureError;

/// Where it is.
pub(crate) const DIR: &str = "/sys/bus/event_source/devices/intel_pt";

/// Where a setting lies in `config`: bits, each a range, the lowest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field(Vec<(u32, u32)>);

impl Field {
    /// As `format/` has it. `None` for what lies elsewhere than in `config`.
    pub fn parse(text: &str) -> Option<Field> {
        let ranges = text.trim().strip_prefix("config:")?.split(',').map(|range| {
            let (lo, hi) = range.split_once('-').unwrap_or((range, range));
            let (lo, hi) = (lo.parse::<u32>().ok()?, hi.parse::<u32>().ok()?);
            (lo <= hi && hi < 64).then_some((lo, hi))
        });
        ranges.collect::<Option<Vec<_>>>().map(Field)
    }

    /// Its bits.
    pub fn mask(&self) -> u64 {
        self.0.iter().fold(0, |mask, (lo, hi)| mask | (u64::MAX >> (63 - (hi - lo))) << lo)
    }

    /// A value, put there; what does not fit is cut off.
    pub fn put(&self, mut value: u64) -> u64 {
        let mut bits = 0;
        for (lo, hi) in &self.0 {
            let width = hi - lo + 1;
            bits |= (value & (u64::MAX >> (64 - width))) << lo;
            value = value.checked_shr(width).unwrap_or(0);
        }
        bits
    }
}

/// The PMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pmu {
    /// For `perf_event_attr.type`.
    pub number: u32,
    /// Settings.
    pub fields: BTreeMap<String, Field>,
    /// What the processor can do.
    pub caps: BTreeMap<String, u64>,
    /// TSC ticks a bus tick.
    pub max_nonturbo_ratio: u8,
    /// Filters by address; the kernel has none where the file is not there.
    pub address_filters: u32,
}

impl Pmu {
    /// A capability: 0 where it is not named.
    pub fn cap(&self, name: &str) -> u64 {
        self.caps.get(name).copied().unwrap_or(0)
    }

    /// The bits of a setting; 0 where there is no such.
    pub fn mask(&self, name: &str) -> u64 {
        self.fields.get(name).map_or(0, Field::mask)
    }

    /// A setting's value, in its place. `None` where there is no such setting.
    pub fn put(&self, name: &str, value: u64) -> Option<u64> {
        self.fields.get(name).map(|field| field.put(value))
    }
}

impl Host {
    /// Its Intel PT.
    ///
    /// # Errors
    /// That there is none, with the reason as far as it can be told.
    pub fn pmu(&self) -> Result<Pmu, CaptureError> {
        let none = || CaptureError::NoPt { why: self.why_no_pt() };
        let number = self.number(&format!("{DIR}/type")).and_then(|n| u32::try_from(n).ok()).ok_or_else(none)?;
        let files = |dir: &str| {
            let entries = fs::read_dir(self.path(&format!("{DIR}/{dir}"))).into_iter().flatten().flatten();
            let names = entries.filter_map(|e| e.file_name().into_string().ok());
            names.filter_map(|name| Some((self.line(&format!("{DIR}/{dir}/{name}"))?, name))).collect::<Vec<_>>()
        };
        let fields = files("format").into_iter().filter_map(|(text, name)| Some((name, Field::parse(&text)?)));
        let caps =
            files("caps").into_iter().filter_map(|(text, name)| Some((name, u64::from_str_radix(&text, 16).ok()?)));
        Ok(Pmu {
            number,
            fields: fields.collect(),
            caps: caps.collect(),
            max_nonturbo_ratio: self
                .number(&format!("{DIR}/max_nonturbo_ratio"))
                .and_then(|n| u8::try_from(n).ok())
                .unwrap_or(0),
            address_filters: self
                .number(&format!("{DIR}/nr_addr_filters"))
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(0),
        })
    }

    fn why_no_pt(&self) -> &'static str {
        let processor = self.processor();
        if processor.vendor != "GenuineIntel" {
            "this is no Intel processor"
        } else if processor.has("intel_pt") {
            "the processor has it, and the kernel does not offer it: it was built without CONFIG_CPU_SUP_INTEL or \
             CONFIG_PERF_EVENTS, or the firmware had a trace running at boot"
        } else if processor.has("hypervisor") {
            "this is a virtual machine, and it is not given to it"
        } else {
            "the processor has none, or the firmware switched it off"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_several_ranges() {
        let field = Field::parse("config:0-3,32-35\n").unwrap();
        assert_eq!(field.mask(), 0xf_0000_000f);
        assert_eq!(field.put(0xa5), 0xa_0000_0005);
        assert_eq!(Field::parse("config:14-17").unwrap().put(9), 9 << 14);
        assert_eq!(Field::parse("config:0-63").unwrap().put(u64::MAX), u64::MAX);
        for bad in ["config1:0", "config:64", "config:3-1", "0", "config:", "config:a"] {
            assert_eq!(Field::parse(bad), None, "{bad}");
        }
    }
}
