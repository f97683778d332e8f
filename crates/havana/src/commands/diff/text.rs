//! A comparison for a person: one line a change.

use std::io::{self, Write};

use havana_insight::diff::{Change, Diff, Presence, SideFacts, Unit, Unmatched, What};

use havana_insight::words::{count, duration, percent};

struct Style {
    bold: &'static str,
    dim: &'static str,
    warn: &'static str,
    end: &'static str,
}

/// Shares of what is hidden that are said.
const HIDDEN: f64 = 0.001;
/// Names are cut where they are longer than this.
const LONGEST: usize = 46;

pub(super) fn write(diff: &Diff, top: usize, colour: bool, out: &mut impl Write) -> io::Result<()> {
    let style = if colour {
        Style { bold: "\x1b[1m", dim: "\x1b[2m", warn: "\x1b[33m", end: "\x1b[0m" }
    } else {
        Style { bold: "", dim: "", warn: "", end: "" }
    };
    let Style { bold, dim, end, .. } = style;
    side("A", &diff.a, &style, out)?;
    side("B", &diff.b, &style, out)?;
    let told: Vec<&Change> = diff.changes.iter().filter(|change| change.told).collect();
    let (of_themselves, following): (Vec<&Change>, Vec<&Change>) =
        told.iter().partition(|change| change.explained_by.is_none());
    if told.is_empty() {
        writeln!(out, "\n{bold}NOTHING CHANGED that is more than chance and matters.{end}")?;
    } else {
        writeln!(out, "\n{bold}WHAT CHANGED{end}   {dim}most cpu time first; shares are of one cpu; [95 % sure]{end}")?;
        let shown = &of_themselves[..of_themselves.len().min(top)];
        table(shown, &style, out)?;
        more(of_themselves.len() - shown.len(), &style, out)?;
    }
    let room = top.saturating_sub(of_themselves.len());
    if !following.is_empty() {
        let shown = &following[..following.len().min(room)];
        if !shown.is_empty() {
            writeln!(out, "\n{bold}WHAT GOES WITH IT{end}   {dim}its sums, and what follows from it{end}")?;
            table(shown, &style, out)?;
        }
        more(following.len() - shown.len(), &style, out)?;
    }
    writeln!(out)?;
    for (name, unmatched, other) in [("A", &diff.unmatched_a, "B"), ("B", &diff.unmatched_b, "A")] {
        if !unmatched.is_empty() {
            not_matched(name, unmatched, other, &style, out)?;
        }
    }
    let rest = diff.compared - told.len();
    writeln!(
        out,
        "{dim}{} of {} quantities compared did not change by more than chance (1 in 100, all together), or by too little to \
         matter (0.5 % of a cpu, a twentieth of what was){end}",
        count(rest as u64),
        count(diff.compared as u64),
    )
}

fn side(name: &str, facts: &SideFacts, style: &Style, out: &mut impl Write) -> io::Result<()> {
    let Style { bold, warn, end, .. } = style;
    let time = |at: f64| match facts.tsc_hz {
        _ if at == 0.0 => "0".into(),
        Some(_) => duration(at * 1e9),
        None => format!("{} ticks", count(at as u64)),
    };
    let length = time(facts.to - facts.from);
    let stretch = if facts.whole { length } else { format!("{} to {}, {length}", time(facts.from), time(facts.to)) };
    let plural = |n: usize, one: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") };
    write!(
        out,
        "{bold}{name}{end}  {} · node {} · {stretch} · {} · {}",
        facts.dataset,
        facts.node,
        plural(facts.cpus, "cpu"),
        plural(facts.vms, "VM"),
    )?;
    if facts.hidden_share >= HIDDEN {
        write!(out, " · {warn}lost or unknown {}{end}", percent(facts.hidden_share))?;
    }
    writeln!(out)
}

fn more(n: usize, style: &Style, out: &mut impl Write) -> io::Result<()> {
    let Style { dim, end, .. } = style;
    if n == 0 { Ok(()) } else { writeln!(out, "  {dim}{n} more: --top N{end}") }
}

