//! What each VM does now: the analysis of a trace as it comes, an interval at a time.
//!
//! ```text
//! replay  a recorded trace ─┐
//!                           ├─► window ─► the timeline's analysis ─► tally ─► known ─► frame
//! rings   this host's rings ┘
//! ```
//!
//! A frame is the analysis of a window: nothing is carried from one to the next but what things are called. That costs
//! that some trace before each window is read twice (a decoder begins at a PSB, and who runs must be known when the window
//! begins), and gains that a live frame is what `analyze` would say of the same trace, by the same code.
//!
//! | module | its one question |
//! | --- | --- |
//! | `begins` | where can a decoder begin, and when was that? |
//! | `said` | what did the kernel say of this window, and what held before? |
//! | `window` | a stretch of trace, and what of it counts |
//! | `replay` | which windows does a recorded trace have? |
//! | `rings` | and the one that is being recorded? |
//! | `gather` | what of that is kept, and how is it read? |
//! | `tally` | how long was who in which state? |
//! | `known` | who is who, from window to window? |
//! | `frame` | what is told of a window |
//! | `pace` | when is a window of a recorded trace due? |
#![forbid(unsafe_code)]

mod begins;
mod error;
mod frame;
mod gather;
mod known;
mod pace;
mod replay;
mod rings;
mod said;
mod tally;
mod window;

pub use error::LiveError;
pub use frame::{By, Cost, CpuFrame, Frame, Looker, Lost, ProcessFrame, States, Taken, VcpuFrame, VmFrame};
pub use pace::Pace;
pub use replay::Replay;
pub use rings::{Options, Rings};
pub use tally::Tally;
pub use window::{Window, Windows};
