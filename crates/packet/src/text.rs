//! A packet's payload as text, for `havana packets`: hexadecimal without `0x`, nothing where there is no payload.

use std::fmt;

use crate::{Ip, Packet};

/// Shows a packet's payload: see [`Packet::payload`].
#[derive(Debug, Clone, Copy)]
pub struct Payload<'a>(&'a Packet);

impl Packet {
    /// The payload as text; empty for a packet without one.
    ///
    /// ```
    /// use havana_packet::Packet;
    /// assert_eq!(Packet::Pip { cr3: 0x7c6c_8000, nr: true }.payload().to_string(), "cr3=7c6c8000 nr=1");
    /// assert_eq!(Packet::Tnt8 { bits: 0b101, count: 3 }.payload().to_string(), "TNT");
    /// assert_eq!(Packet::Psb.payload().to_string(), "");
    /// ```
    pub const fn payload(&self) -> Payload<'_> {
        Payload(self)
    }
}

impl fmt::Display for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bit = u8::from;
        match *self.0 {
            Packet::Pad | Packet::Psb | Packet::PsbEnd | Packet::Ovf | Packet::Stop => Ok(()),
            Packet::Tip(Ip { ipc, raw, .. })
            | Packet::TipPge(Ip { ipc, raw, .. })
            | Packet::TipPgd(Ip { ipc, raw, .. })
            | Packet::Fup(Ip { ipc, raw, .. }) => write!(f, "ipc={ipc:x} ip={raw:x}"),
            Packet::Tnt8 { bits, count } => branches(f, u64::from(bits), count),
            Packet::Tnt64 { bits, count } => branches(f, bits, count),
            Packet::Pip { cr3, nr } => write!(f, "cr3={cr3:x} nr={}", bit(nr)),
            Packet::Vmcs { base: value }
            | Packet::Tsc { tsc: value }
            | Packet::Cyc { cycles: value }
            | Packet::Mnt { payload: value } => write!(f, "{value:x}"),
            Packet::Mtc { ctc: value } | Packet::Cbr { ratio: value } => write!(f, "{value:x}"),
            Packet::Tma { ctc, fc } => write!(f, "ctc={ctc:x} fc={fc:x}"),
            Packet::ModeExec { cs_l, cs_d, if_flag } => {
                write!(f, "cs.l={} cs.d={} if={}", bit(cs_l), bit(cs_d), bit(if_flag))
            }
            Packet::ModeTsx { in_tx, abort } => write!(f, "intx={} abort={}", bit(in_tx), bit(abort)),
            Packet::Ptw { payload, bytes, ip } => write!(f, "{payload:x} bytes={bytes} ip={}", bit(ip)),
            Packet::Exstop { ip } | Packet::Bep { ip } => write!(f, "ip={}", bit(ip)),
            Packet::Mwait { hints, ext } => write!(f, "hints={hints:x} ext={ext:x}"),
            Packet::Pwre { state, sub_state, hw } => write!(f, "state={state:x} sub={sub_state:x} hw={}", bit(hw)),
            Packet::Pwrx { last, deepest, wake } => write!(f, "last={last:x} deepest={deepest:x} wake={wake:x}"),
            Packet::Bbp { size8, kind } => write!(f, "type={kind:x} bytes={}", if size8 { 8 } else { 4 }),
            Packet::Bip { id, payload, .. } => write!(f, "id={id:x} {payload:x}"),
            Packet::Cfe { kind, vector, ip } => write!(f, "type={kind:x} vector={vector:x} ip={}", bit(ip)),
            Packet::Evd { kind, payload } => write!(f, "type={kind:x} {payload:x}"),
            Packet::Trig { ip, mult, triggers, icnt } => {
                write!(f, "triggers={triggers:x} mult={} ip={}", bit(mult), bit(ip))?;
                icnt.map_or(Ok(()), |icnt| write!(f, " icnt={icnt:x}"))
            }
        }
    }
}

/// The oldest branch first: `T` taken, `N` not.
fn branches(f: &mut fmt::Formatter<'_>, bits: u64, count: u8) -> fmt::Result {
    let mut text = [b'N'; 64];
    let count = usize::from(count.min(64));
    for (nth, letter) in text.iter_mut().take(count).enumerate() {
        if bits >> (count - 1 - nth) & 1 == 1 {
            *letter = b'T';
        }
    }
    f.write_str(str::from_utf8(&text[..count]).unwrap_or_default())
}
