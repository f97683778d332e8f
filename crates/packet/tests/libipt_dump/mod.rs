//! libipt's packets beside ours. For the tests of this crate, and of others that make streams.

use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use havana_packet::{Decoder, Kind};

/// Our dump program, built; `None`, said on stderr, where there is no compiler or no libipt.
pub(crate) fn libipt_dump(name: &str) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packet/tests/libipt_dump/dump.c");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let built = Command::new("cc").arg("-O2").arg("-o").arg(&program).arg(source).arg("-lipt").output();
    match built {
        Ok(output) if output.status.success() => Some(program),
        Ok(_) => {
            eprintln!("skipped: no program can be built with libipt");
            None
        }
        Err(error) => {
            eprintln!("skipped: no C compiler: {error}");
            None
        }
    }
}

/// Compares our packets with libipt's; gives how many there are of each kind.
pub(crate) fn compare(dump: &Path, file: &Path) -> [u64; Kind::ALL.len()] {
    let bytes = fs::read(file).unwrap();
    let mut child = Command::new(dump).arg(file).stdout(Stdio::piped()).spawn().unwrap();
    let mut theirs = BufReader::with_capacity(1 << 16, child.stdout.take().unwrap());
    let mut counts = [0; Kind::ALL.len()];
    let (mut our_line, mut their_line) = (String::new(), String::new());
    for item in Decoder::new(&bytes) {
        let packet = item.what.unwrap_or_else(|reason| panic!("{}: {:x}: {reason}", file.display(), item.offset));
        counts[packet.kind().index()] += 1;
        our_line.clear();
        write!(our_line, "{:x}\t{}", item.offset, packet.kind()).unwrap();
        let before = our_line.len();
        write!(our_line, "\t{}", packet.payload()).unwrap();
        if our_line.len() == before + 1 {
            our_line.pop();
        }
        our_line.push('\n');
        their_line.clear();
        theirs.read_line(&mut their_line).unwrap();
        assert_eq!(our_line, their_line, "{}", file.display());
    }
    their_line.clear();
    theirs.read_line(&mut their_line).unwrap();
    assert_eq!(their_line, "", "{}: libipt has more", file.display());
    assert!(child.wait().unwrap().success());
    assert!(counts[Kind::Psb.index()] > 0, "{}: no PSB", file.display());
    counts
}
