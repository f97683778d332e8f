//! What who looks wants to see, and what keys say of it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use havana_live::{Frame, VmFrame};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::figures::sorted;
use crate::cli::Sort;

/// So many frames back are drawn.
pub(super) const HISTORY: usize = 12;

/// Intervals that + and - go through.
const INTERVALS_MS: [u64; 8] = [100, 200, 500, 1_000, 2_000, 5_000, 10_000, 60_000];

/// What is shown of the chosen VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Panel {
    /// Nothing: who takes whose time alone.
    Closed,
    Vcpus,
    Processes,
}

/// What follows from a key beyond what is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    Quit,
    Pause(bool),
    Interval(Duration),
}

/// What is shown.
#[derive(Debug)]
pub(super) struct State {
    pub(super) frame: Option<Frame>,
    pub(super) sort: Sort,
    /// The number of the chosen VM.
    pub(super) chosen: Option<u32>,
    pub(super) panel: Panel,
    pub(super) paused: bool,
    pub(super) help: bool,
    pub(super) ended: bool,
    pub(super) interval: Duration,
    /// A VM's share in its guest, frame by frame: of one cpu.
    pub(super) history: BTreeMap<u32, VecDeque<f64>>,
}

impl State {
    pub(super) fn new(sort: Sort, interval: Duration) -> State {
        State {
            frame: None,
            sort,
            chosen: None,
            panel: Panel::Closed,
            paused: false,
            help: false,
            ended: false,
            interval,
            history: BTreeMap::new(),
        }
    }

    /// Another frame.
    pub(super) fn hear(&mut self, frame: Frame) {
        self.history.retain(|number, _| frame.vms.iter().any(|vm| vm.number == *number));
        for vm in &frame.vms {
            let history = self.history.entry(vm.number).or_default();
            history.push_back(frame.share(vm.guest));
            if history.len() > HISTORY {
                history.pop_front();
            }
        }
        self.frame = Some(frame);
        if self.chosen.is_none_or(|chosen| self.vms().iter().all(|vm| vm.number != chosen)) {
            self.chosen = self.vms().first().map(|vm| vm.number);
        }
    }

    /// VMs in their order.
    pub(super) fn vms(&self) -> Vec<&VmFrame> {
        self.frame.as_ref().map(|frame| sorted(frame, self.sort)).unwrap_or_default()
    }

    /// Which row the chosen VM is.
    pub(super) fn row(&self) -> Option<usize> {
        self.vms().iter().position(|vm| Some(vm.number) == self.chosen)
    }

    pub(super) fn chosen_vm(&self) -> Option<&VmFrame> {
        self.frame.as_ref()?.vms.iter().find(|vm| Some(vm.number) == self.chosen)
    }

    fn step(&mut self, by: isize) {
        let last = self.vms().len().saturating_sub(1);
        let row = self.row().unwrap_or(0).saturating_add_signed(by).min(last);
        self.chosen = self.vms().get(row).map(|vm| vm.number);
    }

    fn toggle(&mut self, panel: Panel) {
        self.panel = if self.panel == panel { Panel::Closed } else { panel };
    }

