import { describe, expect, it } from 'vitest';
import { SPAN, data, sums } from '../test/data';
import { segments } from '../test/segments';
import { defaultView, type View } from '../model/view';
import { hit, sharesIn } from './hit';
import { placeRows, rowAt, rowsInSight, rowsOf, splitKey } from './rows';

const view = (patch: Partial<View> = {}): View => ({ ...defaultView(SPAN), ...patch });
const keys = (patch: Partial<View> = {}) => rowsOf(view(patch), data, sums).map((r) => r.key);

describe('rows', () => {
  it('are ordered by use', () => {
    expect(keys()).toEqual(['node.0', 'group.cpus', 'cpu.0', 'cpu.1', 'group.vms', 'vm.0', 'vcpu.0', 'vcpu.1', 'vm.1', 'vcpu.2']);
    expect(keys({ sort: 'name' }).filter((k) => k.startsWith('vm'))).toEqual(['vm.1', 'vm.0']);
  });
  it('fold away what does not matter, and say how many', () => {
    expect(keys({ tab: 'processes' })).toEqual(['group.vms', 'vm.0', 'process.0', 'process.1', 'small.vm.0', 'vm.1', 'process.5']);
    const small = rowsOf(view({ tab: 'processes' }), data, sums).find((r) => r.type === 'small')!;
    expect(small.label).toBe('3 rows under 0.1 %');
    expect(keys({ tab: 'processes', folds: ['small.vm.0'] })).toContain('process.4');
  });
  it('fold, filter, pin, and keep to one VM', () => {
    expect(keys({ folds: ['vm.0'] })).not.toContain('vcpu.0');
    expect(keys({ tab: 'processes', filter: 'nginx' })).toEqual(['group.vms', 'vm.0', 'process.1']);
    expect(keys({ tab: 'processes', filter: 'WEB-2' })).toContain('process.4');
    expect(keys({ filter: 'nowhere' })).toEqual([]);
    expect(keys({ pins: ['vcpu.2'] })[0]).toBe('vcpu.2');
    expect(keys({ pins: ['vcpu.2'] }).filter((k) => k === 'vcpu.2')).toHaveLength(1);
    expect(keys({ pins: ['vm.1'] }).filter((k) => k.startsWith('vm'))).toEqual(['vm.1', 'vm.0']);
    expect(keys({ pins: ['vcpu.99'] })[0]).toBe('node.0');
    expect(keys({ tab: 'processes', only: 1 })).toEqual(['group.vms', 'vm.1', 'process.5']);
  });
  it('stand on whole device pixels', () => {
    const rows = rowsOf(view(), data, sums);
    const height = placeRows(rows, 1.25);
    for (const r of rows) expect(Math.abs(r.top * 1.25 - Math.round(r.top * 1.25))).toBeLessThan(1e-9);
    expect(rows.at(-1)!.top + rows.at(-1)!.height).toBeCloseTo(height);
    rows.forEach((r, i) => expect(rowAt(rows, r.top + r.height / 2)).toBe(i));
    expect(rowAt(rows, -1)).toBe(-1);
    expect(rowAt(rows, height + 1)).toBe(-1);
    expect(rowsInSight(rows, 0, height)).toEqual([0, rows.length]);
    expect(rowsInSight(rows, rows[2].top, rows[3].top)).toEqual([2, 3]);
  });
  it('have keys that tell kind and id', () => {
    expect(splitKey('vcpu.12')).toEqual(['vcpu', 12]);
    expect(splitKey('small.vm.1')).toEqual(['small.vm', 1]);
  });
});

describe('hit', () => {
  const s = segments([
    [0, 0, 100, 0, 0],
    [0, 100, 101, 1, 1],
    [0, 101, 200, 2, 1, 0, 0.5, 1, 3],
    [0, 101, 200, 3, 1, 0.5, 1],
  ]);
  const all = { begin: 0, end: 4 };
  it('finds the rectangle at a time and height', () => {
    expect(hit(s, all, 50, 0.5, 0)).toBe(0);
    expect(hit(s, all, 150, 0.2, 0)).toBe(2);
    expect(hit(s, all, 150, 0.8, 0)).toBe(3);
    expect(hit(s, all, 300, 0.8, 10)).toBe(-1);
  });
  it('finds a thin one near by', () => {
    const thin = segments([[0, 100, 101, 1, 1]]);
    expect(hit(thin, { begin: 0, end: 1 }, 103, 0.5, 5)).toBe(0);
    expect(hit(thin, { begin: 0, end: 1 }, 110, 0.5, 5)).toBe(-1);
  });
  it('sums shares under a pixel', () => {
    expect(sharesIn(s, all, 90, 110).map((x) => [x.state, Number(x.share.toFixed(3))])).toEqual([
      [0, 0.5],
      [2, 0.225],
      [3, 0.225],
      [1, 0.05],
    ]);
  });
});
