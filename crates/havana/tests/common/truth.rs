//! The exact truth of a capture: what the emulator did, and when.
//!
//! Text, comma separated; addresses hexadecimal without 0x, TSC decimal (the host's); a line that begins with # is a
//! remark. Lines of a cpu are in the order in which things happened, and so are those of a VMCS.
//!
//! | line | what |
//! | --- | --- |
//! | `S,cpu,tsc,nonroot,vmcs,cr3` | state of each cpu at the start |
//! | `C,cpu,tsc,nonroot,vmcs,cr3,rip` | MOV CR3 |
//! | `E,cpu,tsc,vmcs,guest_cr3,guest_rip,tsc_offset,injected_event` | VM entry |
//! | `X,cpu,tsc,vmcs,basic_reason,guest_cr3,guest_rip,qualification,vector` | VM exit |
//! | `H,cpu,tsc,how` and `W,cpu,tsc` | sleep and wake |
//!
//! Others (VMPTRLD, markers, the scheduler's) are not needed here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::path::Path;

/// What identifies an address space: a CR3 without PCID and without KPTI's choice of half.
pub(crate) fn page(cr3: i64) -> i64 {
    cr3 & ((1 << 52) - 1) & !0x1fff
}

/// From a VM entry to its exit.
#[derive(Debug, Clone)]
pub(crate) struct Stretch {
    /// None where the capture begins in the guest.
    pub(crate) entry: Option<i64>,
    pub(crate) exit: i64,
    pub(crate) vmcs: i64,
    /// Masked, at the exit.
    pub(crate) guest_cr3: i64,
    /// Guest TSC minus host TSC.
    pub(crate) offset: i64,
    /// Basic exit reason, and the guest's instruction.
    pub(crate) reason: i32,
    pub(crate) guest_ip: i64,
    /// The next entry of this VMCS: its time and cpu.
    pub(crate) reentry: Option<(i64, i32)>,
    /// The external interrupt that KVM injected then (SDM, "VM-entry interruption-information field").
    pub(crate) injected: Option<i32>,
}

/// What a cpu does. CR3s are masked; none where the capture began with it and does not say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Doing {
    Guest {
        vmcs: i64,
        cr3: i64,
    },
    /// In root after an exit, with the VM's host CR3 still loaded, awake.
    Hypervisor {
        cr3: Option<i64>,
    },
    Host {
        cr3: Option<i64>,
    },
    Idle,
}

/// And from when to when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) doing: Doing,
}

/// One cpu.
#[derive(Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) first: i64,
    pub(crate) last: i64,
    /// Since when it sleeps, at the end.
    pub(crate) sleeps_from: Option<i64>,
    /// In the order of their exits.
    pub(crate) stretches: Vec<Stretch>,
    /// All of its time, in order.
    pub(crate) pieces: Vec<Piece>,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) cpus: BTreeMap<i32, Cpu>,
    /// Of each VMCS, masked.
    pub(crate) host_cr3: BTreeMap<i64, i64>,
    /// Guest TSC minus host TSC, of each VMCS.
    pub(crate) offsets: BTreeMap<i64, BTreeSet<i64>>,
    /// Where the kernel's switches, which are dated to the nanosecond, cut what is not: how far a vCPU's stretch in its
    /// guest may seem to be from where it was.
    pub(crate) cut: i64,
}

/// What a cpu is in the middle of.
#[derive(Default)]
struct Now {
    root_cr3: Option<i64>,
    entry: Option<i64>,
    offset: i64,
    /// Since when it does what.
    piece: Option<(i64, Doing)>,
}

impl Now {
    /// From `tsc` on it does something, and if that is something else, a piece ends.
    fn turn(&mut self, cpu: &mut Cpu, tsc: i64, doing: Doing) {
        match self.piece {
            Some((_, before)) if before == doing => return,
            Some((start, before)) => cpu.pieces.push(Piece { start, end: tsc, doing: before }),
            None => {}
        }
        self.piece = Some((tsc, doing));
    }
}

/// The text of a truth file.
pub(crate) fn text(path: &Path) -> String {
    String::from_utf8(zstd::decode_all(File::open(path).unwrap()).unwrap()).unwrap()
}

fn hex(text: &str) -> i64 {
    u64::from_str_radix(text, 16).unwrap().cast_signed()
}

impl Truth {
    pub(crate) fn read(path: &Path) -> Truth {
        Truth::parse(&text(path))
    }

