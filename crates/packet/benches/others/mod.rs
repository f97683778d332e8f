//! Other decoders of the same bytes.

use std::convert::Infallible;
use std::hint::black_box;

use havana_packet::Packet;
use iptr_decoder::packet_handler::packet_counter::PacketCounter;
use iptr_decoder::{DecodeOptions, DecoderContext, HandlePacket, decode};

/// A packet's payload, so that it must be decoded.
pub(crate) fn value(packet: &Packet) -> u64 {
    match *packet {
        Packet::Pip { cr3, nr } => cr3 | u64::from(nr),
        Packet::Vmcs { base } => base,
        Packet::Tsc { tsc } => tsc,
        Packet::Tma { ctc, .. } => ctc.into(),
        Packet::Mtc { ctc } => ctc.into(),
        Packet::Cyc { cycles } => cycles,
        Packet::Cbr { ratio } => ratio.into(),
        _ => 0,
    }
}

/// Looks at PIP, VMCS and TSC, and at nothing else.
struct Looks {
    sum: u64,
    packets: u64,
}

impl HandlePacket for Looks {
    type Error = Infallible;

    fn at_decode_begin(&mut self) -> Result<(), Infallible> {
        Ok(())
    }

    fn on_pip_packet(&mut self, _: &DecoderContext, cr3: u64, nr: bool) -> Result<(), Infallible> {
        self.sum = self.sum.wrapping_add(cr3 | u64::from(nr));
        self.packets += 1;
        Ok(())
    }

    fn on_vmcs_packet(&mut self, _: &DecoderContext, base: u64) -> Result<(), Infallible> {
        self.sum = self.sum.wrapping_add(base);
        self.packets += 1;
        Ok(())
    }

    fn on_tsc_packet(&mut self, _: &DecoderContext, tsc: u64) -> Result<(), Infallible> {
        self.sum = self.sum.wrapping_add(tsc);
        self.packets += 1;
        Ok(())
    }
}

pub(crate) fn iptr_envelope(bytes: &[u8]) -> u64 {
    let mut looks = Looks { sum: 0, packets: 0 };
    // A repeated trace may end in the middle of a packet: all before it was walked.
    let _ = decode(black_box(bytes), DecodeOptions::default(), &mut looks);
    black_box(looks.sum);
    looks.packets
}

pub(crate) fn iptr_counter(bytes: &[u8]) -> u64 {
    let mut counter = PacketCounter::new();
    let _ = decode(black_box(bytes), DecodeOptions::default(), &mut counter);
    counter.packet_count() as u64
}

/// libipt's packet decoder, of the system.
#[cfg(feature = "libipt")]
pub(crate) fn libipt(bytes: &[u8]) -> u64 {
    use std::ffi::{c_int, c_void};

    /// The begin of `struct pt_config`: libipt takes as much of it as its first field says.
    #[repr(C)]
    struct Config {
        size: usize,
        begin: *const u8,
        end: *const u8,
    }

    #[link(name = "ipt")]
    unsafe extern "C" {
        fn pt_pkt_alloc_decoder(config: *const Config) -> *mut c_void;
        fn pt_pkt_free_decoder(decoder: *mut c_void);
        fn pt_pkt_sync_forward(decoder: *mut c_void) -> c_int;
        fn pt_pkt_next(decoder: *mut c_void, packet: *mut u64, size: usize) -> c_int;
    }

    let range = bytes.as_ptr_range();
    let config = Config { size: size_of::<Config>(), begin: range.start, end: range.end };
    // The size of `struct pt_packet`, and no more: libipt would clear what is behind it at the wrong place.
    let mut packet = [0u64; 3];
    let mut packets = 0;
    // SAFETY: libipt only reads the bytes, which outlive the decoder, and writes at most the size given into `packet`.
    unsafe {
        let decoder = pt_pkt_alloc_decoder(&config);
        assert!(!decoder.is_null(), "libipt takes the configuration");
        while pt_pkt_sync_forward(decoder) >= 0 {
            while pt_pkt_next(decoder, packet.as_mut_ptr(), size_of_val(&packet)) >= 0 {
                packets += 1;
            }
        }
        pt_pkt_free_decoder(decoder);
    }
    black_box(packet);
    packets
}
