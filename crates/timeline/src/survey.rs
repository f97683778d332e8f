//! What must be known of the clocks before the first event can be dated.
//!
//! * With MTC: the crystal's origin, and for a cpu that begins in a guest, which edge its first MTC is. The streams are
//!   read from their start up to the first TSC that the host made.
//! * Without MTC: the guests' clocks. A guest's TSC is a known time only when its offset is known, and the offset is
//!   known by bracketing, best over the whole trace. All PSB+ are read, and nothing between them.

use havana_packet::{Decoder, Envelope, Errata, Item, Leaper, PSB, Packet, State, psb_offsets};
use havana_trace::{Facts, Stream, Trace};

use crate::ctc::{Ctc, Origin, Rate};
use crate::feed::{Content, Feed};
use crate::offset::{Offsets, Seen};
use crate::rule::{Rule, holds};
use crate::span::{FAR, Span};
use crate::walk::{Step, Tsc, Walker};

/// PSB+ is shorter than this.
const PSB_PLUS: usize = 512;
/// Memory is given back each time so many bytes were read.
const RELEASE: usize = 4 << 20;
/// Guest TSCs between two of the host that are looked at.
const MOST_BETWEEN: usize = 1 << 16;

/// How a cpu's clock stands at its first packet.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Start {
    /// CTC >> N before the first MTC.
    unit: Option<i64>,
}

/// What the survey found.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    rate: Option<Rate>,
    origin: Option<Origin>,
    /// Of the guests; without MTC only.
    pub(crate) offsets: Offsets,
    pub(crate) starts: Vec<Start>,
    /// A guest's TMA can be believed: this processor is known, and is none that makes corrupt ones (SKZ84).
    pub(crate) guest_tma: bool,
    /// Not one TSC packet of the host was found.
    pub(crate) no_host_time: bool,
}

impl Clocks {
    /// The crystal clock for one cpu; `None` where the trace has no MTC, or nothing ties it to the TSC.
    pub(crate) fn crystal(&self, start: &Start) -> Option<Ctc> {
        Some(Ctc::new(self.rate?, self.origin?, start.unit)).filter(|_| holds(Rule::MtcTells))
    }
}

/// Surveys a trace.
pub(crate) fn survey(trace: &Trace, errata: Errata) -> Clocks {
    let guest_tma = trace.facts.cpu.is_some() && !(errata.skz84 && holds(Rule::Skz84));
    let mut clocks = Clocks { offsets: Offsets::new(), guest_tma, ..Clocks::default() };
    if let Facts { tsc_ctc_ratio: Some(ratio), mtc_period: Some(period), .. } = trace.facts {
        clocks.rate = Some(Rate::new(ratio, period));
    }
    if let Some(rate) = clocks.rate {
        let begins: Vec<Begin> = trace.streams.iter().map(|s| begin(s, errata, rate)).collect();
        clocks.origin = begins.iter().find_map(|b| b.origin);
        clocks.no_host_time = begins.iter().all(|b| b.host.is_none());
        clocks.starts = begins
            .iter()
            .map(|b| Start {
                unit: clocks
                    .origin
                    .zip(b.host)
                    .zip(b.edges)
                    .map(|((origin, tsc), edges)| (Ctc::unit_at(rate, origin, tsc), edges))
                    // The last MTC before that TSC was of its unit, or not long before. Else the cpu slept between,
                    // for nobody knows how long. (A sleep of whole cycles of the MTC's eight bits does not show: of
                    // those that are longer than a cycle, one in sixty-four.)
                    .and_then(|(unit, edges)| {
                        let last = (unit - 3..=unit).rev().find(|u| b.last == Some(*u as u8))?;
                        Some(last - edges)
                    }),
            })
            .collect();
    }
    if clocks.origin.is_none() {
        clocks.starts = vec![Start::default(); trace.streams.len()];
        clocks.no_host_time = true;
        for stream in &trace.streams {
            clocks.no_host_time &= !guests(stream, errata, &mut clocks.offsets);
        }
    }
    clocks
}

/// The begin of one stream.
#[derive(Debug, Default)]
struct Begin {
    origin: Option<Origin>,
    /// The first TSC that the host made.
    host: Option<i64>,
    /// MTC edges from before the first MTC to that TSC; `None` where they cannot be counted.
    edges: Option<i64>,
    payload: Option<u8>,
    /// The payload of the last MTC before that TSC.
    last: Option<u8>,
    /// A host TSC with its TMA that waits for the MTC after it.
    waiting: Option<(i64, (u16, u16))>,
}

impl Begin {
    fn step(&mut self, step: Step, rate: Rate) {
        match step {
            Step::Mtc(payload) => {
                if let Some((tsc, tma)) = self.waiting.take() {
                    self.origin = self.origin.or_else(|| Origin::learn(rate, tsc, tma, Some(payload)));
                }
                if self.host.is_none() {
                    // A step of other than one is an edge missed: how many were, nothing says.
                    let step = self.payload.map_or(1, |before| payload.wrapping_sub(before));
                    self.edges = self.edges.filter(|_| step == 1).map(|e| e + 1);
                }
                self.payload = Some(payload);
            }
            Step::Tsc(tsc) if tsc.nr != Some(true) => {
                if self.host.is_none() {
                    self.host = Some(tsc.tsc as i64);
                    self.last = self.payload;
                    self.edges = self.edges.filter(|&e| e > 0);
                }
                self.waiting = tsc.tma.map(|tma| (tsc.tsc as i64, tma));
            }
            Step::Tsc(tsc) if !tsc.psb && self.host.is_none() => self.edges = None,
            // An edge may have gone by in a pause.
            Step::Lost(_) | Step::Missing(_) | Step::Paused(_) => {
                self.waiting = None;
                if self.host.is_none() {
                    self.edges = None;
                }
            }
            _ => {}
        }
    }
}

