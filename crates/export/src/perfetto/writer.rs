//! Packets, tracks and interned names.
//!
//! One sequence of packets: names that come again and again stand in it once, before their first use, and are then numbers.
//! What a reader needs before an event (its track, the names) always comes before it in the file; times need not be in
//! order, but for those of one track.

use std::io::Write;

use prost::Message;
use rustc_hash::FxHashMap;

use super::proto::{
    CounterDescriptor, DebugAnnotation, EXPLICIT, INCREMENTAL_STATE_CLEARED, InternedData, InternedName,
    NEEDS_INCREMENTAL_STATE, PACKET_TAG, TracePacket, TrackDescriptor, TrackEvent, Type, Value,
};
use crate::ExportError;

/// The only sequence.
const SEQUENCE: u32 = 1;

/// A track, by its uuid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Track(u64);

/// What a value in the details of an event is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Detail<'a> {
    Int(i64),
    Double(f64),
    /// One of few.
    Name(&'static str),
    Text(&'a str),
    Address(i64),
}

/// Numbers of interned texts, and those not yet written.
#[derive(Default)]
struct Interned {
    known: FxHashMap<String, u64>,
}

impl Interned {
    fn number(&mut self, text: &str, new: &mut Vec<InternedName>) -> u64 {
        if let Some(&iid) = self.known.get(text) {
            return iid;
        }
        let iid = self.known.len() as u64 + 1;
        self.known.insert(text.into(), iid);
        new.push(InternedName { iid: Some(iid), name: Some(text.into()) });
        iid
    }
}

pub(super) struct Writer<W> {
    out: W,
    buffer: Vec<u8>,
    tracks: u64,
    event_names: Interned,
    detail_names: Interned,
    detail_values: Interned,
    /// The last event's packet, whose room is used again.
    packet: TracePacket,
}

impl<W: Write> Writer<W> {
    /// Begins the sequence.
    pub(super) fn new(out: W) -> Result<Writer<W>, ExportError> {
        let mut writer = Writer {
            out,
            buffer: Vec::new(),
            tracks: 0,
            event_names: Interned::default(),
            detail_names: Interned::default(),
            detail_values: Interned::default(),
            packet: TracePacket::default(),
        };
        writer.write(&TracePacket {
            trusted_packet_sequence_id: Some(SEQUENCE),
            sequence_flags: Some(INCREMENTAL_STATE_CLEARED),
            first_packet_on_sequence: Some(true),
            ..TracePacket::default()
        })?;
        Ok(writer)
    }

    pub(super) fn write(&mut self, packet: &TracePacket) -> Result<(), ExportError> {
        self.buffer.clear();
        self.buffer.push(PACKET_TAG);
        // Room grows as needed: it cannot fail.
        let _ = packet.encode_length_delimited(&mut self.buffer);
        Ok(self.out.write_all(&self.buffer)?)
    }

    /// A new track, at the place `rank` among those of its parent.
    pub(super) fn track(&mut self, name: &str, parent: Option<Track>, rank: i32) -> Result<Track, ExportError> {
        self.describe(name, parent, rank, None, None)
    }

    /// A new track with a word about it.
    pub(super) fn described(&mut self, name: &str, rank: i32, description: String) -> Result<Track, ExportError> {
        self.describe(name, None, rank, None, Some(description))
    }

    /// A new track of numbers.
    pub(super) fn counter(&mut self, name: &str, parent: Track, rank: i32, unit: &str) -> Result<Track, ExportError> {
        let counter = CounterDescriptor { unit_name: Some(unit.into()) };
        self.describe(name, Some(parent), rank, Some(counter), None)
    }

    fn describe(
        &mut self,
        name: &str,
        parent: Option<Track>,
        rank: i32,
        counter: Option<CounterDescriptor>,
        description: Option<String>,
    ) -> Result<Track, ExportError> {
        self.tracks += 1;
        self.write(&TracePacket {
            trusted_packet_sequence_id: Some(SEQUENCE),
            track_descriptor: Some(TrackDescriptor {
                uuid: Some(self.tracks),
                name: Some(name.into()),
                parent_uuid: parent.map(|track| track.0),
                child_ordering: counter.is_none().then_some(EXPLICIT),
                sibling_order_rank: Some(rank),
                counter,
                description,
            }),
            ..TracePacket::default()
        })?;
        Ok(Track(self.tracks))
    }

    /// A slice: what comes next on its track must not begin before its end.
    pub(super) fn slice(
        &mut self,
        track: Track,
        (start, end): (u64, u64),
        name: &str,
        details: &[(&'static str, Detail<'_>)],
    ) -> Result<(), ExportError> {
        self.event(track, start, Type::SliceBegin, name, details)?;
        let packet = &mut self.packet;
        packet.timestamp = Some(end);
        packet.interned_data = None;
        let event = packet.track_event.get_or_insert_default();
        event.debug_annotations.clear();
        event.name_iid = None;
        event.set_type(Type::SliceEnd);
        self.write_event()
    }

    /// A moment; its name is not expected to come again.
    pub(super) fn instant(
        &mut self,
        track: Track,
        at: u64,
        name: &str,
        details: &[(&'static str, Detail<'_>)],
    ) -> Result<(), ExportError> {
        self.event(track, at, Type::Instant, name, details)
    }

    /// What a counter has from this moment on.
    pub(super) fn count(&mut self, track: Track, at: u64, value: f64) -> Result<(), ExportError> {
        self.write(&TracePacket {
            timestamp: Some(at),
            trusted_packet_sequence_id: Some(SEQUENCE),
            track_event: Some(TrackEvent {
                r#type: Some(Type::Counter.into()),
                track_uuid: Some(track.0),
                double_counter_value: Some(value),
                ..TrackEvent::default()
            }),
            ..TracePacket::default()
        })
    }

    fn event(
        &mut self,
        track: Track,
        at: u64,
        kind: Type,
        name: &str,
        details: &[(&'static str, Detail<'_>)],
    ) -> Result<(), ExportError> {
        let mut new = InternedData::default();
        let event = self.packet.track_event.get_or_insert_default();
        event.debug_annotations.clear();
        for &(name, detail) in details {
            let value = match detail {
                Detail::Int(value) => Value::Int(value),
                Detail::Double(value) => Value::Double(value),
                Detail::Text(value) => Value::Text(value.into()),
                Detail::Address(value) => Value::Pointer(value.cast_unsigned()),
                Detail::Name(value) => {
                    Value::Interned(self.detail_values.number(value, &mut new.debug_annotation_string_values))
                }
            };
            let name = self.detail_names.number(name, &mut new.debug_annotation_names);
            event.debug_annotations.push(DebugAnnotation { name_iid: Some(name), value: Some(value) });
        }
        event.name_iid = Some(self.event_names.number(name, &mut new.event_names));
        event.track_uuid = Some(track.0);
        event.set_type(kind);
        self.packet.timestamp = Some(at);
        self.packet.trusted_packet_sequence_id = Some(SEQUENCE);
        self.packet.sequence_flags = Some(NEEDS_INCREMENTAL_STATE);
        self.packet.interned_data = (new != InternedData::default()).then_some(new);
        self.write_event()
    }

    fn write_event(&mut self) -> Result<(), ExportError> {
        let packet = std::mem::take(&mut self.packet);
        let written = self.write(&packet);
        self.packet = packet;
        written
    }

    /// All is written.
    pub(super) fn finish(mut self) -> Result<(), ExportError> {
        Ok(self.out.flush()?)
    }
}

/// Tracks of one name beside each other, as many as needed for what is at the same time: slices of one never overlap.
#[derive(Debug, Default)]
pub(super) struct Lanes(Vec<(Track, u64)>);

impl Lanes {
    /// A track that is there already is the first.
    pub(super) fn of(own: Option<Track>) -> Lanes {
        Lanes(own.map(|track| (track, 0)).into_iter().collect())
    }

    /// One that is free from `start` on; it is taken to `end`. Starts must not go back.
    pub(super) fn take(
        &mut self,
        (start, end): (u64, u64),
        another: impl FnOnce() -> Result<Track, ExportError>,
    ) -> Result<Track, ExportError> {
        if let Some((track, free)) = self.0.iter_mut().find(|(_, free)| *free <= start) {
            *free = end;
            return Ok(*track);
        }
        let track = another()?;
        self.0.push((track, end));
        Ok(track)
    }
}
