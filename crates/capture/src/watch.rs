//! Conditions of the host at which a snapshot is written (`--on`).
//!
//! | condition | holds when |
//! | --- | --- |
//! | `file:PATH` | the file appears, or is written anew |
//! | `load>N` | the load of one minute is over N |
//! | `cpu>P`, `io>P`, `memory>P` | tasks waited for it more than P % of the last ten seconds (PSI, "some") |
//! | `exit:NAME` | a VM of this name, or its VMM of this pid, has ended |
//!
//! A condition fires when it begins to hold, and again only after it has not held in between.

use std::fs;
use std::str::FromStr;
use std::time::SystemTime;

use crate::Host;
use crate::before::Inventory;

/// A condition.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// A file appears, or is written anew.
    File(String),
    /// The load of one minute is over this.
    Load(f64),
    /// Tasks waited for this resource more than so many percent of the last ten seconds.
    Pressure(String, f64),
    /// A VM has ended.
    Exit(String),
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || {
            format!("{text}: no condition; say file:PATH, exit:VM, load>N, cpu>PERCENT, io>PERCENT or memory>PERCENT")
        };
        if let Some(path) = text.strip_prefix("file:").filter(|path| !path.is_empty()) {
            return Ok(Condition::File(path.into()));
        }
        if let Some(name) = text.strip_prefix("exit:").filter(|name| !name.is_empty()) {
            return Ok(Condition::Exit(name.into()));
        }
        let (what, than) = text.split_once('>').ok_or_else(form)?;
        let than = than.trim().trim_end_matches('%').trim().parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
        match (what.trim(), than) {
            ("load", Some(than)) => Ok(Condition::Load(than)),
            (what @ ("cpu" | "io" | "memory"), Some(than)) => Ok(Condition::Pressure(what.into(), than)),
            _ => Err(form()),
        }
    }
}

/// A condition that is looked at again and again.
#[derive(Debug)]
pub(crate) struct Watched {
    text: String,
    condition: Condition,
    held: bool,
    /// When the file was written last.
    written: Option<SystemTime>,
}

impl Watched {
    pub(crate) fn new(condition: Condition, host: &Host, vms: &Inventory) -> Watched {
        let text = match &condition {
            Condition::File(path) => format!("file:{path}"),
            Condition::Load(than) => format!("load>{than}"),
            Condition::Pressure(what, than) => format!("{what}>{than}"),
            Condition::Exit(name) => format!("exit:{name}"),
        };
        let mut this = Watched { text, condition, held: false, written: None };
        // What holds already has begun before.
        this.fires(host, vms);
        this
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// It began to hold since the last look.
    pub(crate) fn fires(&mut self, host: &Host, vms: &Inventory) -> bool {
        let holds = match &self.condition {
            Condition::File(path) => {
                let written = fs::metadata(path).and_then(|m| m.modified()).ok();
                let anew = written.is_some() && written != self.written;
                self.written = written;
                return anew;
            }
            Condition::Load(than) => {
                let load = host.line("/proc/loadavg");
                load.and_then(|l| l.split(' ').next()?.parse::<f64>().ok()).is_some_and(|load| load > *than)
            }
            Condition::Pressure(what, than) => {
                let line = host.line(&format!("/proc/pressure/{what}"));
                let share = line.and_then(|l| l.split("avg10=").nth(1)?.split(' ').next()?.parse::<f64>().ok());
                share.is_some_and(|share| share > *than)
            }
            Condition::Exit(name) => {
                let is = |pid: i32, known: Option<&str>| known == Some(name) || name.parse() == Ok(pid);
                !vms.all().iter().any(|vm| is(vm.pid, vm.name.as_deref()))
            }
        };
        let fires = holds && !self.held;
        self.held = holds;
        fires
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FakeHost;

    #[test]
    fn what_can_be_said() {
        assert_eq!("load>8".parse(), Ok(Condition::Load(8.0)));
        assert_eq!("cpu > 20%".parse(), Ok(Condition::Pressure("cpu".into(), 20.0)));
        assert_eq!("file:/tmp/now".parse(), Ok(Condition::File("/tmp/now".into())));
        assert_eq!("exit:web-2".parse(), Ok(Condition::Exit("web-2".into())));
        for bad in ["", "load", "load>x", "disk>3", "file:", "exit:", "load>-1", "load>inf"] {
            assert!(bad.parse::<Condition>().is_err(), "{bad}");
        }
    }

    #[test]
    fn each_fires_when_it_begins_to_hold() {
        let fake = FakeHost::new();
        let host = &fake.host;
        let mut vms = Inventory::default();
        let pressure =
            |share: &str| fake.write("proc/pressure/cpu", &format!("some avg10={share} avg60=0.00\nfull avg10=90\n"));
        pressure("30.00");
        let mut cpu = Watched::new("cpu>20".parse().unwrap(), host, &vms);
        assert!(!cpu.fires(host, &vms), "it held before");
        pressure("3.00");
        assert!(!cpu.fires(host, &vms));
        pressure("20.01");
        assert!(cpu.fires(host, &vms) && !cpu.fires(host, &vms));

        let path = host.path("now");
        let mut file = Watched::new(Condition::File(path.display().to_string()), host, &vms);
        assert!(!file.fires(host, &vms));
        fs::write(&path, "").unwrap();
        assert!(file.fires(host, &vms) && !file.fires(host, &vms));

        fake.write("proc/7/cmdline", "firecracker\0--id\0web\0");
        fake.write("proc/7/task/7/comm", "firecracker\n");
        vms.refresh(host);
        let mut exit = Watched::new(Condition::Exit("web".into()), host, &vms);
        assert!(!exit.fires(host, &vms));
        fs::remove_dir_all(host.path("proc/7")).unwrap();
        vms.refresh(host);
        assert!(exit.fires(host, &vms) && !exit.fires(host, &vms));
    }
}
