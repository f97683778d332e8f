//! A KVM node that can be simulated: what its processors would write, and the exact truth beside it.
//!
//! ```text
//! scenario ─► node (cpus, scheduler, KVM) ◄─► guest (processes, timer)
//!                  │ Hw: what each processor does, in the order of time
//!                  ├─► record: pt, a processor's trace ─► cpuN.pt
//!                  ├─► perf: the same, and the kernel's records ─► perf.data
//!                  ├─► truth: a line for each thing ────► truth
//!                  └─► tables: rows, as of an analysis ──► dataset
//! ```
//!
//! | module | its one question |
//! | --- | --- |
//! | [`scenario`] | what is on the node? |
//! | [`node`] | what do its cpus do, and who has them? |
//! | `guest` | what does a vCPU do in its guest? |
//! | [`hw`] | what of it does a processor see? |
//! | [`pt`] | which packets does it write? |
//! | [`record`] | where do they go? |
//! | `perf` | what does Linux say beside them? |
//! | [`truth`] | what really happened? |
//! | [`Tables`] | and what would a dataset say that knew it? |
//!
//! Nothing here knows how traces are read: two readers of one rule, and not one.
#![forbid(unsafe_code)]

mod guest;
pub mod hw;
pub mod node;
mod perf;
pub mod pt;
pub mod record;
mod rng;
pub mod scenario;
mod tables;
pub mod truth;

pub use node::Node;
pub use perf::PerfData;
pub use record::{Recording, Streams};
pub use rng::Rng;
pub use scenario::{NAMED, Scenario, ScenarioError};
pub use tables::Tables;
pub use truth::Truth;
