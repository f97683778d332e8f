// What changed from side A, a stretch of this dataset, to side B: of this one too, or of another that is not opened here.

import type { Change, ChangeIds, ChangeKind, ChangeUnit, CompareSide, Diff } from '../api/types';
import { HOST_HUE, NO_HUE, hueOfVm } from '../draw/palette';
import { Clock, grouped, percent } from '../layout/format';
import { exists } from '../layout/rows';
import type { Range } from '../layout/zoom';
import type { Dataset } from './dataset';
import { GUEST, HOST, HYPERVISOR, IDLE, LOST, OFF_CPU, PREEMPTED, WAITING } from './states';

export type SideName = 'a' | 'b';
export type ChangeGroup = 'vm' | 'process' | 'exits' | 'waits' | 'cpu';
export const GROUPS: ChangeGroup[] = ['vm', 'process', 'exits', 'waits', 'cpu'];
export const GROUP_WORDS: Record<ChangeGroup, string> = {
  vm: 'VMs',
  process: 'processes',
  exits: 'exits',
  waits: 'waits',
  cpu: 'cpus',
};

/** Of which kind a change is, what it is called, and the state whose picture its bars have. */
const KINDS: Record<ChangeKind, { group: ChangeGroup; words: string; state: number }> = {
  guest: { group: 'vm', words: 'in the guest', state: GUEST },
  hypervisor: { group: 'vm', words: 'in the hypervisor', state: HYPERVISOR },
  process: { group: 'process', words: 'on a cpu', state: GUEST },
  root: { group: 'process', words: 'in the hypervisor', state: HYPERVISOR },
  exits: { group: 'exits', words: 'exits', state: GUEST },
  exit_median: { group: 'exits', words: 'exit to re-entry, median', state: HYPERVISOR },
  exit_p99: { group: 'exits', words: 'exit to re-entry, 99 %', state: HYPERVISOR },
  preempted: { group: 'waits', words: 'preempted', state: PREEMPTED },
  waiting: { group: 'waits', words: 'waiting', state: WAITING },
  off_cpu: { group: 'waits', words: 'off cpu', state: OFF_CPU },
  stolen: { group: 'waits', words: 'waited for', state: PREEMPTED },
  busy: { group: 'cpu', words: 'busy', state: HOST },
  idle: { group: 'cpu', words: 'idle', state: IDLE },
  lost: { group: 'cpu', words: 'lost or unknown', state: LOST },
};

export const groupOf = (c: Change): ChangeGroup => KINDS[c.kind].group;
export const stateOf = (c: Change): number => KINDS[c.kind].state;

/** What changed, without whose it is. */
export function whatWords(c: Change): string {
  if (c.kind === 'stolen') return `waited for ${c.taker ?? 'others'}`;
  if (c.kind === 'exits') return `${c.reason ? `${c.reason} ` : ''}exits${c.unit === 'per_second' ? ' a second' : ' in 10⁹ ticks'}`;
  return KINDS[c.kind].words;
}

// --- numbers ---------------------------------------------------------------------------------------------------------------

const NS = new Clock(1e9);
const TICKS = new Clock(null);

export function numberWords(x: number, unit: ChangeUnit): string {
  switch (unit) {
    case 'share':
      return percent(x);
    case 'per_second':
    case 'per_gigatick':
      return x === 0 ? '0' : x < 99.5 ? x.toFixed(1) : grouped(x);
    case 'ns':
      return NS.duration(x);
    case 'ticks':
      return TICKS.duration(x);
  }
}

export function signedWords(x: number, unit: ChangeUnit): string {
  return `${x < 0 ? '−' : '+'}${numberWords(Math.abs(x), unit)}`;
}

/** `[−0.3, +1.2]`: the unit of shares is said beside it. */
export function intervalWords(c: Change): string {
  const bare = (x: number) => signedWords(x, c.unit).replace(/ %$/, '');
  return `[${bare(c.lo)}, ${bare(c.hi)}]`;
}

export function sureWords(c: Change): string {
  if (c.adjusted_p < 1e-4) return '>99.99 %';
  return `${((1 - c.adjusted_p) * 100).toFixed(c.adjusted_p < 1e-3 ? 2 : 1)} %`;
}

