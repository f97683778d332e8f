//! Metadata of CTF 2 (CTF2-SPEC-2.0): a sequence of JSON texts, each after a record separator.

use serde_json::{Map, Value, json};

use super::Facts;
use super::schema::{Event, Kind, Streams};

/// The sequence.
pub(super) fn metadata(facts: &Facts) -> String {
    let environment: Map<String, Value> =
        facts.environment().into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    let mut clock = json!({
        "type": "clock-class", "id": "node", "name": "node", "description": facts.clock, "frequency": 1_000_000_000,
        "offset-from-origin": { "seconds": 0, "cycles": 0 },
    });
    if facts.is_unix {
        clock["origin"] = "unix-epoch".into();
    }
    let mut fragments = vec![
        json!({ "type": "preamble", "version": 2 }),
        json!({
            "type": "trace-class",
            "environment": environment,
            "packet-header-field-class": structure([
                ("magic", unsigned(32, &["packet-magic-number"])),
                ("stream_id", unsigned(32, &["data-stream-class-id"])),
                ("stream_instance_id", unsigned(32, &["data-stream-id"])),
            ]),
        }),
        clock,
    ];
    for streams in Streams::ALL {
        let context = [
            ("timestamp_begin", unsigned(64, &["default-clock-timestamp"])),
            ("timestamp_end", unsigned(64, &["packet-end-default-clock-timestamp"])),
            ("content_size", unsigned(64, &["packet-content-length"])),
            ("packet_size", unsigned(64, &["packet-total-length"])),
        ];
        let cpu = (streams == Streams::Cpu).then(|| ("cpu_id", unsigned(32, &[])));
        fragments.push(json!({
            "type": "data-stream-class",
            "id": streams as u32,
            "default-clock-class-id": "node",
            "packet-context-field-class": structure(context.into_iter().chain(cpu)),
            "event-record-header-field-class": structure([
                ("id", unsigned(16, &["event-record-class-id"])),
                ("timestamp", unsigned(64, &["default-clock-timestamp"])),
            ]),
        }));
    }
    for event in Event::ALL {
        fragments.push(json!({
            "type": "event-record-class",
            "id": event as u16,
            "data-stream-class-id": event.streams() as u32,
            "name": event.name(),
            "payload-field-class": structure(event.fields().iter().map(|(name, kind)| (*name, class(kind)))),
        }));
    }
    fragments.iter().map(|fragment| format!("\u{1e}{fragment}\n")).collect()
}

fn structure(members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let members: Vec<Value> =
        members.into_iter().map(|(name, class)| json!({ "name": name, "field-class": class })).collect();
    json!({ "type": "structure", "member-classes": members })
}

fn integer(of: &str, bits: u32) -> Value {
    json!({ "type": of, "length": bits, "byte-order": "little-endian", "alignment": 8 })
}

fn unsigned(bits: u32, roles: &[&str]) -> Value {
    let mut class = integer("fixed-length-unsigned-integer", bits);
    if !roles.is_empty() {
        class["roles"] = json!(roles);
    }
    class
}

fn class(kind: &Kind) -> Value {
    let named = |mut class: Value, names: Vec<(i32, &'static str)>| {
        let mappings: Map<String, Value> =
            names.into_iter().map(|(code, name)| (name.into(), json!([[code, code]]))).collect();
        class["mappings"] = mappings.into();
        class
    };
    match kind {
        Kind::Id => integer("fixed-length-signed-integer", 32),
        Kind::Number => integer("fixed-length-signed-integer", 64),
        Kind::Address => {
            let mut class = unsigned(64, &[]);
            class["preferred-display-base"] = 16.into();
            class
        }
        Kind::Ratio => integer("fixed-length-floating-point-number", 64),
        Kind::Text => json!({ "type": "null-terminated-string" }),
        Kind::Name(of) => named(unsigned(8, &[]), of()),
        Kind::NamedId(of) => named(integer("fixed-length-signed-integer", 32), of()),
    }
}
