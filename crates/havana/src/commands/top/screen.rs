//! A frame on a terminal.
//!
//! ```text
//! who, when
//! what the cpus did, as a bar
//! VMs, a row each
//! vCPUs or guest processes of the chosen one │ who takes whose time
//! what is not known; what it costs; keys
//! ```
//!
//! Colours only repeat what letters say.

use havana_live::{Frame, VmFrame};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Clear, Paragraph, Row, Table, TableState};

use super::figures::{HEADS, busy, cost, lacks, of_vcpu, of_vm, percent, takers, when, who};
use super::plain::reasons;
use super::state::{Panel, State};
use crate::cli::Sort;

/// How a bar's parts look, in the order of [`busy`].
const PARTS: [(char, Color); 6] = [
    ('█', Color::Green),
    ('▓', Color::Yellow),
    ('▒', Color::Blue),
    ('·', Color::DarkGray),
    ('x', Color::Red),
    ('?', Color::Magenta),
];

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

const WIDTHS: [u16; 7] = [7, 6, 9, 8, 8, 8, 9];

const HELP: &str = "\
q  Esc      quit (Esc closes a panel first)
↑ ↓  j k    choose a VM
Enter  v    vCPUs of the chosen VM
g           its guest processes, by page table (CR3)
Tab         one panel after the other
s           sort by another column
p  space    pause; a recorded trace stands still
+ -         longer, shorter intervals

guest       in non-root operation; percent of one cpu, so a VM of 4 vCPUs may have 400
hyp         root operation after its exits, its VMM's page table still loaded
preempted   its vCPUs would run, and another had their cpu; ~ follows from a rule, no record says it
waiting     its vCPUs had nothing to do
off cpu     off it, and nothing says which of the two
unknown     lost, or not seen in this interval";

pub(super) fn draw(area: Rect, state: &State, out: &mut ratatui::Frame<'_>) {
    let Some(frame) = &state.frame else {
        out.render_widget(Paragraph::new("waiting for the first interval to pass; q quits"), area);
        return;
    };
    let lacks = lacks(frame);
    let below = if state.panel == Panel::Closed { 0 } else { area.height / 3 };
    // Those that take time have a line each, as far as there is room.
    let takes = u16::try_from(taking(frame).len()).unwrap_or(u16::MAX).saturating_add(2).clamp(3, area.height / 4 + 3);
    let feet = u16::try_from(lacks.len()).unwrap_or(u16::MAX).min(3) + 2;
    let [head, bar, table, panel, whose, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(2),
        Constraint::Min(4),
        Constraint::Length(below),
        Constraint::Length(takes),
        Constraint::Length(feet),
    ])
    .areas(area);
    out.render_widget(heading(frame, state), head);
    out.render_widget(bars(frame, bar.width), bar);
    vms(table, frame, state, out);
    if let Some(vm) = state.chosen_vm() {
        match state.panel {
            Panel::Closed => {}
            Panel::Vcpus => out.render_widget(vcpus(frame, vm), panel),
            Panel::Processes => out.render_widget(processes(frame, vm), panel),
        }
    }
    let lines: Vec<Line<'_>> = taking(frame).into_iter().map(Line::from).collect();
    out.render_widget(Paragraph::new(lines).block(titled("who takes whose time, % of a cpu")), whose);
    let mut lines: Vec<Line<'_>> =
        lacks.iter().take(3).map(|lack| Line::styled(format!("! {lack}"), Style::new().fg(Color::Red))).collect();
    lines.push(Line::from(cost(frame)));
    lines.push(Line::from("q quit  ↑↓ choose  v vCPUs  g processes  s sort  p pause  +- interval  h help"));
    out.render_widget(Paragraph::new(lines), foot);
    if state.help {
        help(area, out);
    }
}

fn titled(title: &str) -> Block<'_> {
    Block::new().borders(Borders::TOP).title(title)
}