/** What an interval may be cut by at the end of the bars. */
const BEYOND = 0.05;

// --- the list --------------------------------------------------------------------------------------------------------------

/** Of whom changes are: a VM of either side, or the host's cpus. */
export interface Whose {
  /** `vm.a3` by its id in A, `vm.b3` where it is in B only, `host`. */
  key: string;
  name: string;
  hue: number;
}

export interface Filter {
  group: ChangeGroup | null;
  of: string | null;
}

/** What is shown, in the order given. */
export interface Shown {
  /** What changed of itself. */
  told: Change[];
  /** What sums that up or follows from it. */
  following: Change[];
  /** What may be chance, or matters little. */
  rest: Change[];
}

export class Compare {
  /** In the order of the list. */
  readonly whose: readonly Whose[];
  private readonly scales = new Map<string, number>();

  constructor(
    readonly diff: Diff,
    private readonly data: Dataset,
  ) {
    const whose = new Map<string, Whose>();
    for (const c of diff.changes) {
      const key = this.keyOf(c);
      // What is of the whole VM has its name alone; until one is met a process's says whose it is.
      if (!whose.has(key) || isWhole(c)) whose.set(key, { key, name: key === 'host' ? 'the host' : this.vmName(c), hue: this.hueOf(c) });
      // An interval that ends a little beyond asks for no wider scale: where all of a cpu was busy, that is the width.
      const scale = scaleKey(c);
      this.scales.set(scale, Math.max(this.scales.get(scale) ?? 0, c.a, c.b, (c.a + c.hi) / (1 + BEYOND)));
    }
    for (const [key, most] of this.scales) this.scales.set(key, rounded(most));
    this.whose = [...whose.values()];
  }

  keyOf(c: Change): string {
    if (c.a_ids.vm_id !== null) return `vm.a${c.a_ids.vm_id}`;
    return c.b_ids.vm_id !== null ? `vm.b${c.b_ids.vm_id}` : 'host';
  }

  private vmName(c: Change): string {
    if (isWhole(c)) return c.who;
    const id = this.ids(c, 'a')?.vm_id;
    return id !== null && id !== undefined && this.data.vm.has(id)
      ? `VM ${this.data.vmName(id)}`
      : c.who.replace(/: process .*| vCPU \d+$/, '');
  }

  shown(filter: Filter): Shown {
    const fits = this.diff.changes.filter(
      (c) => (filter.group === null || groupOf(c) === filter.group) && (filter.of === null || this.keyOf(c) === filter.of),
    );
    return {
      told: fits.filter((c) => c.told && c.explained_by === null),
      following: fits.filter((c) => c.told && c.explained_by !== null),
      rest: fits.filter((c) => !c.told),
    };
  }

  /** How many are told of each kind; kinds of which there is nothing are left out. */
  get groups(): [ChangeGroup, number][] {
    return GROUPS.filter((g) => this.diff.changes.some((c) => groupOf(c) === g)).map((g) => [
      g,
      this.diff.changes.filter((c) => c.told && groupOf(c) === g).length,
    ]);
  }

  // --- bars ----------------------------------------------------------------------------------------------------------------

  /** What the full width of a change's bars is: the same for all of a unit, so that they can be held against each other. */
  scaleOf(c: Change): number {
    return this.scales.get(scaleKey(c)) ?? 1;
  }

  /** Parts of the full width: A, B, and on B's where its end lies, 95 % sure. */
  barsOf(c: Change): Record<'a' | 'b' | 'lo' | 'hi', number> {
    const scale = this.scaleOf(c);
    const part = (x: number) => Math.min(Math.max(x / scale, 0), 1);
    return { a: part(c.a), b: part(c.b), lo: part(c.a + c.lo), hi: part(c.a + c.hi) };
  }

  /** In this dataset's hues; who is in another only has none of them. */
  hueOf(c: Change): number {
    return hueOfVm(this.here(c)?.vm_id ?? -1);
  }

  /** Of who had the cpu meanwhile. */
  takerHueOf(c: Change): number {
    const vm = this.here(c)?.taker_vm_id ?? null;
    return vm !== null ? hueOfVm(vm) : c.taker?.startsWith('the host') ? HOST_HUE : NO_HUE;
  }

