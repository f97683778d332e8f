//! Intel Processor Trace packets: decoding, encoding and synchronisation over a borrowed byte slice.
//!
//! The format is that of the Intel SDM, volume 3, chapter "Intel Processor Trace", section "Packet Definitions",
//! through Event Trace and Trigger Tracing. This crate knows packets only: no file, no clock, no virtual machine.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`kind`](Kind) | the name of every packet |
//! | [`packet`](Packet) | the packets and their fields |
//! | [`decode`](decode_one) | one packet from its bytes: every bit layout |
//! | [`stream`](Decoder) | a whole stream: synchronisation, damage, streams that come in pieces |
//! | [`envelope`](Envelope) | the same stream without its branches, at many times the speed |
//! | [`psb`](find_psb) | finding PSBs |
//! | [`encode`](encode()) | the mirror of `decode` |
//! | [`errata`](Errata) | what some cpus get wrong |
//! | [`text`](Payload) | a packet's payload as text |
//!
//! # Contract
//!
//! Decoding is safe on untrusted bytes. It does not panic, allocates nothing, and takes time linear in the input.
//! It never fails as a whole: bytes that are no packet are an [`Item`] with a [`BadReason`], an offset and a length,
//! and decoding goes on at the next PSB. Every byte from the first PSB on is in exactly one item, in order.
//!
//! ```
//! use havana_packet::{Decoder, Kind, PSB, Packet};
//!
//! let mut bytes = vec![0xff; 3]; // the end of a packet whose begin is lost
//! bytes.extend(PSB);
//! bytes.extend([0x02, 0x43, 0x01, 0x00, 0x40, 0x00, 0x00, 0x00]); // a VM entry's PIP
//! bytes.extend([0x02, 0x23]);
//!
//! let kinds: Vec<Kind> = Decoder::new(&bytes).filter_map(|item| item.what.ok()).map(|packet| packet.kind()).collect();
//! assert_eq!(kinds, [Kind::Psb, Kind::Pip, Kind::PsbEnd]);
//! assert_eq!(Decoder::new(&bytes).nth(1).unwrap().what, Ok(Packet::Pip { cr3: 0x400_0000, nr: true }));
//! ```

#![forbid(unsafe_code)]

mod brief;
mod decode;
mod encode;
mod envelope;
mod errata;
mod kind;
mod packet;
mod psb;
mod stream;
mod text;

pub use brief::Brief;
pub use decode::{BadReason, Block, Fault, State, Sync, decode_one};
pub use encode::{Unencodable, encode};
pub use envelope::{Envelope, Met, More, Take};
pub use errata::Errata;
pub use havana_leap::{Leaper, Level};
pub use kind::Kind;
pub use packet::{Ip, Packet};
pub use psb::{PSB, PsbOffsets, find_psb, psb_offsets};
pub use stream::{Decoder, Item};
pub use text::Payload;
