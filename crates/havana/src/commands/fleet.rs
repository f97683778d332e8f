//! `havana push`, `havana prune`: captures of many nodes under one root.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::bail;
use havana_fleet::{Compacted, FleetError, Keep, Outcome, Root, Share, Step};
use havana_insight::words::{bytes, count};
use havana_store::Dataset;
use tokio::runtime::Runtime;

use super::progress;
use super::scratch::Scratch;
use crate::cli::{Prune, Push};

pub(crate) fn push(args: &Push) -> anyhow::Result<ExitCode> {
    let Some((root, datasets)) = args.words.split_last().filter(|(_, datasets)| !datasets.is_empty()) else {
        bail!("say what goes where: havana push DATASET… ROOT");
    };
    // All of them first: nothing goes where one is not there.
    let datasets = datasets.iter().map(|dir| Dataset::open(dir)).collect::<Result<Vec<_>, _>>()?;
    let root = Root::create(&root.to_string_lossy())?;
    let runtime = Runtime::new()?;
    let mut refused = Vec::new();
    for dataset in &datasets {
        let bar = progress::of_bytes(0);
        let told = |step: Step| match step {
            Step::Begin(bytes) => {
                bar.set_position(0);
                bar.set_length(bytes);
            }
            Step::Sent(bytes) => bar.inc(bytes),
        };
        let pushed = runtime.block_on(havana_fleet::push(&root, dataset, args.force, &told));
        bar.finish_and_clear();
        let pushed = match pushed {
            // What is the matter with one is none of the others.
            Err(error @ FleetError::Other { .. }) => {
                refused.push(error);
                continue;
            }
            pushed => pushed?,
        };
        let size = bytes(pushed.bytes);
        let done = match pushed.outcome {
            Outcome::Already => "was there already".to_string(),
            Outcome::Part => "was there already, and is part of what compact made".into(),
            Outcome::Pushed if pushed.sent < pushed.bytes => format!("{} of them now", bytes(pushed.sent)),
            Outcome::Pushed => "pushed".into(),
        };
        let (dir, files) = (dataset.dir().display(), pushed.files);
        writeln!(std::io::stdout(), "{dir}  {size} in {files} files: {done}")?;
    }
    let Some(last) = refused.pop() else { return Ok(ExitCode::SUCCESS) };
    for error in refused {
        eprintln!("havana: {error}");
    }
    Err(last.into())
}

pub(crate) fn compact(root: &Path, share: Option<Share>) -> anyhow::Result<ExitCode> {
    let root = Root::open(&root.to_string_lossy())?;
    let scratch = Scratch::new("compact")?;
    let mut failed = None;
    let mut told = |done: &Compacted| {
        let Compacted { node, hour, captures, files, bytes: size } = done;
        let line = format!(
            "{hour}  {node}  {captures} captures, {} files, {}: now {} files, {}",
            files.0,
            bytes(size.0),
            files.1,
            bytes(size.1)
        );
        failed = writeln!(std::io::stdout(), "{line}").err().or(failed.take());
    };
    let share = share.unwrap_or(Share::ALL);
    let done = Runtime::new()?.block_on(havana_fleet::compact(&root, share, scratch.path(), now()?, &mut told))?;
    if let Some(failed) = failed {
        return Err(failed.into());
    }
    if done == 0 {
        writeln!(
            std::io::stdout(),
            "nothing to do: no node has captures that follow each other, of an hour that ended half an hour ago"
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Seconds since 1970.
fn now() -> anyhow::Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs())?)
}

pub(crate) fn prune(args: &Prune) -> anyhow::Result<ExitCode> {
    let root = Root::open(&args.root.to_string_lossy())?;
    let keep = Keep { younger: args.older, bytes: args.max_size, dry: args.dry_run };
    let pruned = Runtime::new()?.block_on(havana_fleet::prune(&root, &keep, now()?))?;
    let mut out = std::io::stdout();
    for (hour, node, capture) in &pruned.captures {
        writeln!(out, "{hour}  {node}  {capture}")?;
    }
    let would = if args.dry_run { "would go" } else { "gone" };
    let orphans = match pruned.orphans {
        0 => String::new(),
        files => format!(", and {} files that pushes have left", count(files as u64)),
    };
    writeln!(
        out,
        "{would}: {} captures{orphans}, {}; {} captures stay, {}",
        count(pruned.captures.len() as u64),
        bytes(pruned.bytes),
        count(pruned.kept as u64),
        bytes(pruned.kept_bytes),
    )?;
    Ok(ExitCode::SUCCESS)
}
