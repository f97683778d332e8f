//! What recording costs a workload, by experiment on the user's own host: the command runs again and again, each time
//! recorded in another way or in none, and the times are compared.
//!
//! | module | what it is |
//! | --- | --- |
//! | `ways` | what is compared, and what of it this host can do |
//! | `tracepoints` | the one way that is not ours: the kernel's own tracepoints of KVM, as perf records them |
//! | `runner` | one run: a command, perhaps a reader beside it, and what both used |
//! | `experiment` | which run when, and what of them is kept |
//! | `stats` | how much slower one way is than another, and how sure that is |

mod experiment;
mod runner;
mod stats;
mod tracepoints;
mod ways;

pub use experiment::{Measured, Outcome, Plan, experiment};
pub use runner::{Lost, Run, Runner};
pub use stats::{CONFIDENCE, Interval, LEAST_ROUNDS, Slowdown};
pub use tracepoints::{Pattern, Tracepoints};
pub use ways::{Choice, LeftOut, Way, choose};