  /** Who it is in this dataset, by whichever side says it. */
  private here(c: Change): ChangeIds | undefined {
    const named = (ids: ChangeIds | null) => ids !== null && (ids.vm_id !== null || ids.cpu !== null);
    return [this.ids(c, 'a'), this.ids(c, 'b')].find(named) ?? undefined;
  }

  // --- ways ----------------------------------------------------------------------------------------------------------------

  /** Ids of this dataset; null where the side is of another. */
  private ids(c: Change, side: SideName): ChangeIds | null {
    return side === 'a' ? c.a_ids : this.diff.one_dataset ? c.b_ids : null;
  }

  /** The row of who it is, where that is in this dataset. */
  rowOf(c: Change, side: SideName): string | null {
    const ids = this.ids(c, side);
    if (!ids) return null;
    const { from, to } = this.range(side);
    const lives = (id: number) => {
      const p = this.data.process.get(id);
      return p !== undefined && p.first < to && p.last >= from;
    };
    const process = ids.process_ids.find(lives) ?? ids.process_ids[0];
    const rows = [
      ['process', process],
      ['vcpu', ids.vcpu_id],
      ['vm', ids.vm_id],
      ['cpu', ids.cpu],
    ] as const;
    const row = rows.find(([kind, id]) => id !== undefined && id !== null && exists(kind, id, this.data));
    return row ? `${row[0]}.${row[1]}` : null;
  }

  /** The stretch of a side in ticks of its dataset. */
  range(side: SideName): Range {
    const { from, to, tsc_hz } = this.diff[side];
    return { from: Math.round(from * (tsc_hz ?? 1)), to: Math.round(to * (tsc_hz ?? 1)) };
  }

  /** Where a side's stretch is in this dataset, and in it the moment from which on it is so. */
  placeOf(c: Change, side: SideName): (Range & { whole: boolean; at: number }) | null {
    if (!this.ids(c, side)) return null;
    const range = this.range(side);
    const { tsc_hz, whole } = this.diff[side];
    const step = side === 'a' ? c.a_step : c.b_step;
    return { ...range, whole, at: step === null ? range.from : Math.round(step * (tsc_hz ?? 1)) };
  }

  // --- words ---------------------------------------------------------------------------------------------------------------

  /** What else must be known of a change. */
  notesOf(c: Change): string[] {
    const notes: string[] = [];
    if (c.presence === 'new') notes.push('in B only');
    if (c.presence === 'gone') notes.push('in A only');
    for (const side of ['a', 'b'] as const) {
      const step = side === 'a' ? c.a_step : c.b_step;
      if (step !== null) notes.push(`in ${side.toUpperCase()} from ${timeWords(this.diff[side], step)} on`);
    }
    if (c.inferred) notes.push('inferred, not observed');
    if (c.in_doubt) notes.push('or it is in what is not known');
    return notes;
  }

  /** What it follows from. */
  causeOf(c: Change): string | null {
    const cause = c.explained_by === null ? undefined : this.diff.changes[c.explained_by];
    if (!cause) return null;
    const of = this.whose.find((who) => who.key === this.keyOf(c))?.name ?? c.who;
    const who = cause.who === c.who || cause.who === of ? '' : cause.who.startsWith(`${of}: `) ? cause.who.slice(of.length + 2) : cause.who;
    return `${who} ${whatWords(cause)}`.trim();
  }
}

/** A moment or a length of a side. */
export function timeWords(side: CompareSide, time: number): string {
  return new Clock(side.tsc_hz).duration(time * (side.tsc_hz ?? 1));
}

const isWhole = (c: Change) =>
  [c.a_ids, c.b_ids].every((ids) => ids.vcpu_id === null && ids.process_ids.length === 0) && groupOf(c) !== 'process';

/** Latencies of one kind are held against each other, and not medians against what one of a hundred takes. */
const scaleKey = (c: Change) => (c.unit === 'ns' || c.unit === 'ticks' ? c.kind : c.unit);

/** The next of 1, 2, 5, 10; what is above one of them by rounding only is that. */
export function rounded(most: number): number {
  if (!(most > 0)) return 1;
  const ten = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map((n) => n * ten).find((n) => n >= most * 0.999) ?? most;
}
