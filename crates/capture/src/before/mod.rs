//! What was on the host before the recording began: its threads, the kernel's code, its VMs. Read in `/proc`, and said
//! in the file as perf says it, or in a note.

mod inventory;
mod procfs;
mod threads;

pub use inventory::{Inventory, guest_of};
pub use procfs::Process;
pub use threads::{kernel, modules, threads};
