//! `node=NODE/capture=ID`: hive partitioning, as every engine reads it.

use std::fmt::Write;
use std::path::PathBuf;

/// Where a table's files lie below its directory.
pub fn directory(node: &str, capture: &str) -> PathBuf {
    PathBuf::from(format!("node={}", encode(node))).join(format!("capture={}", encode(capture)))
}

/// Percent-encodes what may not stand in a path or would end the value there.
pub fn encode(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => out.push(byte.into()),
            // Writing to a String cannot fail.
            _ => _ = write!(out, "%{byte:02X}"),
        }
    }
    out
}

/// What [`encode`] made this of; none where nothing is.
pub fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            out.push(u8::from_str_radix(text.get(at + 1..at + 3)?, 16).ok()?);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_safe_stays_and_the_rest_is_encoded() {
        for (value, expected) in [
            ("kvm-07.example_org", "kvm-07.example_org"),
            ("..", ".."),
            ("../../etc", "..%2F..%2Fetc"),
            ("a=b c%\0", "a%3Db%20c%25%00"),
            ("Zürich", "Z%C3%BCrich"),
        ] {
            assert_eq!(encode(value), expected);
            assert_eq!(decode(expected).as_deref(), Some(value));
        }
        assert_eq!((decode("%"), decode("%4"), decode("%FF")), (None, None, None));
        assert_eq!(directory("..", "../x"), PathBuf::from("node=../capture=..%2Fx"));
        assert_eq!(directory("..", "x").components().count(), 2);
    }
}