fn heading<'a>(frame: &'a Frame, state: &State) -> Paragraph<'a> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut spans = vec![
        Span::styled(frame.node.as_deref().unwrap_or("unknown node"), bold),
        Span::raw(format!("  {}", when(frame))),
    ];
    let said = match (state.ended, state.paused) {
        (true, _) => "  the trace ends here",
        (false, true) => "  paused",
        (false, false) => "",
    };
    spans.push(Span::styled(said, bold));
    Paragraph::new(Line::from(spans))
}

/// What the cpus did: a bar, and what its parts are.
fn bars(frame: &Frame, width: u16) -> Paragraph<'static> {
    let busy = busy(frame);
    let mut bar = Vec::new();
    let (mut told, mut share) = (0, 0.0);
    for ((_, part), (letter, color)) in busy.iter().zip(PARTS) {
        share += part;
        let end = ((share * f64::from(width)).round() as usize).min(usize::from(width));
        let text: String = std::iter::repeat_n(letter, end.saturating_sub(told)).collect();
        bar.push(Span::styled(text, Style::new().fg(color)));
        told = told.max(end);
    }
    let mut words =
        vec![Span::raw(format!("{} cpu{}", frame.cpus.len(), if frame.cpus.len() == 1 { "" } else { "s" }))];
    for ((name, part), (letter, color)) in busy.iter().zip(PARTS) {
        words.push(Span::raw("  "));
        words.push(Span::styled(letter.to_string(), Style::new().fg(color)));
        words.push(Span::raw(format!(" {name} {} %", percent(*part))));
    }
    Paragraph::new(vec![Line::from(bar), Line::from(words)])
}

/// The last shares, as little columns: of one cpu, or of as many as it had at most.
fn history(shares: impl Iterator<Item = f64> + Clone) -> String {
    let most = shares.clone().fold(1.0, f64::max);
    shares.map(|share| LEVELS[((share / most * 7.0).round() as usize).min(7)]).collect()
}

fn head(first: &'static str, sort: Option<Sort>) -> Row<'static> {
    let column = match sort {
        Some(Sort::Guest) => Some(0),
        Some(Sort::Hypervisor) => Some(1),
        Some(Sort::Preempted) => Some(2),
        Some(Sort::Exits) => Some(6),
        Some(Sort::Number) | None => None,
    };
    let mut cells = vec![Cell::from(first)];
    if sort.is_some() {
        cells.push(Cell::from("guest before"));
    }
    for (i, (name, width)) in HEADS.iter().zip(WIDTHS).enumerate() {
        let style = if column == Some(i) { Modifier::UNDERLINED } else { Modifier::empty() };
        let text = format!("{name:>width$}", width = usize::from(width));
        cells.push(Cell::from(Span::styled(text, Style::new().add_modifier(style))));
    }
    cells.push(Cell::from("who takes its time"));
    Row::new(cells).style(Style::new().add_modifier(Modifier::BOLD))
}

fn figures(cells: [String; 7]) -> impl Iterator<Item = Cell<'static>> {
    cells.into_iter().zip(WIDTHS).map(|(cell, width)| Cell::from(format!("{cell:>width$}", width = usize::from(width))))
}

fn vms(area: Rect, frame: &Frame, state: &State, out: &mut ratatui::Frame<'_>) {
    let rows = state.vms().into_iter().map(|vm| {
        let past = state.history.get(&vm.number).map(|past| history(past.iter().copied())).unwrap_or_default();
        let mut cells = vec![Cell::from(vm.label()), Cell::from(past)];
        if vm.seen {
            cells.extend(figures(of_vm(frame, vm)));
            cells.push(Cell::from(takers(frame, &vm.taken, 3)));
        } else {
            cells.extend(WIDTHS.map(|_| Cell::from("")));
            cells.push(Cell::from("not seen in this interval"));
        }
        Row::new(cells)
    });
    let widths = [Constraint::Length(20), Constraint::Length(12)]
        .into_iter()
        .chain(WIDTHS.map(Constraint::Length))
        .chain([Constraint::Fill(1)]);
    let table = Table::new(rows, widths)
        .header(head("VM, % of a cpu", Some(state.sort)))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .highlight_symbol("▸");
    let mut chosen = TableState::new().with_selected(state.row());
    out.render_stateful_widget(table, area, &mut chosen);
}

