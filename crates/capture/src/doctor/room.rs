//! Where a recording would go, and memory for its rings.

use super::{Check, Look, Subject, Verdict, size};
use crate::output::Target;

const SUBJECT: Subject = Subject::Room;
/// A busy host: 100,000 exits a second, of 200 bytes with CYC.
const BYTES_A_SECOND: u64 = 20_000_000;
/// A file begins with what runs on the host: with less there is no recording.
const LEAST: u64 = 10_000_000;
/// Less is soon full: not a minute of a busy host.
const LITTLE: u64 = 60 * BYTES_A_SECOND;

pub(super) fn checks(look: &Look<'_>) -> Vec<Check> {
    vec![disk(look), memory(look)]
}

/// How long it lasts.
fn lasts(bytes: u64) -> String {
    let seconds = bytes / BYTES_A_SECOND;
    match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7200 => format!("{} minutes", (seconds + 30) / 60),
        _ => format!("{} hours", (seconds + 1800) / 3600),
    }
}

fn disk(look: &Look<'_>) -> Check {
    const NAME: &str = "disk";
    let output = &look.options.output;
    let Target::File(path) = &output.target else {
        return Check::new(SUBJECT, NAME, Verdict::Note, "standard output: whoever reads it needs the room");
    };
    let free = match look.probes.room(output) {
        Ok(free) => free,
        Err(error) => {
            return Check::prevented(SUBJECT, NAME, &error)
                .advise("say -o FILE where there is room, and it can be written");
        }
    };
    let found = format!(
        "{} free for {}: {} of a busy host's envelope (100,000 exits a second, 20 MB/s)",
        size(free),
        path.display(),
        lasts(free),
    );
    if free >= LITTLE {
        return Check::new(SUBJECT, NAME, Verdict::Ok, found);
    }
    let check = Check::new(SUBJECT, NAME, Verdict::NotOk, found);
    Check { prevents: free < LEAST, ..check }
        .advise("make room, or say -o FILE elsewhere; --max-size and --rotate-size bound what is written")
}

fn memory(look: &Look<'_>) -> Check {
    const NAME: &str = "memory";
    let needed = look.events.locked_bytes() * look.cpus.len() as u64;
    let text = look.host.read("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let Some(kb) = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()) else {
        return Check::new(SUBJECT, NAME, Verdict::Unknown, "/proc/meminfo does not say what is available");
    };
    let found = format!("rings need {} of the {} that are available", size(needed), size(kb << 10));
    if needed <= kb << 10 {
        return Check::new(SUBJECT, NAME, Verdict::Ok, found);
    }
    let check = Check::new(SUBJECT, NAME, Verdict::NotOk, found).advise("say a smaller --buffer, or fewer --cpus");
    Check { prevents: true, ..check }
}
