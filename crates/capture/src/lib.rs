//! The recorder: Intel PT of a KVM host, gathered through the kernel's own rings, for days if need be.
//!
//! It talks to the kernel itself (`perf_event_open` on the `intel_pt` PMU of each cpu), and writes perf.data. It knows no
//! packet but PSB, at which a file may begin, and no stage that reads.

pub mod before;
pub mod doctor;
mod error;
pub mod event;
pub mod fake;
pub mod host;
pub mod machine;
pub mod output;
pub mod overhead;
mod recorder;
pub mod ring;
pub mod session;
mod settings;
mod signals;
mod watch;
pub mod workload;

pub use error::CaptureError;
pub use host::Host;
pub use recorder::{Counted, Options, Recorder, Summary, Tell};
pub use settings::{Lack, Mode, Precision, Settings};
pub use signals::{Signal, Signals};
pub use watch::Condition;
