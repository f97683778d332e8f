//! The case study of the docs: its commands, run one after the other, print what stands below them.

use std::path::Path;
use std::process::Command;

use crate::common::HAVANA;

/// The commands of all `console` blocks, each with what is printed below it.
fn commands(text: &str) -> Vec<(&str, String)> {
    let mut commands: Vec<(&str, String)> = Vec::new();
    let mut console = false;
    for line in text.lines() {
        match line.strip_prefix("$ ") {
            _ if line.starts_with("```") => console = line == "```console",
            Some(command) if console => commands.push((command, String::new())),
            None if console => {
                let (_, printed) = commands.last_mut().unwrap();
                printed.push_str(line);
                printed.push('\n');
            }
            _ => {}
        }
    }
    commands
}

#[test]
fn what_is_typed_prints_what_stands_there() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").canonicalize().unwrap();
    let text = std::fs::read_to_string(docs.join("case-study.md")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(&docs, dir.path().join("docs")).unwrap();
    let commands = commands(&text);
    assert!(commands.len() > 4, "{commands:?}");
    for (command, expected) in commands {
        let ours = command.strip_prefix("havana ").map(|rest| format!("\"{HAVANA}\" {rest}"));
        let command = ours.as_deref().unwrap_or(command);
        let done = Command::new("sh").args(["-c", command]).current_dir(dir.path()).output().unwrap();
        let printed = String::from_utf8(done.stdout).unwrap();
        // The docs stop where the rest does not matter.
        let told: String = printed.lines().take(expected.lines().count()).map(|line| format!("{line}\n")).collect();
        assert_eq!(told, expected, "{command}: {}", String::from_utf8_lossy(&done.stderr));
    }
}
