//! Who has the terminal, and gives it back: also after a panic, an error, a signal.

use std::time::Duration;

use havana_capture::Signals;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{Event, KeyEventKind, poll, read};

use super::feed::{Feed, Polled};
use super::screen::draw;
use super::state::{Action, State};
use crate::cli::Top;

/// Keys, frames and signals are looked for so often.
const LOOK: Duration = Duration::from_millis(50);

/// Shows frames until there is nobody who looks.
pub(super) fn show(args: &Top, feed: &Feed<'_>) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    // A panic gives it back too: its hook does.
    let mut terminal = ratatui::try_init()?;
    let shown = run(args, feed, &mut signals, &mut terminal);
    let restored = ratatui::try_restore();
    shown?;
    Ok(restored?)
}

fn run(args: &Top, feed: &Feed<'_>, signals: &mut Signals, terminal: &mut DefaultTerminal) -> anyhow::Result<()> {
    let live = args.from.is_empty();
    let mut state = State::new(args.sort, args.interval);
    let mut shown = 0;
    let mut changed = true;
    loop {
        if changed {
            terminal.draw(|out| draw(out.area(), &state, out))?;
            if args.frames.is_some_and(|most| shown >= most) {
                return Ok(());
            }
        }
        changed = false;
        if poll(LOOK)? {
            changed = true;
            let Event::Key(key) = read()? else { continue };
            if key.kind == KeyEventKind::Release {
                continue;
            }
            match state.key(key) {
                Action::Nothing => {}
                Action::Quit => return Ok(()),
                Action::Pause(paused) => feed.pause(paused && !live),
                Action::Interval(interval) => feed.set_interval(interval),
            }
        }
        if signals.end() {
            return Ok(());
        }
        // A host does not wait: what comes meanwhile is let go, so that its rings are emptied.
        if state.paused && !live || state.ended {
            continue;
        }
        match feed.poll()? {
            Polled::Frame(_) if state.paused => {}
            Polled::Frame(frame) => {
                state.hear(*frame);
                shown += 1;
                changed = true;
            }
            Polled::NotYet => {}
            Polled::NoMore => {
                state.ended = true;
                changed = true;
            }
        }
    }
}
