//! From packets to time, identity and states.
//!
//! ```text
//! stream of cpu 0 ─► feed ─► walk ─► track (ctc, cyc, offset, spread, sure) ─┐  in the order of time
//! stream of cpu 1 ─► feed ─► walk ─► track                                  ─┼─► machine ─► rows
//!        …                                                                  ─┘
//! ```
//!
//! | module | its one question |
//! | --- | --- |
//! | `feed` | which packets does this cpu's stream hold, across its segments? |
//! | `walk` | what do they mean: entry, exit, CR3 write, time? |
//! | `handlers` | where did KVM go with an exit, so why was it? |
//! | `survey` | what must be known of the clocks before the first event? |
//! | `ctc` | which host time is this MTC, or this guest's TMA? |
//! | `cyc` | where between two known times, by core cycles? |
//! | `offset` | how far is each guest's clock from the host's? |
//! | `line` | and where its ticks are not the host's? |
//! | `spread` | where between its bounds does an event most likely lie? |
//! | `sure` | how long was each vCPU surely in its guest? |
//! | `track` | one cpu: all of the above, to events with times |
//! | `machine` | all cpus: which VM, vCPU, process, in which state? |
//! | `rule` | what are the hardware's rules called, for tests to take them away? |
//!
//! Nothing here knows a file format or where the rows go.
#![forbid(unsafe_code)]

mod ahead;
mod analyze;
mod ctc;
mod cyc;
mod event;
mod feed;
mod handlers;
mod line;
mod machine;
mod offset;
mod rule;
mod span;
mod spread;
mod sure;
mod survey;
mod track;
mod walk;

pub use analyze::{Analysis, Progress, Summary, Survey, errata_of};
pub use feed::{Content, Fed, Feed};
pub use handlers::Handlers;
#[cfg(feature = "faults")]
pub use rule::{Rule, without};
