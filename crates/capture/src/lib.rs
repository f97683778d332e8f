//! The recorder: Intel PT of a KVM host, gathered through the kernel's own rings, for days if need be.
//!
//! It talks to the kernel itself (`perf_event_open` on the `intel_pt` PMU of each cpu), and writes perf.data. It knows no
//! packet but PSB, at which a file may begin, and no stage that reads.

mod error;
pub mod host;

pub use error::CaptureError;
pub use host::Host;
