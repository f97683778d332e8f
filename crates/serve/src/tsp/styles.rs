//! How states look: the page's colours (`ui/src/draw/palette.ts`, a test holds them together), and heights where the page has textures, which
//! clients cannot draw.
//!
//! ```text
//! guest        the VM's hue, full height           idle     grey, low
//! hypervisor   the same, half seen through         host     grey
//! preempted    the hue of who had the cpu, half    unknown  grey, half seen through
//! waiting      a breath of the VM's hue            lost     red
//! off cpu      the hue of who had the cpu, low
//! ```

use axum::response::Response;
use havana_rows::{Severity, State as Kept};
use serde_json::{Map, Value, json};

use super::TspError;
use super::answer::model;
use super::outputs::{Known, Output};
use crate::view::{Key, Kind};

/// Hues of VMs, in turn; then those of who is none.
const HUES: [&str; 12] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#8c6bb1", "#999933", "#b0567a",
    "#44aa99", "#a9744f",
];
const HOST: &str = "#7d8791";
const NOBODY: &str = "#a6afb8";
const LOST: &str = "#c00024";

const OF_HOST: u8 = HUES.len() as u8;
const OF_NOBODY: u8 = OF_HOST + 1;

fn hue(number: u8) -> &'static str {
    match number {
        OF_HOST => HOST,
        number => HUES.get(usize::from(number)).copied().unwrap_or(NOBODY),
    }
}

fn number_of(vm: i32) -> u8 {
    usize::try_from(vm).map_or(OF_NOBODY, |vm| (vm % HUES.len()) as u8)
}

/// The colour of a VM.
pub(super) fn of_vm(vm: i32) -> &'static str {
    hue(number_of(vm))
}

/// The colour of a severity.
pub(super) fn of_severity(severity: Severity) -> &'static str {
    match severity {
        Severity::High => LOST,
        Severity::Medium => HUES[1],
        Severity::Low => HOST,
    }
}

/// How a state looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Look {
    state: u8,
    hue: u8,
}

impl Look {
    /// Of a stretch of a track, of which VM.
    pub(super) fn of(kind: Kind, vm: Option<i32>, key: &Key) -> Look {
        let by = match key.by_kind {
            0 => OF_NOBODY,
            Key::VM => number_of(key.by_id),
            _ => OF_HOST,
        };
        let own = if kind == Kind::Cpu { by } else { vm.map_or(OF_NOBODY, number_of) };
        let state = key.state;
        let hue = match kept(state) {
            Kept::Guest | Kept::Hypervisor | Kept::Waiting => own,
            Kept::Preempted | Kept::OffCpu => by,
            Kept::Host | Kept::Idle | Kept::Unknown | Kept::Lost => OF_NOBODY,
        };
        Look { state, hue }
    }

    /// The key of its style.
    pub(super) fn key(self) -> String {
        match self.hue {
            OF_NOBODY => kept(self.state).name().to_string(),
            OF_HOST => format!("{} host", kept(self.state).name()),
            hue => format!("{} {hue}", kept(self.state).name()),
        }
    }

    /// Whether the guest has the cpu.
    pub(super) fn is_guest(self) -> bool {
        self.state == Kept::Guest as u8
    }

    fn style(self) -> Value {
        let own = hue(self.hue);
        let (colour, opacity, height) = match kept(self.state) {
            Kept::Guest => (own, 1.0, 1.0),
            Kept::Hypervisor => (own, 0.55, 1.0),
            Kept::Preempted => (own, 0.8, 0.5),
            Kept::Waiting => (own, 0.18, 1.0),
            Kept::OffCpu => (own, 0.8, 0.25),
            Kept::Host => (HOST, 1.0, 1.0),
            Kept::Idle => (NOBODY, 0.35, 0.25),
            Kept::Unknown => (NOBODY, 0.5, 1.0),
            Kept::Lost => (LOST, 1.0, 1.0),
        };
        let name = kept(self.state).name().replace('_', " ");
        json!({ "values": { "style-name": name, "background-color": colour, "opacity": opacity, "height": height } })
    }
}

fn kept(state: u8) -> Kept {
    Kept::ALL.get(usize::from(state)).copied().unwrap_or(Kept::Unknown)
}

/// `POST …/outputs/{output}/style`.
pub(super) async fn get(Known(output): Known) -> Result<Response, TspError> {
    let mut styles = Map::new();
    if matches!(output, Output::Resources | Output::Vms) {
        for state in 0..Kept::ALL.len() as u8 {
            for hue in 0..=OF_NOBODY {
                let look = Look { state, hue };
                styles.insert(look.key(), look.style());
            }
        }
        styles.insert("moved".into(), json!({ "values": { "style-name": "moved", "color": HOST } }));
    }
    for &severity in Severity::ALL {
        let values =
            json!({ "style-name": severity.name(), "color": of_severity(severity), "symbol-type": "triangle" });
        styles.insert(severity.name().into(), json!({ "values": values }));
    }
    Ok(model(json!({ "styles": styles }))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of each constant of the page's palette, as it is written there.
    #[test]
    fn the_colours_are_the_pages() {
        let palette = include_str!("../../ui/src/draw/palette.ts");
        let part = |from: &str, to: &str| palette.split(from).nth(1).unwrap().split(to).next().unwrap();
        let hues: Vec<&str> = part("HUES = [", "]").split('\'').skip(1).step_by(2).collect();
        assert_eq!(hues, HUES);
        let light = part("LIGHT: Ground = {", "}");
        assert!(light.contains(&format!("host: '{HOST}'")) && light.contains(&format!("none: '{NOBODY}'")), "{light}");
        assert!(part("case LOST", "break").contains(&format!("'{LOST}'")));
    }

    #[test]
    fn hue_says_whose_time_it_is_or_who_took_it() {
        let key = |state: Kept, by_kind, by_id| Key { state: state as u8, evidence: 0, by_kind, by_id };
        let look = |kind, vm, key: Key| Look::of(kind, vm, &key).key();
        assert_eq!(look(Kind::Cpu, None, key(Kept::Guest, Key::VM, 14)), "guest 2");
        assert_eq!(look(Kind::Cpu, None, key(Kept::Guest, Key::VM, Key::SEVERAL)), "guest");
        assert_eq!(look(Kind::Cpu, None, key(Kept::Idle, 0, -1)), "idle");
        assert_eq!(look(Kind::Vcpu, Some(3), key(Kept::Guest, 0, -1)), "guest 3");
        assert_eq!(look(Kind::Vcpu, Some(3), key(Kept::Preempted, Key::VM, 1)), "preempted 1");
        assert_eq!(look(Kind::OnVcpu, Some(3), key(Kept::OffCpu, 2, -1)), "off_cpu host");
        assert_eq!(look(Kind::OnVcpu, Some(3), key(Kept::Waiting, 2, -1)), "waiting 3");
    }
}
