//! What the files in deploy/ say is what the program knows.

use crate::cli::{havana, scratch};

const FILES: [&str; 2] =
    [include_str!("../../../deploy/compose.yaml"), include_str!("../../../deploy/kubernetes.yaml")];

#[test]
fn their_options_are_the_program_s() {
    let dir = scratch();
    let help = ["record", "view", "prune"].map(|command| {
        let output = havana(dir.path()).args([command, "--help"]).assert().success().get_output().stdout.clone();
        String::from_utf8(output).unwrap()
    });
    let is_option = |word: &&str| word.starts_with("--") && word[2..].starts_with(|c: char| c.is_ascii_lowercase());
    // Those of docker and kubectl are in comments.
    let lines = FILES.iter().flat_map(|file| file.lines()).filter(|line| !line.trim_start().starts_with('#'));
    let words = lines.flat_map(|line| line.split(|c: char| c.is_whitespace() || ",[]=\"".contains(c)));
    let options: Vec<&str> = words.filter(is_option).collect();
    assert!(options.len() > 12, "{options:?}");
    for option in options {
        assert!(help.iter().any(|help| help.contains(&format!("{option} "))), "{option} is unknown");
    }
}
