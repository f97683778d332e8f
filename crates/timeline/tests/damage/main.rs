//! Damaged traces through the whole timeline: survey, analysis, rows.
//!
//! What can be asked of any bytes is in `check`. A damage that leaves a valid packet (a flipped bit in an MTC's payload)
//! cannot be seen by anyone: of such cases only that is asked. Where damage shows, [`after_damage`] asks more: what
//! lies behind the next PSB must be as if there had been none.
#![allow(clippy::unwrap_used)]

mod check;
mod hostile;
mod inputs;
mod recordings;
mod segments;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use havana_packet::{BadReason, Decoder, Item, Packet};
use havana_rows::Time;
use havana_timeline::{Summary, errata_of};

use check::{Rows, analyze, analyze_every_packet, sound};
use inputs::{Input, Rng, captures, damage, made_up, noise, slices};

/// `HAVANA_CASES` sets another number.
const CASES: u64 = 1_000_000;
/// Wrong cases that a worker stops at.
const ENOUGH: usize = 12;

/// An undamaged input and its rows.
struct Base {
    input: Input,
    items: Vec<Vec<Item>>,
    rows: Rows,
    sleep_shows: bool,
    undamaged: Result<(), String>,
}

impl Base {
    fn of(input: Input) -> Base {
        let trace = input.trace();
        let (rows, summary) = analyze(&trace);
        let undamaged = sound(&trace, &rows, &summary).and_then(|()| analyze_every_packet(&trace).must_equal(&rows));
        let items = input.streams.iter().map(|b| items_of(b, &input)).collect();
        Base { input, items, rows, sleep_shows: summary.sleep_shows, undamaged }
    }
}

fn items_of(bytes: &[u8], input: &Input) -> Vec<Item> {
    Decoder::new(bytes).with_errata(errata_of(input.facts.cpu)).collect()
}

/// One case: all follows from its seed.
fn case(seed: u64, bases: &[Base]) -> Result<bool, String> {
    let mut rng = Rng::new(seed);
    let (base, mut input) = match rng.below(16) {
        0 => (None, made_up(&mut rng, true)),
        1 => {
            let bytes = noise(&mut rng);
            (None, Input { streams: vec![bytes], ..made_up(&mut rng, true) })
        }
        _ => {
            let base = &bases[rng.below(bases.len() as u64) as usize];
            (Some(base), base.input.clone())
        }
    };
    let cpu = rng.below(input.streams.len() as u64) as usize;
    let bytes = &mut input.streams[cpu];
    match base.map(|base| &base.items[cpu]) {
        // Something that is no packet in the place of one, and behind it enough to compare.
        Some(items) if !items.is_empty() && rng.once_in(3) => {
            let item = items[rng.below(items.len() as u64 * 2 / 3) as usize];
            let bad: &[u8] = [&[0x02, 0xff][..], &[0xc1], &[0x99, 0xff]][rng.below(3) as usize];
            bytes.splice(item.offset..item.offset + item.len, bad.iter().copied());
        }
        _ => {
            for _ in 0..[1, 1, 1, 2, 5][rng.below(5) as usize] {
                damage(&mut rng, bytes);
            }
        }
    }
    let trace = input.trace();
    let (rows, summary) = analyze(&trace);
    sound(&trace, &rows, &summary)?;
    if seed.is_multiple_of(8) {
        analyze_every_packet(&trace).must_equal(&rows)?;
    }
    match base {
        Some(base) => after_damage(base, &input, &rows, &summary, cpu),
        None => Ok(false),
    }
}

/// What lies behind the PSB after the damage is as in the undamaged run: from the first TSC of the host there on, the
/// same exits and entries, of the same VMCSs, in the same guest processes; at the same bounds where MTC tells time.
/// (Without MTC the bounds hang on guests' clocks, which the damage may have made less well known: they must meet.)
///
/// `Ok(false)`: not asked, as the damage does not show, or left packets before it shows that tell of time or state.
fn after_damage(base: &Base, input: &Input, rows: &Rows, summary: &Summary, cpu: usize) -> Result<bool, String> {
    let (whole, damaged) = (&base.input.streams[cpu], &input.streams[cpu]);
    let head = whole.iter().zip(damaged).take_while(|(a, b)| a == b).count();
    let most = whole.len().min(damaged.len()) - head;
    let tail = whole.iter().rev().zip(damaged.iter().rev()).take(most).take_while(|(a, b)| a == b).count();

    let items = items_of(damaged, input);
    let is_psb = |item: &&Item| item.what == Ok(Packet::Psb);
    let Some(psb) = items.iter().filter(is_psb).find(|i| i.offset >= damaged.len() - tail) else {
        return Ok(false);
    };
    let moved = |item: &Item| item.offset + whole.len() - damaged.len();
    let known = |i: &Item| i.offset + i.len <= head;
    let doubtful = items.iter().skip_while(|i| known(i)).take_while(|i| i.offset < psb.offset);
    let mut shows = false;
    for item in doubtful {
        match item.what {
            Err(BadReason::Erratum) => return Ok(false),
            Err(_) => shows = true,
            Ok(packet) if tells(&packet) => return Ok(false),
            Ok(_) => {}
        }
    }
    let Some(from) = base.items[cpu].iter().position(|i| i.offset == moved(psb) && is_psb(&i)).filter(|_| shows) else {
        return Ok(false);
    };
    let times = host_tscs(&base.items[cpu][from..]);
    let (Some(&since), Some(&until)) = (times.first(), times.last()) else {
        return Ok(false);
    };

    // Cycles narrow bounds by how short a cycle was ever seen to be; after an overflow guests' clocks tell the time.
    let hangs = |i: &Item| i.what.is_ok_and(|packet| matches!(packet, Packet::Cyc { .. } | Packet::Ovf));
    let exact = base.sleep_shows && summary.sleep_shows && !base.items.iter().flatten().any(hangs);
    // An entry at that very time may be before it, where bounds are wider.
    let first = |t: &Time| t.lo <= since + 64;
    let alike = |a: &Option<Time>, b: &Option<Time>| {
        alike(*a, *b, exact) || !exact && a.is_some() != b.is_some() && a.or(*b).is_some_and(|t| first(&t))
    };
    let same = |a: &Stay, b: &Stay| a.0 == b.0 && a.1 == b.1 && a.2.iter().zip(&b.2).all(|(a, b)| alike(a, b));
    let (mut a, b) = (stays_since(&base.rows, cpu, since), stays_since(rows, cpu, since));
    // When the last ones were at the latest, no packet says.
    a.retain(|stay| stay.2[1].is_some_and(|exit| exit.hi <= until));
    if let Some(i) = (0..a.len()).find(|&i| b.get(i).is_none_or(|b| !same(&a[i], b))) {
        return Err(format!(
            "damage at {head}, since PSB {:#x} and TSC {since}: of {} exits, the {i}th: {:?} became {:?}",
            psb.offset,
            a.len(),
            a[i],
            b.get(i)
        ));
    }
    Ok(!a.is_empty())
}

