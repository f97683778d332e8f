//! Metadata of CTF 1.8: a text in TSDL.

use std::fmt::Write;

use super::Facts;
use super::schema::{Event, Kind, Streams};

/// The text.
pub(super) fn metadata(facts: &Facts) -> String {
    let mut out = String::from("/* CTF 1.8 */\n\n");
    for (name, size, signed, more) in [
        ("u8", 8, false, ""),
        ("u16", 16, false, ""),
        ("u32", 32, false, ""),
        ("u64", 64, false, ""),
        ("s32", 32, true, ""),
        ("s64", 64, true, ""),
        ("hex64", 64, false, " base = 16;"),
    ] {
        add(
            &mut out,
            &format!("typealias integer {{ size = {size}; align = 8; signed = {signed};{more} }} := {name};"),
        );
    }
    add(&mut out, "typealias floating_point { exp_dig = 11; mant_dig = 53; align = 8; } := f64;");
    add(&mut out, "\ntrace {\n\tmajor = 1;\n\tminor = 8;\n\tbyte_order = le;");
    add(&mut out, "\tpacket.header := struct { u32 magic; u32 stream_id; u32 stream_instance_id; };\n};");
    add(&mut out, "\nenv {");
    for (name, value) in facts.environment() {
        add(&mut out, &format!("\t{name} = {};", quoted(&value)));
    }
    add(&mut out, "};\n\nclock {\n\tname = node;");
    add(&mut out, &format!("\tdescription = {};", quoted(facts.clock)));
    add(&mut out, "\tfreq = 1000000000;\n\toffset_s = 0;\n\toffset = 0;");
    add(&mut out, &format!("\tabsolute = {};\n}};", facts.is_unix));
    add(&mut out, "\ntypealias integer { size = 64; align = 8; signed = false; map = clock.node.value; } := moment;");
    for streams in Streams::ALL {
        let cpu = if streams == Streams::Cpu { " u32 cpu_id;" } else { "" };
        add(&mut out, &format!("\nstream {{\n\tid = {};", streams as u32));
        add(&mut out, "\tevent.header := struct { u16 id; moment timestamp; };");
        add(
            &mut out,
            &format!(
                "\tpacket.context := struct {{ moment timestamp_begin; moment timestamp_end; u64 content_size; \
                 u64 packet_size;{cpu} }};\n}};"
            ),
        );
    }
    for event in Event::ALL {
        let (id, name, stream) = (event as u16, event.name(), event.streams() as u32);
        add(&mut out, &format!("\nevent {{\n\tid = {id};\n\tname = \"{name}\";\n\tstream_id = {stream};"));
        add(&mut out, "\tfields := struct {");
        for (name, kind) in event.fields() {
            add(&mut out, &format!("\t\t{} {name};", class(kind)));
        }
        add(&mut out, "\t};\n};");
    }
    out
}

fn add(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

fn class(kind: &Kind) -> String {
    let names = |of: &str, names: &[(i32, &str)]| {
        let mut text = format!("enum : {of} {{ ");
        for (i, (code, name)) in names.iter().enumerate() {
            // Into memory: it cannot fail.
            let _ = write!(text, "{}\"{name}\" = {code}", if i > 0 { ", " } else { "" });
        }
        text + " }"
    };
    match kind {
        Kind::Id => "s32".into(),
        Kind::Number => "s64".into(),
        Kind::Address => "hex64".into(),
        Kind::Ratio => "f64".into(),
        Kind::Text => "string { encoding = UTF8; }".into(),
        Kind::Name(of) => names("u8", &of()),
        Kind::NamedId(of) => names("s32", &of()),
    }
}

/// A text between quotes; what cannot stand there as it is, is left out.
fn quoted(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("\"{}\"", plain.replace('\\', "\\\\").replace('"', "\\\""))
}
