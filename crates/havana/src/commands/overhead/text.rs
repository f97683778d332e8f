//! An experiment for a person: a line a way, then what that says.

use std::io::Write;

use havana_capture::overhead::{CONFIDENCE, LEAST_ROUNDS, Lost, Measured, Slowdown};

use super::Told;
use havana_insight::words::{bytes, count, duration, percent};

/// What is above the columns, and how: names to the left, numbers to the right.
const COLUMNS: [(&str, Side); 7] = [
    ("", Side::Left),
    ("wall", Side::Right),
    ("slowdown", Side::Right),
    ("CPU time", Side::Right),
    ("recorded", Side::Right),
    ("reader", Side::Right),
    ("lost", Side::Left),
];

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

pub(super) fn write(told: &Told<'_>, out: &mut impl Write) -> anyhow::Result<()> {
    let Told { command, plan, outcome, .. } = told;
    let warm_up = match plan.warm_up {
        0 => String::new(),
        n => format!(" after {} that {} not count", plural(n.into(), "round"), if n == 1 { "does" } else { "do" }),
    };
    writeln!(out, "{} · {}{warm_up}\n", command.join(" "), plural(plan.rounds.into(), "round"))?;
    let mut rows = vec![COLUMNS.map(|(name, _)| name.to_string())];
    rows[0][2] = format!("slowdown [{:.0} %]", 100.0 * CONFIDENCE);
    rows.extend(outcome.ways.iter().map(|measured| row(told, measured)));
    table(&rows, out)?;
    writeln!(out)?;
    for measured in &outcome.ways {
        if let Some(slowdown) = outcome.slowdown(measured) {
            writeln!(out, "{}: {}", measured.way, in_words(&slowdown, plan.rounds))?;
        }
        if measured.failed() > 0 {
            writeln!(out, "{}: the command failed in {} of {}", measured.way, measured.failed(), plan.rounds)?;
        }
    }
    Ok(())
}

fn row(told: &Told<'_>, measured: &Measured) -> [String; 7] {
    let seconds = |seconds: Option<f64>| seconds.map_or_else(String::new, |s| duration(s * 1e9));
    let name = measured.way.to_string();
    let wall = seconds(measured.wall_seconds());
    let Some(slowdown) = told.outcome.slowdown(measured) else {
        let cpu = seconds(measured.cpu_seconds());
        return [name, wall, String::new(), cpu, String::new(), String::new(), String::new()];
    };
    let cpu = told.outcome.cpu_slowdown(measured).map_or_else(String::new, |s| signed(s.estimate));
    [
        name,
        wall,
        with_interval(&slowdown),
        cpu,
        format!("{:.2} MB/s", measured.bytes_a_second() / 1e6),
        percent(measured.reader_share()),
        lost(measured.lost()),
    ]
}

fn table(rows: &[[String; 7]], out: &mut impl Write) -> anyhow::Result<()> {
    let chars = |text: &String| text.chars().count();
    let width = |at: usize| rows.iter().map(|row| chars(&row[at])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths).zip(COLUMNS).map(|((text, &width), (_, side))| match side {
            Side::Left => format!("{text:<width$}"),
            Side::Right => format!("{text:>width$}"),
        });
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// `envelope: +0.4 % [−0.2 %, +1.1 %], …`: what follows the name.
fn in_words(slowdown: &Slowdown, rounds: u32) -> String {
    let figures = with_interval(slowdown);
    let Some(interval) = slowdown.interval else {
        let rounds = plural(rounds.into(), "round");
        return format!("{figures}; {rounds}: too few for an interval, say --rounds {LEAST_ROUNDS} or more");
    };
    if interval.least > 0.0 {
        return format!("{figures}, slower than with nothing recorded");
    }
    if interval.most < 0.0 {
        return format!("{figures}, faster than with nothing recorded: is it the same work each time?");
    }
    format!(
        "{figures}, not told apart from nothing with {rounds} rounds; a slowdown of {} would have been seen",
        percent(interval.would_be_seen)
    )
}

fn with_interval(slowdown: &Slowdown) -> String {
    let estimate = signed(slowdown.estimate);
    let interval = slowdown.interval.map(|i| format!(" [{}, {}]", signed(i.least), signed(i.most)));
    estimate + &interval.unwrap_or_default()
}

/// `+0.42 %`, `−1.3 %`: with as many decimals as mean something.
fn signed(share: f64) -> String {
    let percent = 100.0 * share;
    let decimals = match percent.abs() {
        p if p < 0.995 => 2,
        p if p < 99.95 => 1,
        _ => 0,
    };
    let text = format!("{percent:+.decimals$} %").replace('-', "−");
    if text == "−0.00 %" { "+0.00 %".into() } else { text }
}

fn plural(n: u64, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{} {one}s", count(n)) }
}

fn lost(lost: Lost) -> String {
    let Lost { stops, records, bytes: left } = lost;
    let parts = [
        (stops > 0).then(|| plural(stops, "stop")),
        (records > 0).then(|| plural(records, "record")),
        (left > 0).then(|| bytes(left)),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "nothing".into() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_have_a_sign() {
        let said = [0.0042, -0.0131, 0.5, 2.0, 0.0, -0.000_01].map(signed);
        assert_eq!(said, ["+0.42 %", "−1.3 %", "+50.0 %", "+200 %", "+0.00 %", "+0.00 %"]);
    }
}