/// Whether a packet says anything of time or state. A branch packet made of damaged bytes does no harm.
fn tells(packet: &Packet) -> bool {
    use havana_packet::Kind::*;
    matches!(packet.kind(), Psb | PsbEnd | Tsc | Tma | Mtc | Cyc | Cbr | Pip | Vmcs | Ovf | Evd | Cfe)
}

/// The TSCs that the host made: outside PSB+, or in one that says so.
fn host_tscs(items: &[Item]) -> Vec<i64> {
    let (mut nr, mut inside, mut tsc, mut all) = (None, false, None, Vec::new());
    for item in items {
        match item.what {
            Ok(Packet::Psb) => inside = true,
            Ok(Packet::Pip { nr: now, .. }) => nr = Some(now),
            Ok(Packet::Tsc { tsc: now }) => tsc = Some(now as i64),
            Ok(Packet::PsbEnd) => inside = false,
            Ok(Packet::Ovf) | Err(_) => (nr, inside, tsc) = (None, false, None),
            Ok(_) => {}
        }
        if !inside {
            all.extend(tsc.take().filter(|_| nr == Some(false)));
        }
    }
    all
}

/// VMCS, guest CR3, and the times of the entry, where that is after `since` too, and of the exit.
type Stay = (i64, i64, [Option<Time>; 2]);

fn stays_since(rows: &Rows, cpu: usize, since: i64) -> Vec<Stay> {
    let mut exits: Vec<_> = rows.exits.iter().filter(|e| e.cpu == cpu as i32).collect();
    exits.sort_by_key(|e| e.exit_id);
    exits.retain(|e| e.exit.lo >= since && e.exit.hi > since);
    let entry = |e: Option<Time>| e.filter(|t| t.lo >= since && t.hi > since);
    let vmcs = |v: i32| rows.vcpus[v as usize].vmcs;
    exits.iter().map(|e| (vmcs(e.vcpu_id), e.guest_cr3, [entry(e.entry), Some(e.exit)])).collect()
}

fn alike(a: Option<Time>, b: Option<Time>, same: bool) -> bool {
    match (a, b) {
        (Some(a), Some(b)) if same => (a.lo, a.hi) == (b.lo, b.hi),
        (Some(a), Some(b)) => a.lo <= b.hi && b.lo <= a.hi,
        (a, b) => a.is_none() && b.is_none(),
    }
}

#[test]
fn a_million_damaged_traces() {
    let bases = bases();
    let mut wrong: Vec<String> = bases.iter().filter_map(|b| b.undamaged.clone().err()).take(ENOUGH).collect();
    let threads = std::thread::available_parallelism().map_or(2, usize::from) as u64;
    let start = Instant::now();
    let (mut compared, mut slowest) = (0, Duration::ZERO);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|t| {
                let bases = &bases;
                scope.spawn(move || {
                    let (mut compared, mut slowest, mut wrong) = (0u64, Duration::ZERO, Vec::new());
                    for seed in (t..cases()).step_by(threads as usize) {
                        let start = Instant::now();
                        match catch_unwind(AssertUnwindSafe(|| case(seed, bases))) {
                            Ok(Ok(same)) => compared += u64::from(same),
                            Ok(Err(what)) => wrong.push(format!("seed {seed}: {what}")),
                            Err(_) => wrong.push(format!("seed {seed}: panicked")),
                        }
                        if wrong.len() >= ENOUGH {
                            break;
                        }
                        slowest = slowest.max(start.elapsed());
                    }
                    (compared, slowest, wrong)
                })
            })
            .collect();
        for worker in workers {
            let (c, s, w) = worker.join().unwrap();
            wrong.extend(w);
            compared += c;
            slowest = slowest.max(s);
        }
    });
    let took = start.elapsed();
    println!("{} cases in {took:?}, the slowest {slowest:?}; {compared} compared behind their damage", cases());
    println!("{}", wrong.iter().take(6).cloned().collect::<Vec<_>>().join("\n"));
    assert!(compared >= cases() / 20, "{compared} compared");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn cases() -> u64 {
    std::env::var("HAVANA_CASES").ok().and_then(|v| v.parse().ok()).unwrap_or(CASES)
}

fn bases() -> Vec<Base> {
    let captures = captures();
    let mut inputs = slices(&captures, 12);
    let mut rng = Rng::new(7);
    inputs.extend((0..400).map(|_| made_up(&mut rng, false)));
    inputs.into_iter().map(Base::of).collect()
}