    fn change_interval(&mut self, longer: bool) -> Action {
        let now = u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX);
        let next = if longer {
            INTERVALS_MS.into_iter().find(|ms| *ms > now)
        } else {
            INTERVALS_MS.into_iter().rev().find(|ms| *ms < now)
        };
        let Some(ms) = next else { return Action::Nothing };
        self.interval = Duration::from_millis(ms);
        Action::Interval(self.interval)
    }

    /// A key was pressed.
    pub(super) fn key(&mut self, key: KeyEvent) -> Action {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Action::Quit,
            // Any key closes it.
            _ if self.help => self.help = false,
            KeyCode::Char('q') => return Action::Quit,
            KeyCode::Esc if self.panel == Panel::Closed => return Action::Quit,
            KeyCode::Esc => self.panel = Panel::Closed,
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::Home => self.step(isize::MIN),
            KeyCode::End => self.step(isize::MAX),
            KeyCode::Enter | KeyCode::Char('v') => self.toggle(Panel::Vcpus),
            KeyCode::Char('g') => self.toggle(Panel::Processes),
            KeyCode::Tab => {
                self.panel = match self.panel {
                    Panel::Closed => Panel::Vcpus,
                    Panel::Vcpus => Panel::Processes,
                    Panel::Processes => Panel::Closed,
                }
            }
            KeyCode::Char('s') => {
                self.sort = match self.sort {
                    Sort::Guest => Sort::Hypervisor,
                    Sort::Hypervisor => Sort::Preempted,
                    Sort::Preempted => Sort::Exits,
                    Sort::Exits => Sort::Number,
                    Sort::Number => Sort::Guest,
                }
            }
            KeyCode::Char('p' | ' ') => {
                self.paused = !self.paused;
                return Action::Pause(self.paused);
            }
            KeyCode::Char('+' | '=') => return self.change_interval(true),
            KeyCode::Char('-') => return self.change_interval(false),
            KeyCode::Char('h' | '?') | KeyCode::F(1) => self.help = true,
            _ => {}
        }
        Action::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::super::screen::tests::frame;
    use super::*;

    fn press(state: &mut State, code: KeyCode) -> Action {
        state.key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn a_vm_stays_chosen_wherever_it_goes() {
        let mut state = State::new(Sort::Guest, Duration::from_secs(1));
        assert_eq!(press(&mut state, KeyCode::Down), Action::Nothing);
        state.hear(frame(1, [40, 60]));
        assert_eq!((state.chosen, state.row()), (Some(1), Some(0)));
        press(&mut state, KeyCode::Down);
        press(&mut state, KeyCode::Down);
        assert_eq!((state.chosen, state.row()), (Some(0), Some(1)));
        state.hear(frame(2, [70, 30]));
        assert_eq!((state.chosen, state.row()), (Some(0), Some(0)));
        assert_eq!(state.history[&0].iter().copied().collect::<Vec<_>>(), [0.4, 0.7]);
        // It is gone.
        let mut without = frame(3, [0, 50]);
        without.vms.remove(0);
        state.hear(without);
        assert_eq!((state.chosen, state.history.len()), (Some(1), 1));
    }

    #[test]
    fn what_keys_say() {
        let mut state = State::new(Sort::Guest, Duration::from_secs(1));
        state.hear(frame(1, [40, 60]));
        press(&mut state, KeyCode::Char('s'));
        assert_eq!(state.sort, Sort::Hypervisor);
        press(&mut state, KeyCode::Enter);
        assert_eq!(state.panel, Panel::Vcpus);
        press(&mut state, KeyCode::Tab);
        assert_eq!(state.panel, Panel::Processes);
        press(&mut state, KeyCode::Esc);
        assert_eq!(state.panel, Panel::Closed);
        assert_eq!(press(&mut state, KeyCode::Char('p')), Action::Pause(true));
        assert_eq!(press(&mut state, KeyCode::Char('p')), Action::Pause(false));
        let ms = |ms| Action::Interval(Duration::from_millis(ms));
        assert_eq!(press(&mut state, KeyCode::Char('+')), ms(2000));
        assert_eq!([(); 4].map(|()| press(&mut state, KeyCode::Char('-'))), [ms(1000), ms(500), ms(200), ms(100)]);
        assert_eq!(press(&mut state, KeyCode::Char('-')), Action::Nothing);
        press(&mut state, KeyCode::Char('h'));
        assert!(state.help);
        assert_eq!(press(&mut state, KeyCode::Char('q')), Action::Nothing, "closes the help");
        assert_eq!(press(&mut state, KeyCode::Char('q')), Action::Quit);
        assert_eq!(state.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Action::Quit);
    }
}
