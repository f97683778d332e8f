//! What the bytes of a raw stream do not say: the clock's rate, the crystal, the MTC period, the cpu model.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;

use crate::TraceError;

/// Family, model and stepping of a processor, as CPUID leaf 1 gives them (extended parts added in).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct CpuModel {
    pub family: u16,
    pub model: u16,
    pub stepping: u16,
}

impl FromStr for CpuModel {
    type Err = ();

    /// `family/model/stepping`, decimal.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('/').map(|p| p.trim().parse::<u16>());
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(family)), Some(Ok(model)), Some(Ok(stepping)), None) => Ok(CpuModel { family, model, stepping }),
            _ => Err(()),
        }
    }
}

impl fmt::Display for CpuModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.family, self.model, self.stepping)
    }
}

/// What is known of the clock beside the stream. What is `None` is not known, and nothing is made up for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// TSC ticks a second.
    pub tsc_hz: Option<u64>,
    /// TSC ticks a crystal (CTC) tick, as CPUID leaf 15H has it: EBX over EAX.
    pub tsc_ctc_ratio: Option<(u32, u32)>,
    /// MTCFreq: an MTC packet each 2^n crystal ticks.
    pub mtc_period: Option<u8>,
    /// For the errata.
    pub cpu: Option<CpuModel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tsc_hz: Option<u64>,
    tsc_ctc_ratio: Option<[u32; 2]>,
    mtc_period: Option<u8>,
    cpu: Option<String>,
}

impl Facts {
    /// Reads a `trace.toml`.
    ///
    /// # Errors
    /// [`TraceError::Io`], [`TraceError::Facts`] with line and column, [`TraceError::FactOutOfRange`].
    pub fn read(path: &Path) -> Result<Facts, TraceError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| TraceError::Io { path: path.to_path_buf(), source })?;
        let file: File = toml::from_str(&text).map_err(|error| TraceError::Facts {
            path: path.to_path_buf(),
            line: error.span().map_or(1, |span| text.get(..span.start).map_or(1, |t| t.matches('\n').count() + 1)),
            why: error.message().replace('\n', " "),
        })?;
        let cpu = match file.cpu {
            None => None,
            Some(text) => Some(text.parse().map_err(|()| TraceError::FactOutOfRange {
                path: Some(path.to_path_buf()),
                name: "cpu",
                value: text,
                why: "should be family/model/stepping, decimal, such as 6/85/4",
            })?),
        };
        let facts = Facts {
            tsc_hz: file.tsc_hz,
            tsc_ctc_ratio: file.tsc_ctc_ratio.map(|[n, d]| (n, d)),
            mtc_period: file.mtc_period,
            cpu,
        };
        facts.check(Some(path))?;
        Ok(facts)
    }

    /// `self` with what `over` knows put over it.
    pub fn overridden_by(self, over: Facts) -> Facts {
        Facts {
            tsc_hz: over.tsc_hz.or(self.tsc_hz),
            tsc_ctc_ratio: over.tsc_ctc_ratio.or(self.tsc_ctc_ratio),
            mtc_period: over.mtc_period.or(self.mtc_period),
            cpu: over.cpu.or(self.cpu),
        }
    }

    /// Refuses values that no processor has.
    ///
    /// # Errors
    /// [`TraceError::FactOutOfRange`].
    pub fn check(&self, path: Option<&Path>) -> Result<(), TraceError> {
        let out = |name, value: String, why| {
            Err(TraceError::FactOutOfRange { path: path.map(Path::to_path_buf), name, value, why })
        };
        match *self {
            Facts { tsc_hz: Some(hz), .. } if !(1_000_000..=100_000_000_000).contains(&hz) => {
                out("tsc_hz", hz.to_string(), "should be ticks a second, between 1 MHz and 100 GHz")
            }
            Facts { tsc_ctc_ratio: Some((n, d)), .. } if n == 0 || d == 0 || n < d => {
                out("tsc_ctc_ratio", format!("[{n}, {d}]"), "should be CPUID leaf 15H's EBX and EAX, the first larger")
            }
            Facts { mtc_period: Some(p), .. } if p > 15 => {
                out("mtc_period", p.to_string(), "should be MTCFreq, 0 to 15")
            }
            _ => Ok(()),
        }
    }
}
