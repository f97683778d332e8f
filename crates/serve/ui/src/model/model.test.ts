import { describe, expect, it } from 'vitest';
import { SPAN, data, sums } from '../test/data';
import { search } from './search';
import { within } from './sums';
import { decodeView, encodeView } from './url';
import { type View, defaultView } from './view';
import { SegmentCache, partsOf } from './segments';
import { segments } from '../test/segments';

describe('names', () => {
  it('stand alone', () => {
    expect(data.fullName('vcpu', 2)).toBe('vm 1 · vCPU 0');
    expect(data.fullName('process', 1)).toBe('web-2 · process nginx, worker');
    expect(data.fullName('cpu', 1)).toBe('cpu 1');
    expect(data.takerName('host', 6)).toBe('host (kworker)');
    expect(data.takerName('host', null)).toBe('the host');
  });
});

describe('sums', () => {
  it('give each VM what its vCPUs had', () => {
    expect(sums.of('vm', 0).ticks[0]).toBe(700);
    expect(sums.of('vm', 1).takers.get('vm.0')).toBe(450);
    expect(sums.vmTime.get(0)).toEqual({ guest: 700, hypervisor: 100, inferred: 100 });
  });
  it('say who took whose time', () => {
    expect(sums.thefts).toEqual([
      { vm: 1, taker: 'vm.0', ticks: 450 },
      { vm: 1, taker: 'host', ticks: 50 },
    ]);
    expect(sums.harmedBy('vm.0')).toEqual([[1, 450]]);
    expect(sums.harmedBy('vm.1')).toEqual([]);
  });
  it('know how much is inferred', () => {
    expect(sums.of('vcpu', 0).inferredShare).toBeCloseTo(0.3);
    expect(sums.of('vcpu', 1).total).toBe(0);
  });
  it('are off by their ends at most', () => {
    expect(within(5, 2, 1000)).toBeCloseTo(0.02);
    expect(within(5, null, 1000)).toBeNull();
    expect(within(1e9, 2, 1000)).toBe(1);
  });
});

describe('address', () => {
  it('holds the whole view', () => {
    const v: View = {
      tab: 'stolen',
      from: 100,
      to: 900,
      sel: [200, 300],
      row: 'vcpu.2',
      at: 200,
      pins: ['cpu.0', 'vm.1'],
      sort: 'name',
      folds: ['vm.0', 'small.vm.1'],
      filter: 'web & co #1',
      only: 1,
      theme: 'light',
      cell: [1, 'vm.0'],
      finding: 3,
      reason: 12,
      exitVm: 0,
      weigh: 'ticks',
      changes: 'waits',
      changesOf: 'vm.a1',
      allChanges: true,
      pane: false,
      paneHeight: 320,
      labels: false,
    };
    expect(decodeView(encodeView(v, SPAN), SPAN)).toEqual(v);
  });
  it('is empty for what is as by default', () => {
    expect(encodeView(defaultView(SPAN), SPAN)).toBe('');
    expect(decodeView('', SPAN)).toEqual(defaultView(SPAN));
  });
  it('survives nonsense', () => {
    for (const hash of [
      '#range=9-3',
      '#range=a-b&sel=1',
      '#tab=../etc&sort=__proto__',
      '#row=<script>&pins=,,,&cell=1',
      '#sel=99999-999999',
      '#kind=dog&of=vm.x&all=yes',
      '#%%%',
    ]) {
      const v = decodeView(hash, SPAN);
      expect({ ...v }).toEqual(defaultView(SPAN));
    }
  });
  it('keeps the range inside the capture', () => {
    const v = decodeView('#range=900-5000&sel=900-5000', SPAN);
    expect([v.from, v.to, v.sel]).toEqual([0, 1000, [900, 1000]]);
  });
});

describe('search', () => {
  const found = (text: string) => search(text, data, sums, 10).map((f) => f.key);
  it('finds by name, id, CR3 and VMCS', () => {
    expect(found('web')[0]).toBe('vm.0');
    expect(found('nginx')).toEqual(['process.1']);
    expect(found('0x54000')).toEqual(['process.4']);
    expect(found('0x2AA')).toEqual(['vcpu.2']);
    expect(found('f00d')).toEqual(['vm.0']);
    expect(found('cpu 1')).toContain('cpu.1');
    expect(found('web vcpu')).toEqual(['vcpu.0', 'vcpu.1']);
    expect(found('kworker')).toEqual([]);
  });
});

describe('answers at hand', () => {
  const answer = (from: number, to: number, px: number, binned: boolean, exact = true, fine = false) => {
    const s = segments([[1, from, to, 0, 0]], binned, exact);
    return { window: { from, to, px }, fine, segments: s, parts: partsOf(s, [1, 2]) };
  };
  it('know which track a row belongs to', () => {
    const s = segments([
      [1, 0, 5, 0, 0],
      [1, 5, 9, 1, 0],
      [4, 0, 9, 0, 0],
    ]);
    expect(partsOf(s, [1, 3, 4])).toEqual(
      new Map([
        [1, { begin: 0, end: 2 }],
        [4, { begin: 2, end: 3 }],
        [3, { begin: 0, end: 0 }],
      ]),
    );
  });
  it('are drawn widest first where the best does not cover', () => {
    const c = new SegmentCache();
    const wide = answer(0, 1000, 100, true);
    const near = answer(400, 500, 100, true);
    c.add('cpu', wide);
    c.add('cpu', near);
    expect(c.layers('cpu', 1, { from: 400, to: 500 }, SPAN, 100)).toEqual([near]);
    expect(c.layers('cpu', 1, { from: 420, to: 520 }, SPAN, 100)).toEqual([wide, near]);
    expect(c.layers('cpu', 1, { from: 0, to: 1000 }, SPAN, 100)).toEqual([wide]);
    expect(c.layers('cpu', 9, { from: 0, to: 1000 }, SPAN, 100)).toEqual([]);
  });
  it('are forgotten when nobody has drawn them for long', () => {
    const c = new SegmentCache(3);
    const wide = answer(0, 1000, 100, true);
    c.add('cpu', wide);
    for (let i = 0; i < 5; i++) {
      c.add('cpu', answer(i * 100, i * 100 + 100, 100, true));
      expect(c.layers('cpu', 1, { from: 0, to: 1000 }, SPAN, 100)).toEqual([wide]);
    }
    expect(c.quality('cpu', 1, { from: 400, to: 500 }, SPAN, 100)).toBe('good');
    expect(c.quality('cpu', 1, { from: 0, to: 100 }, SPAN, 100)).toBe('none');
  });
  it('say whether finer ones are to be had', () => {
    const c = new SegmentCache();
    const view = { from: 0, to: 1000 };
    expect(c.quality('cpu', 1, view, SPAN, 100)).toBe('none');
    c.add('cpu', answer(0, 1000, 100, true, false));
    expect(c.quality('cpu', 1, view, SPAN, 100)).toBe('coarse');
    c.add('cpu', answer(0, 1000, 100, true, true, true));
    expect(c.quality('cpu', 1, view, SPAN, 100)).toBe('good');
    expect(c.quality('cpu', 1, { from: 0, to: 100 }, SPAN, 100)).toBe('none');
    c.add('cpu', answer(0, 1000, 100, false));
    expect(c.quality('cpu', 1, { from: 0, to: 100 }, SPAN, 100)).toBe('good');
  });
});
