//! The shell, at a terminal.

use std::process::Command;

use crate::common::{HAVANA_SQL, noisy, python, skipped};

/// Types lines at a terminal of its own, each once the prompt has come, and prints what was shown.
const TYPE: &str = r#"
import os, pty, select, sys, time
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], sys.argv[1:3])
shown = b""
def until(text, seconds=120):
    global shown
    end = time.time() + seconds
    seen = len(shown)
    while text not in shown[seen:]:
        if not select.select([terminal], [], [], max(0, end - time.time()))[0]:
            sys.exit(f"no {text!r} in {shown[seen:]!r}")
        try:
            shown += os.read(terminal, 4096)
        except OSError:
            break
for line in sys.argv[3:]:
    until(b"havana> ")
    os.write(terminal, line.encode().decode("unicode_escape").encode())
while True:
    try:
        more = os.read(terminal, 4096)
    except OSError:
        break
    if not more:
        break
    shown += more
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