/// Reads up to the first MTC that stands behind a TSC of the host with its TMA.
fn begin(stream: &Stream, errata: Errata, rate: Rate) -> Begin {
    let mut feed = Feed::envelope(stream, errata);
    let mut walker = Walker::new();
    let mut begin = Begin { edges: Some(0), ..Begin::default() };
    while begin.origin.is_none() {
        let more = feed.pump(1024, &mut |fed| match &fed.what {
            Content::Packet(packet) => walker.packet(packet, &mut |step| begin.step(step, rate)),
            Content::Bad(reason) => walker.bad(*reason, fed.len, &mut |step| begin.step(step, rate)),
            Content::Paused(pause) => walker.paused(*pause, &mut |step| begin.step(step, rate)),
            Content::Missing(missing) => walker.missing(*missing, &mut |step| begin.step(step, rate)),
        });
        if !more {
            break;
        }
    }
    begin
}

/// Reads all PSB+ of a stream into the guests' clocks. Whether the host made one TSC.
fn guests(stream: &Stream, errata: Errata, offsets: &mut Offsets) -> bool {
    let mut before: Option<i64> = None;
    let mut between: Vec<(u64, i64)> = Vec::new();
    let mut any = false;
    let mut leaper = None;
    each_psb_plus(stream, &mut |bytes| match said(bytes, errata, &mut leaper) {
        // Where the host is silent for long, the oldest of the guests' words are worth the least.
        (Some(Tsc { tsc, nr: Some(true), .. }), Some(vmcs)) if between.len() < MOST_BETWEEN => {
            between.push((vmcs, tsc as i64));
        }
        (Some(Tsc { tsc, nr: Some(false) | None, .. }), _) => {
            let tsc = tsc as i64;
            if before.is_none_or(|b| b <= tsc) {
                any = true;
                bracket(offsets, before, tsc, &mut between);
                before = Some(tsc);
            }
        }
        _ => {}
    });
    any
}

/// The TSC and the VMCS that the PSB+ at the start of `bytes` names.
fn said(bytes: &[u8], errata: Errata, leaper: &mut Option<Leaper>) -> (Option<Tsc>, Option<u64>) {
    let (mut tsc, mut vmcs) = (None, None);
    let mut step = |step: Step| match step {
        Step::Tsc(t) => tsc = Some(t),
        Step::VmcsState(v) => vmcs = v,
        _ => {}
    };
    let mut walker = Walker::new();
    let decoder = Decoder::resume(bytes, State { errata, ..State::default() });
    let mut envelope = Envelope::with(decoder, leaper.take().unwrap_or_default());
    envelope.each(&mut |item: Item| match item.what {
        Ok(packet) => {
            walker.packet(&packet, &mut step);
            !matches!(packet, Packet::PsbEnd | Packet::Ovf)
        }
        Err(_) => false,
    });
    *leaper = Some(envelope.into_leaper());
    (tsc, vmcs)
}

/// Hands on the bytes from each PSB on, as far as PSB+ may reach.
fn each_psb_plus(stream: &Stream, look: &mut impl FnMut(&[u8])) {
    let mut index = 0;
    while let Some(segment) = stream.segment(index) {
        index += 1;
        let bytes = segment.bytes;
        let continues = |i: usize| stream.segment(i).filter(|s| s.join.is_whole());
        // What may reach into the next segment is looked at together with its begin.
        let mut edge = bytes.len();
        if continues(index).is_some() {
            edge = edge.saturating_sub(PSB_PLUS);
            // Not amid a PSB.
            while edge > 0 && bytes.len() - edge < 2 * PSB_PLUS && PSB.contains(&bytes[edge - 1]) {
                edge -= 1;
            }
        }
        let mut released = 0;
        for at in psb_offsets(bytes).take_while(|&at| at < edge) {
            look(&bytes[at..bytes.len().min(at + PSB_PLUS)]);
            if at > released + RELEASE {
                stream.release(segment.offset + released as u64..segment.offset + at as u64);
                released = at;
            }
        }
        if edge < bytes.len() {
            let mut seam = bytes[edge..].to_vec();
            let (own, most) = (seam.len(), seam.len() + PSB_PLUS);
            for next in (index..).map_while(continues) {
                seam.extend_from_slice(&next.bytes[..next.bytes.len().min(most - seam.len())]);
                if seam.len() == most {
                    break;
                }
            }
            for at in psb_offsets(&seam).take_while(|&at| at < own) {
                look(&seam[at..seam.len().min(at + PSB_PLUS)]);
            }
        }
    }
}

/// The guests' TSCs `between` two of the host.
fn bracket(offsets: &mut Offsets, before: Option<i64>, after: i64, between: &mut Vec<(u64, i64)>) {
    if between.is_empty() {
        return;
    }
    let host = Span { lo: before.unwrap_or(-FAR), hi: after };
    let mut last = before.map(Seen::host);
    for (vmcs, guest) in between.drain(..) {
        last = Some(offsets.sample(vmcs, guest, host, last));
    }
    if let Some(last) = last {
        offsets.follow(last, Seen::host(after));
    }
}
