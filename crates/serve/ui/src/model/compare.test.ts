import { describe, expect, it } from 'vitest';
import type { Change, ChangeIds, CompareSide, Diff } from '../api/types';
import { HOST_HUE, NO_HUE, hueOfVm } from '../draw/palette';
import { data } from '../test/data';
import { Compare, intervalWords, numberWords, rounded, signedWords, sureWords, whatWords } from './compare';

const side = (of: Partial<CompareSide> = {}): CompareSide => ({
  dataset: 'x.havana',
  node: 'kvm-07',
  capture: 'c1',
  tsc_hz: 1e9,
  from: 0,
  to: 1e-6,
  whole: true,
  cpus: 2,
  vms: 2,
  hidden_share: 0,
  ...of,
});
const ids = (of: Partial<ChangeIds> = {}): ChangeIds => ({
  cpu: null,
  vm_id: null,
  vcpu_id: null,
  process_ids: [],
  taker_vm_id: null,
  taker_process_ids: [],
  ...of,
});
const change = (of: Partial<Change>): Change => ({
  kind: 'guest',
  who: 'VM web-2',
  taker: null,
  reason: null,
  a_ids: ids({ vm_id: 0 }),
  b_ids: ids({ vm_id: 0 }),
  presence: 'both',
  unit: 'share',
  a: 0.1,
  b: 0.3,
  change: 0.2,
  lo: 0.15,
  hi: 0.25,
  a_bounds: null,
  b_bounds: null,
  in_doubt: false,
  inferred: false,
  adjusted_p: 1e-9,
  a_step: null,
  b_step: null,
  told: true,
  explained_by: null,
  ...of,
});
const compare = (changes: Change[], of: Partial<Diff> = {}) =>
  new Compare({ a: side(), b: side(), one_dataset: false, changes, compared: 10, unmatched_a: [], unmatched_b: [], ...of }, data);

const PROCESS = change({ kind: 'process', who: 'VM web-2: process nginx', a_ids: ids({ vm_id: 0, process_ids: [1] }) });
const GUEST = change({ explained_by: 0 });
const NEW = change({
  kind: 'stolen',
  who: 'VM db-1 vCPU 1',
  taker: 'VM web-2',
  a_ids: ids({ taker_vm_id: 0 }),
  b_ids: ids({ vm_id: 1, vcpu_id: 2, taker_vm_id: 4 }),
  presence: 'new',
  b_step: 5e-7,
});
const CPU = change({ kind: 'idle', who: 'cpu 1', a_ids: ids({ cpu: 1 }), b_ids: ids({ cpu: 1 }), told: false });
const EXITS = change({ kind: 'exits', unit: 'per_second', reason: 'hlt', a: 10, b: 950, change: 940, lo: 930, hi: 951 });
const MEDIAN = change({ kind: 'exit_median', unit: 'ns', a: 900, b: 4200, change: 3300, lo: 3100, hi: 3500 });
const ALL = [PROCESS, GUEST, NEW, CPU, EXITS, MEDIAN];

describe('the list', () => {
  it('is apart: what changed, what goes with it, what may be chance; each in the order given', () => {
    expect(compare(ALL).shown({ group: null, of: null })).toEqual({
      told: [PROCESS, NEW, EXITS, MEDIAN],
      following: [GUEST],
      rest: [CPU],
    });
  });

  it('is of a kind, and of a VM by its id in A, else in B', () => {
    const all = compare(ALL);
    expect(all.shown({ group: 'waits', of: null }).told).toEqual([NEW]);
    expect(all.shown({ group: 'exits', of: null }).told).toEqual([EXITS, MEDIAN]);
    expect(all.shown({ group: null, of: 'vm.a0' }).told).toEqual([PROCESS, EXITS, MEDIAN]);
    expect(all.shown({ group: 'process', of: 'vm.b1' })).toEqual({ told: [], following: [], rest: [] });
    expect(all.groups).toEqual([
      ['vm', 1],
      ['process', 1],
      ['exits', 2],
      ['waits', 1],
      ['cpu', 0],
    ]);
  });

  it('names VMs, in hues of this dataset alone', () => {
    expect(compare(ALL).whose).toEqual([
      { key: 'vm.a0', name: 'VM web-2', hue: hueOfVm(0) },
      { key: 'vm.b1', name: 'VM db-1', hue: NO_HUE },
      { key: 'host', name: 'the host', hue: NO_HUE },
    ]);
    // Of one dataset B's ids are those of A.
    expect(compare(ALL, { one_dataset: true }).whose[1].hue).toBe(hueOfVm(1));
  });
});

