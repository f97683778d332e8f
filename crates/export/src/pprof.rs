//! A profile of pprof (`profile.proto`, compressed by gzip): a sample a VM, vCPU, process and state, its values the time
//! and the exits.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use rustc_hash::FxHashMap;

use crate::stacks::{self, NO_PROCESS};
use crate::{ExportError, Selection};

/// Writes it.
///
/// # Errors
/// Where the dataset cannot be read, or the profile not be written.
pub fn write(selection: &Selection<'_>, out: impl Write) -> Result<(), ExportError> {
    let names = selection.names()?;
    let mut texts = Texts::new();
    let unit = if selection.is_in_ns() { "nanoseconds" } else { "ticks" };
    let mut profile = Profile {
        sample_type: vec![texts.value("time", unit), texts.value("exits", "count")],
        default_sample_type: texts.number("time"),
        ..Profile::default()
    };
    let (first, last) = selection.span();
    if selection.is_in_ns() {
        profile.duration_nanos = selection.length(last - first);
    }
    if selection.is_unix() {
        profile.time_nanos = selection.time(first);
    }
    for (stack, sum) in stacks::sum(selection)? {
        let vm = names.vm(stack.vm_id);
        let process = stack.process_id.map_or_else(|| NO_PROCESS.into(), |id| names.process(id));
        // Readers sum by these names, wherever they stand: a vCPU 0 of every VM would be one.
        let frames = [
            stack.state.name().to_string(),
            format!("{process} of {vm}"),
            format!("{} of {vm}", names.vcpu(stack.vcpu_id)),
            vm,
        ];
        profile.sample.push(Sample {
            location_id: frames.iter().map(|name| texts.frame(name)).collect(),
            value: vec![selection.length(sum.ticks), sum.exits],
        });
    }
    // Frames are numbered from 1 on, each a function at a place of its own.
    for (id, &name) in (1..).zip(&texts.frames) {
        profile.function.push(Function { id, name, system_name: name });
        profile.location.push(Location { id, line: vec![Line { function_id: id }] });
    }
    profile.string_table = texts.all;
    let mut out = GzEncoder::new(out, Compression::default());
    out.write_all(&profile.encode_to_vec())?;
    out.finish()?.flush()?;
    Ok(())
}

/// The table of texts; the first is empty. Frames are texts, too.
struct Texts {
    all: Vec<String>,
    numbers: FxHashMap<String, i64>,
    /// The text of each.
    frames: Vec<i64>,
    frame_of: FxHashMap<i64, u64>,
}

impl Texts {
    fn new() -> Texts {
        let mut texts = Texts {
            all: Vec::new(),
            numbers: FxHashMap::default(),
            frames: Vec::new(),
            frame_of: FxHashMap::default(),
        };
        texts.number("");
        texts
    }

    fn number(&mut self, text: &str) -> i64 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = self.all.len() as i64;
        self.all.push(text.into());
        self.numbers.insert(text.into(), number);
        number
    }

    fn value(&mut self, kind: &str, unit: &str) -> ValueType {
        ValueType { r#type: self.number(kind), unit: self.number(unit) }
    }

    fn frame(&mut self, name: &str) -> u64 {
        let text = self.number(name);
        *self.frame_of.entry(text).or_insert_with(|| {
            self.frames.push(text);
            self.frames.len() as u64
        })
    }
}

#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(int64, tag = "14")]
    default_sample_type: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    r#type: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    /// The leaf first.
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
}