    pub(crate) fn parse(text: &str) -> Truth {
        let mut truth = Truth::default();
        let mut now: HashMap<i32, Now> = HashMap::new();
        // Of each VMCS, the exit that waits for the next entry: cpu and place in its stretches.
        let mut waiting: HashMap<i64, (i32, usize)> = HashMap::new();
        for line in text.lines().filter(|line| !line.starts_with(['#', 'T'])) {
            let f: Vec<&str> = line.split(',').collect();
            let (id, tsc): (i32, i64) = (f[1].parse().unwrap(), f[2].parse().unwrap());
            let now = now.entry(id).or_default();
            let cpu = truth.cpus.entry(id).or_insert_with(|| Cpu { first: tsc, ..Cpu::default() });
            cpu.last = tsc;
            match f[0] {
                "S" if f[3] == "1" => now.turn(cpu, tsc, Doing::Guest { vmcs: hex(f[4]), cr3: page(hex(f[5])) }),
                "S" => {
                    now.root_cr3 = Some(page(hex(f[5])));
                    now.turn(cpu, tsc, Doing::Host { cr3: now.root_cr3 });
                }
                "E" => {
                    let vmcs = hex(f[3]);
                    now.entry = Some(tsc);
                    now.offset = hex(f[6]);
                    now.turn(cpu, tsc, Doing::Guest { vmcs, cr3: page(hex(f[4])) });
                    if let Some(cr3) = now.root_cr3 {
                        truth.host_cr3.insert(vmcs, cr3);
                    }
                    truth.offsets.entry(vmcs).or_default().insert(now.offset);
                    if let Some((on, index)) = waiting.remove(&vmcs) {
                        let cpu = truth.cpus.get_mut(&on).unwrap();
                        cpu.stretches[index].reentry = Some((tsc, id));
                        let event = f.get(7).map_or(0, |event| hex(event));
                        cpu.stretches[index].injected =
                            (event & 0x8000_0700 == 0x8000_0000).then_some(event as i32 & 0xff);
                    }
                }
                "X" => {
                    let vmcs = hex(f[3]);
                    now.turn(cpu, tsc, Doing::Hypervisor { cr3: now.root_cr3 });
                    waiting.insert(vmcs, (id, cpu.stretches.len()));
                    cpu.stretches.push(Stretch {
                        entry: now.entry.take(),
                        exit: tsc,
                        vmcs,
                        guest_cr3: page(hex(f[5])),
                        offset: now.offset,
                        reason: f[4].parse().unwrap(),
                        guest_ip: hex(f[6]),
                        reentry: None,
                        injected: None,
                    });
                }
                "C" => {
                    let cr3 = page(hex(f[5]));
                    if f[3] == "1" {
                        if let Some((_, Doing::Guest { vmcs, .. })) = now.piece {
                            now.turn(cpu, tsc, Doing::Guest { vmcs, cr3 });
                        }
                    } else if now.root_cr3.replace(cr3) != Some(cr3) {
                        now.turn(cpu, tsc, Doing::Host { cr3: Some(cr3) });
                    }
                }
                "H" => now.turn(cpu, tsc, Doing::Idle),
                "W" => {
                    // It slept from the begin on.
                    if cpu.pieces.is_empty() && !matches!(now.piece, Some((_, Doing::Idle))) {
                        now.piece = Some((cpu.first, Doing::Idle));
                    }
                    now.turn(cpu, tsc, Doing::Host { cr3: now.root_cr3 });
                }
                _ => {}
            }
        }
        for (id, cpu) in &mut truth.cpus {
            if let Some((start, doing)) = now.entry(*id).or_default().piece {
                cpu.pieces.push(Piece { start, end: cpu.last, doing });
                cpu.sleeps_from = (doing == Doing::Idle).then_some(start);
            }
        }
        truth
    }

    /// Nine tenths of a VMCS's stretches in its guest, and of those from an exit to its re-entry, are longer than this.
    pub(crate) fn usual(&self, vmcs: i64) -> i64 {
        let mine = || self.cpus.values().flat_map(|cpu| &cpu.stretches).filter(|stretch| stretch.vmcs == vmcs);
        let low = |mut ticks: Vec<i64>| {
            ticks.sort_unstable();
            ticks.get(ticks.len() / 10).copied().unwrap_or(0)
        };
        let guest = mine().filter_map(|stretch| Some(stretch.exit - stretch.entry?)).collect();
        let root = mine().filter_map(|stretch| Some(stretch.reentry?.0 - stretch.exit)).collect();
        low(guest).min(low(root))
    }
}

/// A tick, and the entries (`true`) and exits of a cpu on it, by line.
type Tie<'a> = (&'a str, Vec<(usize, bool)>);