describe('bars', () => {
  it('have one scale for a unit, and B’s end lies between A and the interval of the change', () => {
    const all = compare(ALL);
    expect(all.scaleOf(GUEST)).toBe(0.5);
    expect(all.barsOf(GUEST)).toEqual({ a: 0.2, b: 0.6, lo: 0.5, hi: 0.7 });
    expect([all.scaleOf(EXITS), all.scaleOf(MEDIAN)]).toEqual([1000, 5000]);
    // What is surely no less than nothing is not drawn as less.
    expect(
      compare([change({ a: 0.1, b: 0, change: -0.1, lo: -0.12, hi: -0.08 })]).barsOf(change({ a: 0.1, lo: -0.12, hi: -0.08 })).lo,
    ).toBe(0);
  });

  it('have room for the interval', () => {
    const wide = change({ a: 0.1, b: 0.19, change: 0.09, lo: 0.01, hi: 0.3 });
    const { hi } = compare([wide]).barsOf(wide);
    expect(hi).toBeCloseTo(0.8);
    expect([0, 0.03, 0.2, 1, 7.2, 1.000001, 1e4, 10100].map(rounded)).toEqual([1, 0.05, 0.2, 1, 10, 1, 1e4, 2e4]);
  });

  it('need no wider scale where an interval ends a little beyond', () => {
    const busy = change({ kind: 'busy', a: 0.4, b: 1, change: 0.6, lo: 0.59, hi: 0.61 });
    expect([compare([busy]).scaleOf(busy), compare([busy]).barsOf(busy).hi]).toEqual([1, 1]);
  });

  it('are of who had the cpu', () => {
    expect(compare(ALL).takerHueOf(NEW)).toBe(NO_HUE);
    expect(compare(ALL, { one_dataset: true }).takerHueOf(NEW)).toBe(hueOfVm(4));
    expect(compare(ALL).takerHueOf({ ...NEW, taker: "the host's kernel" })).toBe(HOST_HUE);
  });
});

describe('ways', () => {
  it('lead to rows of this dataset', () => {
    const two = compare(ALL);
    expect([PROCESS, GUEST, CPU].map((c) => two.rowOf(c, 'a'))).toEqual(['process.1', 'vm.0', 'cpu.1']);
    expect(two.rowOf(NEW, 'a')).toBeNull();
    expect([NEW, GUEST].map((c) => two.rowOf(c, 'b'))).toEqual([null, null]);
    expect(two.placeOf(GUEST, 'b')).toBeNull();
    expect(compare(ALL, { one_dataset: true }).rowOf(NEW, 'b')).toBe('vcpu.2');
    // A row that the dataset does not have is none.
    expect(two.rowOf(change({ a_ids: ids({ vm_id: 77 }) }), 'a')).toBeNull();
  });

  it('lead to the stretch of the side, in ticks', () => {
    const parts = { one_dataset: true, a: side({ to: 4e-7, whole: false }), b: side({ from: 4e-7, whole: false }) };
    expect(compare(ALL, parts).placeOf(NEW, 'b')).toEqual({ from: 400, to: 1000, whole: false, at: 500 });
    expect(compare(ALL, parts).placeOf(PROCESS, 'a')).toEqual({ from: 0, to: 400, whole: false, at: 0 });
    const ticks = { ...parts, a: side({ tsc_hz: null, from: 30, to: 400, whole: false }) };
    expect(compare(ALL, ticks).placeOf(GUEST, 'a')).toMatchObject({ from: 30, to: 400, at: 30 });
  });
});

describe('words', () => {
  it('are those of the command', () => {
    expect([PROCESS, GUEST, NEW, EXITS, MEDIAN].map(whatWords)).toEqual([
      'on a cpu',
      'in the guest',
      'waited for VM web-2',
      'hlt exits a second',
      'exit to re-entry, median',
    ]);
    expect(whatWords(change({ kind: 'exits', unit: 'per_gigatick' }))).toBe('exits in 10⁹ ticks');
    expect(intervalWords(GUEST)).toBe('[+15.0, +25.0]');
    expect(intervalWords(MEDIAN)).toBe('[+3.10 µs, +3.50 µs]');
    expect([
      signedWords(-0.02, 'share'),
      numberWords(1234.4, 'per_second'),
      numberWords(0, 'per_second'),
      numberWords(3e6, 'ticks'),
    ]).toEqual(['−2.0 %', '1,234', '0', '3,000,000 ticks']);
    expect([1e-9, 4e-4, 0.004].map((adjusted_p) => sureWords(change({ adjusted_p })))).toEqual(['>99.99 %', '99.96 %', '99.6 %']);
  });

  it('say what else must be known', () => {
    const all = compare(ALL);
    expect(all.notesOf(NEW)).toEqual(['in B only', 'in B from 500 ns on']);
    expect(all.notesOf(change({ inferred: true, in_doubt: true }))).toEqual(['inferred, not observed', 'or it is in what is not known']);
    expect(all.causeOf(GUEST)).toBe('process nginx on a cpu');
    expect(all.causeOf({ ...CPU, explained_by: 0 })).toBe('VM web-2: process nginx on a cpu');
    expect(all.causeOf(PROCESS)).toBeNull();
  });
});