fn vcpus(frame: &Frame, vm: &VmFrame) -> Table<'static> {
    let rows = vm.vcpus.iter().map(|vcpu| {
        let tid = vcpu.tid.map_or_else(String::new, |tid| format!(" thread {tid}"));
        let mut cells = vec![Cell::from(format!("vCPU {}{tid}", vcpu.number))];
        cells.extend(figures(of_vcpu(frame, vcpu)));
        cells.push(Cell::from(takers(frame, &vcpu.taken, 3)));
        Row::new(cells)
    });
    let widths =
        [Constraint::Length(20)].into_iter().chain(WIDTHS.map(Constraint::Length)).chain([Constraint::Fill(1)]);
    let why = reasons(vm).map_or_else(String::new, |reasons| format!("; exits: {reasons}"));
    let block = Block::new().borders(Borders::TOP).title(format!("vCPUs of {}{why}", vm.label()));
    Table::new(rows.collect::<Vec<_>>(), widths).header(head("", None)).block(block)
}

fn processes(frame: &Frame, vm: &VmFrame) -> Paragraph<'static> {
    let lines = vm.processes.iter().map(|process| {
        let share = frame.share(process.ticks);
        let bar: String = std::iter::repeat_n('█', (share * 40.0).round() as usize).collect();
        Line::from(format!("cr3 {:#14x} {:>6} {bar}", process.cr3, percent(share)))
    });
    let block = Block::new().borders(Borders::TOP).title(format!("guest processes of {}, % of a cpu", vm.label()));
    Paragraph::new(lines.collect::<Vec<_>>()).block(block)
}

/// Who takes whose time, most first.
fn taking(frame: &Frame) -> Vec<String> {
    let mut all: Vec<(i64, String)> = Vec::new();
    for vm in &frame.vms {
        for taken in &vm.taken {
            if frame.share(taken.ticks) >= 0.0005 {
                let share = percent(frame.share(taken.ticks));
                all.push((taken.ticks, format!("{share:>6}  {} from {}", who(&taken.by), vm.label())));
            }
        }
    }
    all.sort_by_key(|(ticks, _)| -ticks);
    all.into_iter().map(|(_, line)| line).collect()
}