/// A copy in which no VM entry and exit of a cpu fall on one tick, as far as the entry comes first: the entry is moved
/// a tick back, or, where something stands before it on that tick, what follows is moved forward, a tick an exit. No
/// other line changes. Also says how many stretches in a guest of no length there were.
pub(crate) fn untied(text: &str) -> (String, usize) {
    let mut moved: HashMap<usize, i64> = HashMap::new();
    // Of each cpu, its entries and exits on the tick it is at.
    let mut ties: HashMap<&str, Tie<'_>> = HashMap::new();
    let mut empty = 0;
    let mut untie = |tie: &[(usize, bool)]| {
        let stretches = tie.windows(2).filter(|pair| pair[0].1 && !pair[1].1).count();
        if stretches == 0 {
            return;
        }
        empty += stretches;
        let mut by = if tie[0].1 { -1 } else { 0 };
        for (place, &(line, is_entry)) in tie.iter().enumerate() {
            by += i64::from(place > 0 && !is_entry);
            moved.insert(line, by);
        }
    };
    for (index, line) in text.lines().enumerate() {
        let mut fields = line.split(',');
        let is_entry = match fields.next() {
            Some("E") => true,
            Some("X") => false,
            _ => continue,
        };
        let (cpu, tsc) = (fields.next().unwrap(), fields.next().unwrap());
        let (at, tie) = ties.entry(cpu).or_insert((tsc, Vec::new()));
        if *at != tsc {
            untie(tie);
            tie.clear();
            *at = tsc;
        }
        tie.push((index, is_entry));
    }
    for (_, tie) in ties.values() {
        untie(tie);
    }
    let mut copy = String::with_capacity(text.len());
    for (index, line) in text.lines().enumerate() {
        match moved.get(&index) {
            Some(by) => {
                let mut fields: Vec<String> = line.split(',').map(String::from).collect();
                fields[2] = (fields[2].parse::<i64>().unwrap() + by).to_string();
                copy.push_str(&fields.join(","));
            }
            None => copy.push_str(line),
        }
        copy.push('\n');
    }
    (copy, empty)
}

/// Entry and exit of each stretch of a VMCS that began and ended while the driver traced its cpu; and for how many ticks
/// it did.
pub(crate) fn exits_while_traced(path: &Path, vmcs: i64) -> (Vec<(i64, i64)>, i64) {
    let (mut on, mut entry, mut exits, mut ticks) = (None, None, Vec::new(), 0);
    for line in text(path).lines() {
        let f: Vec<&str> = line.split(',').collect();
        let is = |at: usize| i64::from_str_radix(f[at], 16).unwrap();
        match f[0] {
            "R" => {
                let tsc: i64 = f[2].parse().unwrap();
                if is(3) & 1 == 1 {
                    on = Some(tsc);
                } else if let Some(from) = on.take() {
                    ticks += tsc - from;
                }
            }
            "E" if is(3) == vmcs => entry = Some(f[2].parse().unwrap()),
            "X" if is(3) == vmcs => {
                if let (Some(_), Some(entry)) = (on, entry.take()) {
                    exits.push((entry, f[2].parse().unwrap()));
                }
            }
            _ => {}
        }
    }
    (exits, ticks)
}

#[test]
fn a_reentry_is_the_next_entry_in_order() {
    let truth = Truth::parse(
        "S,0,5,0,0,2000\nE,0,10,aa,4000,0,ffffffffffffff00,0\nX,0,10,aa,1,4000,0,0,0\nE,0,50,aa,4000,0,ffffffffffffff00,0\n",
    );
    let stretch = &truth.cpus[&0].stretches[0];
    assert_eq!((stretch.entry, stretch.exit, stretch.reentry), (Some(10), 10, Some((50, 0))));
    let piece = truth.cpus[&0].pieces[2];
    assert_eq!((piece.start, piece.end, piece.doing), (10, 50, Doing::Hypervisor { cr3: Some(0x2000) }));
    assert_eq!(truth.offsets[&0xaa], [-256].into());
}

#[test]
fn untying_moves_the_least() {
    let tied = "# x\nE,0,10,a\nX,0,10,a\nC,0,10\nX,1,10,b\nE,1,10,b\nX,1,10,b\nE,1,10,b\nE,0,20,a\nX,0,21,a\nX,0,30,a\nE,0,30,a\n";
    let free = "# x\nE,0,9,a\nX,0,10,a\nC,0,10\nX,1,10,b\nE,1,10,b\nX,1,11,b\nE,1,11,b\nE,0,20,a\nX,0,21,a\nX,0,30,a\nE,0,30,a\n";
    assert_eq!(untied(tied), (free.to_string(), 2));
}
