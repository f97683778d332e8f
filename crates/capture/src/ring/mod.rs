//! The kernel's rings (Linux `include/uapi/linux/perf_event.h`, `kernel/events/ring_buffer.c`).
//!
//! ```text
//! first page │ data ring: records        and, mapped apart, │ AUX ring: trace
//!  data_head, data_tail                                       aux_head, aux_tail
//! ```
//!
//! The kernel writes at head and never past tail; we read from tail to head and move tail. Heads and tails only ever
//! grow, and are places in a stream; modulo the ring's size they are places in the ring. Two kinds are overwritten
//! instead, and have no tail: a data ring whose records go from its end to its begin, and an AUX ring.
//!
//! | module | what it is |
//! | --- | --- |
//! | `order` | who may touch which bytes when: the memory ordering, and nothing else |
//! | `map` | the mapped memory; all the `unsafe` of rings |
//! | `records` | records in a ring, whole ones, also across its end |
//! | `overwritten` | what rings hold that nobody empties |

mod map;
pub mod order;
mod overwritten;
mod records;

pub(crate) use map::Memory;
pub use map::{Rings, Size};
pub use overwritten::{Found, newest_first};
pub use records::{Record, Records, kind as record_kind};

#[cfg(test)]
mod tests;
