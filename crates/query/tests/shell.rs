//! The shell, at a terminal.

use std::process::Command;

use crate::common::{HAVANA_SQL, noisy, python, skipped};

/// Types lines at a terminal of its own, each once the shell reads keys and shows nothing more, and prints what was shown.
const TYPE: &str = r#"
import os, pty, select, sys, termios, time
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], sys.argv[1:3])
shown, until = b"", time.time() + 120
def read(seconds):
    global shown
    if not select.select([terminal], [], [], seconds)[0]:
        return True
    try:
        more = os.read(terminal, 4096)
    except OSError:
        return False
    shown += more
    return more != b""
def in_time():
    if time.time() > until:
        os.kill(child, 9)
        sys.exit(f"no end of {shown!r}")
for line in sys.argv[3:]:
    quiet = 0
    while quiet < 5 or termios.tcgetattr(terminal)[3] & termios.ICANON:
        in_time()
        before = len(shown)
        read(0.1)
        quiet = quiet + 1 if len(shown) == before else 0
    os.write(terminal, line.encode().decode("unicode_escape").encode())
while read(1):
    in_time()
print(shown.decode(errors="replace"))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

fn typed(home: &std::path::Path, lines: &[&str]) -> Option<String> {
    let mut run = Command::new(python());
    run.args(["-c", TYPE, HAVANA_SQL]).arg(noisy()).args(lines);
    let output = run.env("XDG_STATE_HOME", home).env("TERM", "xterm").output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    Some(said)
}

#[test]
fn questions_at_a_terminal() {
    let home = tempfile::tempdir().unwrap();
    // Two lines make a question, what fails is said, and the next is answered.
    let lines = ["SELECT 6 * 7\\rAS answer;\\r", "SELECT nothing;\\r", "steal-matrix\\r", "\\\\q\\r"];
    let Some(said) = typed(home.path(), &lines) else {
        return skipped("the shell", "there is no python");
    };
    for expected in ["1 dataset;", "| 42", "1 rows, ", "nothing", "by_kind"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    // The next time what was asked is there: an arrow up brings it back. Tab completes.
    let said = typed(
        home.path(),
        &["\\x1b[A\\x1b[A\\x1b[A\\x1b[A\\r", "SELECT max(exit_i\\t) > 0 AS whole FROM exits;\\r", "\\\\q\\r"],
    )
    .unwrap();
    assert!(said.contains("| 42"), "{said}");
    assert!(said.contains("max(exit_id") && said.contains("| true"), "{said}");
}