fn help(area: Rect, out: &mut ratatui::Frame<'_>) {
    let wide = HELP.lines().map(|line| line.chars().count()).max().unwrap_or(0) + 4;
    let width = u16::try_from(wide).unwrap_or(u16::MAX).min(area.width);
    let height = u16::try_from(HELP.lines().count() + 2).unwrap_or(u16::MAX).min(area.height);
    let place = Rect { x: (area.width - width) / 2, y: (area.height - height) / 2, width, height };
    out.render_widget(Clear, place);
    out.render_widget(
        Paragraph::new(HELP)
            .block(Block::bordered().title("havana top").padding(ratatui::widgets::Padding::horizontal(1))),
        place,
    );
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use havana_live::{By, Cost, CpuFrame, Lost, ProcessFrame, States, Taken, VcpuFrame};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use snapbox::{assert_data_eq, file};

    use super::*;

    /// Two VMs on two cpus that take each other's time: so much of a cpu each has.
    pub(in super::super) fn frame(number: u64, guests: [i64; 2]) -> Frame {
        let vm = |number: u32, guest: i64| {
            let by = |ticks| Taken {
                by: By::Vm { number: 1 - number, name: ["vma", "vm 1"][1 - number as usize].into() },
                ticks,
            };
            let states = States { guest, hypervisor: 2, preempted: 98 - guest, ..States::default() };
            VmFrame {
                number,
                name: (number == 0).then(|| "vma".into()),
                uuid: None,
                pid: None,
                host_cr3: 0x1000,
                seen: true,
                guest,
                hypervisor: 2,
                states,
                exits: 12_345,
                reasons: vec![("hlt".into(), 12_000), ("external interrupt".into(), 345)],
                vcpus: vec![VcpuFrame {
                    number: 0,
                    vmcs: 0x10,
                    tid: Some(77),
                    states,
                    exits: 12_345,
                    taken: vec![by(90 - guest)],
                }],
                processes: vec![
                    ProcessFrame { cr3: 0xabc000, ticks: guest - 10 },
                    ProcessFrame { cr3: 0x2000, ticks: 10 },
                ],
                taken: vec![by(90 - guest), Taken { by: By::Thread { tid: Some(9), name: None }, ticks: 8 }],
            }
        };
        let cpu = |cpu, guest| CpuFrame { cpu, guest, hypervisor: 2, host: 3, idle: 95 - guest, ..CpuFrame::default() };
        Frame {
            number,
            node: Some("kvm-07".into()),
            start_tsc: 1_000,
            end_tsc: 1_100,
            tsc_hz: Some(100),
            since: Some(2.0),
            wall_ns: Some(1_772_366_400_250_000_000),
            cpus: vec![cpu(0, guests[0]), cpu(1, guests[1])],
            vms: vec![vm(0, guests[0]), vm(1, guests[1])],
            nameless_guest: 0,
            losses: Vec::new(),
            says: Vec::new(),
            cost: Cost { bytes: 123_456, seconds: 0.0123, cpu_share: 0.014 },
        }
    }

    fn screen(state: &State, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|out| draw(out.area(), state, out)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned() + "\n";
        (0..height).map(line).collect()
    }

    fn state() -> State {
        let mut state = State::new(Sort::Guest, Duration::from_secs(1));
        for (number, guests) in [[10, 80], [30, 60], [40, 55]].into_iter().enumerate() {
            state.hear(frame(number as u64 + 1, guests));
        }
        state
    }

    #[test]
    fn vms_and_who_takes_whose_time() {
        assert_data_eq!(screen(&state(), 130, 18), file!["snapshots/vms.txt"].raw());
    }

    #[test]
    fn vcpus_of_the_chosen_one() {
        let mut state = state();
        state.panel = Panel::Vcpus;
        state.paused = true;
        assert_data_eq!(screen(&state, 130, 22), file!["snapshots/vcpus.txt"].raw());
    }

    #[test]
    fn processes_of_the_chosen_one_and_what_is_lacking() {
        let mut state = state();
        let mut lossy = frame(4, [40, 55]);
        lossy.losses = vec![Lost { cause: "overflow", count: 3, ticks: 20 }];
        lossy.cpus[0] = CpuFrame { cpu: 0, guest: 40, hypervisor: 2, host: 3, idle: 35, lost: 20, unknown: 0 };
        lossy.nameless_guest = 4;
        lossy.says = vec!["cpu 3: nothing of it can be dated in this interval".into()];
        lossy.vms[0].states.inferred = 7;
        lossy.vms[1].seen = false;
        lossy.wall_ns = None;
        state.hear(lossy);
        state.panel = Panel::Processes;
        state.ended = true;
        assert_data_eq!(screen(&state, 130, 24), file!["snapshots/processes.txt"].raw());
    }

    #[test]
    fn help_and_small_terminals() {
        let mut state = state();
        state.help = true;
        assert_data_eq!(screen(&state, 120, 24), file!["snapshots/help.txt"].raw());
        for (width, height) in [(1, 1), (20, 3), (40, 10), (300, 2)] {
            screen(&state, width, height);
        }
        let empty = State::new(Sort::Guest, Duration::from_secs(1));
        assert_eq!(screen(&empty, 60, 1), "waiting for the first interval to pass; q quits\n");
    }
}