/// Rows whose columns are as wide as what is in them.
fn table(changes: &[&Change], style: &Style, out: &mut impl Write) -> io::Result<()> {
    let Style { bold, dim, warn, end } = style;
    let rows: Vec<[String; 7]> = changes.iter().map(|change| cells(change)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    for (row, change) in rows.iter().zip(changes) {
        let [who, what, a, b, by, interval, sure] = row;
        let pad = |text: &str, column: usize| " ".repeat(widths[column].saturating_sub(text.chars().count()));
        write!(
            out,
            "  {bold}{who}{end}{}  {what}{}  {}{a} → {b}{}  {bold}{}{by}{end} {dim}{interval}{}{end}  {}{sure}",
            pad(who, 0),
            pad(what, 1),
            pad(a, 2),
            pad(b, 3),
            pad(by, 4),
            pad(interval, 5),
            pad(sure, 6),
        )?;
        let notes = notes(change);
        if !notes.is_empty() {
            write!(out, "  {warn}{}{end}", notes.join(", "))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Who, what, from, to, by how much, between what, how surely.
fn cells(change: &Change) -> [String; 7] {
    let mut who = change.who.clone();
    if who.chars().count() > LONGEST {
        who = who.chars().take(LONGEST - 1).chain(['…']).collect();
    }
    let value = |x: f64| number(x, change.unit);
    let signed = |x: f64| format!("{}{}", if x < 0.0 { "−" } else { "+" }, number(x.abs(), change.unit));
    // The unit is said once.
    let bare = |x: f64| signed(x).trim_end_matches([' ', '%']).to_string();
    let mark = if change.inferred { "~" } else { "" };
    [
        who,
        what(change),
        format!("{mark}{}", value(change.a)),
        value(change.b),
        signed(change.change),
        format!("[{}, {}]", bare(change.lo), bare(change.hi)),
        sureness(change.adjusted_p),
    ]
}

fn what(change: &Change) -> String {
    match change.kind {
        What::Guest => "in the guest".into(),
        What::Hypervisor => "in the hypervisor".into(),
        What::Preempted => "preempted".into(),
        What::Waiting => "waiting".into(),
        What::OffCpu => "off cpu".into(),
        What::Stolen => format!("waited for {}", change.taker.as_deref().unwrap_or("others")),
        What::Process => "on a cpu".into(),
        What::Root => "in the hypervisor".into(),
        What::Exits => {
            let why = change.reason.as_ref().map_or(String::new(), |why| format!("{why} "));
            format!("{why}exits{}", if change.unit == Unit::PerSecond { " a second" } else { " in 10⁹ ticks" })
        }
        What::ExitMedian => "exit to re-entry, median".into(),
        What::ExitP99 => "exit to re-entry, 99 %".into(),
        What::Busy => "busy".into(),
        What::Idle => "idle".into(),
        What::Lost => "lost or unknown".into(),
    }
}

fn number(x: f64, unit: Unit) -> String {
    match unit {
        Unit::Share => percent(x),
        Unit::PerSecond | Unit::PerGigatick if x < 99.5 => format!("{x:.1}"),
        Unit::PerSecond | Unit::PerGigatick => count(x.round() as u64),
        Unit::Ns => duration(x),
        Unit::Ticks => format!("{} ticks", count(x as u64)),
    }
}

fn sureness(adjusted_p: f64) -> String {
    match adjusted_p {
        p if p < 1e-4 => ">99.99 %".into(),
        p if p < 1e-3 => format!("{:.2} %", (1.0 - p) * 100.0),
        p => format!("{:.1} %", (1.0 - p) * 100.0),
    }
}

/// What else must be known of a line.
fn notes(change: &Change) -> Vec<String> {
    let mut notes = Vec::new();
    match change.presence {
        Presence::New => notes.push("new".into()),
        Presence::Gone => notes.push("gone".into()),
        Presence::Both | Presence::Unmatched => {}
    }
    for (name, step) in [("A", change.a_step), ("B", change.b_step)] {
        if let Some(at) = step {
            let is_rate_known = !matches!(change.unit, Unit::PerGigatick | Unit::Ticks);
            let at = if is_rate_known { duration(at * 1e9) } else { format!("{} ticks", count(at as u64)) };
            notes.push(format!("in {name} from {at} on"));
        }
    }
    if change.in_doubt {
        notes.push("or it is in what is not known".into());
    }
    notes
}

fn not_matched(
    name: &str,
    unmatched: &[Unmatched],
    other: &str,
    style: &Style,
    out: &mut impl Write,
) -> io::Result<()> {
    let Style { warn, end, .. } = style;
    let list: Vec<String> =
        unmatched.iter().take(4).map(|vm| format!("{} ({} of a cpu)", vm.who, percent(vm.cpu_share))).collect();
    let rest = if unmatched.len() > 4 { format!(" and {} more", unmatched.len() - 4) } else { String::new() };
    writeln!(
        out,
        "{warn}not compared: {name}'s {}{rest}: nothing says who that is in {other}; names do (analyze --names){end}",
        list.join(", ")
    )
}
