//! What the recorder counts and what `top` sees, in the text that Prometheus reads.
//!
//! | module | its one question |
//! | --- | --- |
//! | `families` | which metrics are there, and what do they mean? |
//! | `sheet` | what are they now, and how is that written? |
//! | `top` | what does a frame add to them? |
//! | `record` | and what of the recorder is told? |
//! | `target` | where to? |
//! | `exporter` | who answers, or writes the file, while the others work? |
//!
//! A thread of its own answers. It never makes the recorder wait: what that has counted it puts here when it looks at its
//! host, and goes on.
#![forbid(unsafe_code)]

mod error;
mod exporter;
mod families;
mod record;
mod sheet;
mod target;
mod top;

pub use error::MetricsError;
pub use exporter::Exporter;
pub use families::{Family, Kind, RECORD, TOP};
pub use record::Record;
pub use target::Target;
pub use top::Top;
