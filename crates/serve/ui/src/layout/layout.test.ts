import { describe, expect, it } from 'vitest';
import { Clock, bytes, digits3, grouped, doubt, percent, percentRange } from './format';
import { Scale, pixelsOf } from './scale';
import { axisOf, niceStep } from './ticks';
import { NARROWEST, around, bringIntoView, clampRange, pan, wholeTicks, zoomAt } from './zoom';
import { serves, windowFor } from './snap';
import { stackHeights } from './stack';
import { curves } from './curves';
import { classBounds, quantileClass } from './latency';

describe('numbers', () => {
  it('have a unit and three digits', () => {
    const c = new Clock(2_000_000_000);
    expect([2e9, 24.68e9, 3.1e6, 25e3, 1, 0].map((t) => c.duration(t))).toEqual([
      '1.00 s',
      '12.3 s',
      '1.55 ms',
      '12.5 µs',
      '0.5 ns',
      '0 s',
    ]);
    expect(new Clock(null).duration(1234567)).toBe('1,234,567 ticks');
  });
  it('tell moments as exactly as asked', () => {
    const c = new Clock(1_000_000_000);
    expect(c.moment(1_234_567_890, 1_000_000)).toBe('1.235 s');
    expect(c.moment(1_234_567_890, 1)).toBe('1.234567890 s');
    expect(c.range(4_100_000_000, 9_820_000_000)).toBe('4.10–9.82 s');
    expect([c.range(0, 500), c.range(20_000, 45_000)]).toEqual(['0–500 ns', '20.0–45.0 µs']);
    expect(new Clock(null).range(0, 5000)).toBe('0–5,000 ticks');
  });
  it('keep what is small apart from nothing', () => {
    expect([0, 1e-6, 0.0005, 0.0712, 0.71, 0.9996, 1].map(percent)).toEqual([
      '0 %',
      '<0.01 %',
      '0.05 %',
      '7.1 %',
      '71.0 %',
      '99.9 %',
      '100 %',
    ]);
    expect(percent(NaN)).toBe('–');
  });
  it('carry their doubt', () => {
    expect([0.003, 0.408, 0.0001, null, NaN].map(doubt)).toEqual(['±0.3', '±41', '', '', '']);
    expect([percentRange(0.273, 0.674), percentRange(0.601, 0.604)]).toEqual(['27–67 %', '60.1–60.4 %']);
  });
  it('are grouped', () => {
    expect([grouped(31204), grouped(999), digits3(9.996), digits3(0.1234), bytes(1_500_000)]).toEqual([
      '31,204',
      '999',
      '10.0',
      '0.123',
      '1.50 MB',
    ]);
  });
});

describe('scale', () => {
  it('goes both ways', () => {
    const s = new Scale(1000, 3000, 400);
    expect(s.x(2000)).toBe(200);
    expect(s.t(s.x(1234))).toBeCloseTo(1234);
    expect(s.ticksPerPixel).toBe(5);
  });
  it('gives everything a pixel that holds a part of it', () => {
    expect(pixelsOf(10.4, 20.4)).toEqual([10, 20]);
    expect(pixelsOf(10.6, 10.9)).toEqual([10, 11]);
    expect(pixelsOf(10.1, 10.2)).toEqual([10, 11]);
    expect(pixelsOf(10.6, 11.2)).toEqual([10, 11]);
    for (let x = 0; x < 3; x += 0.01) {
      const [a, b] = pixelsOf(x, x + 0.005);
      expect(b - a).toBe(1);
      expect(a).toBe(Math.floor(x));
    }
  });
});

describe('axis', () => {
  it('steps by one, two, five', () => {
    expect([0.03, 1, 1.1, 4, 7].map(niceStep)).toEqual([0.05, 1, 2, 5, 10]);
  });
  it('is in seconds where there are seconds', () => {
    const a = axisOf(0, 4e9, 1e9, 8);
    expect(a.ticks.map((t) => t.label)).toEqual(['0.0 s', '0.5 s', '1.0 s', '1.5 s', '2.0 s', '2.5 s', '3.0 s', '3.5 s', '4.0 s']);
    expect(a.base).toBeNull();
  });
  it('counts from a base deep inside', () => {
    const a = axisOf(1_234_567_000, 1_234_569_000, 1e9, 4);
    expect(a.baseLabel).toBe('1.234565 s');
    expect(a.ticks[0].label).toBe('+2.0 µs');
    expect(a.ticks.every((t) => t.t >= 1_234_567_000 - 1e-3 && t.t <= 1_234_569_000 + 1e-3)).toBe(true);
  });
  it('stays in ticks without a rate', () => {
    const a = axisOf(0, 10_000, null, 5);
    expect(a.ticks.map((t) => t.label)).toEqual(['0', '2,000', '4,000', '6,000', '8,000', '10,000']);
  });
  it('ends, whatever it is asked', () => {
    for (const [a, b] of [
      [0, 1],
      [0, 64],
      [5e15, 5e15 + 64],
      [0, 9e15],
    ]) {
      const n = axisOf(a, b, 2.1e9, 12).ticks.length;
      expect(n).toBeLessThan(60);
    }
  });
});

describe('zoom', () => {
  const span = 1e9;
  it('keeps what is under the pointer', () => {
    const r = { from: 1e8, to: 5e8 };
    const z = zoomAt(r, 2e8, 0.5, span);
    expect(new Scale(z.from, z.to, 1000).x(2e8)).toBeCloseTo(new Scale(r.from, r.to, 1000).x(2e8), 6);
  });
  it('never leaves the capture', () => {
    expect(pan({ from: 0, to: 1e8 }, -5e8, span)).toEqual({ from: 0, to: 1e8 });
    expect(pan({ from: 0, to: 1e8 }, 5e12, span)).toEqual({ from: 9e8, to: 1e9 });
    expect(zoomAt({ from: 0, to: span }, 3e8, 10, span)).toEqual({ from: 0, to: span });
    expect(clampRange({ from: NaN, to: NaN }, span)).toEqual({ from: 0, to: span });
    expect(clampRange({ from: 0, to: 1 }, 0)).toEqual({ from: 0, to: 1 });
  });
  it('ends at the narrowest', () => {
    let r = { from: 0, to: span };
    for (let i = 0; i < 200; i++) r = zoomAt(r, 5e8, 0.5, span);
    expect(r.to - r.from).toBeCloseTo(NARROWEST);
    expect(clampRange({ from: 3, to: 4 }, 10)).toEqual({ from: 0, to: 10 });
  });
  it('moves no more than it must', () => {
    const r = { from: 1e8, to: 2e8 };
    expect(bringIntoView(r, 1.4e8, 1.5e8, span)).toBe(r);
    const right = bringIntoView(r, 3e8, 3.1e8, span);
    expect(right.to - right.from).toBe(1e8);
    expect(right.from).toBeLessThan(3e8);
    expect(right.to).toBeGreaterThan(3.1e8);
    const wide = bringIntoView(r, 3e8, 6e8, span);
    expect(wide.from).toBeLessThan(3e8);
    expect(wide.to).toBeGreaterThan(6e8);
    expect(around(4e8, 6e8, span, 0.25)).toEqual({ from: 3.5e8, to: 6.5e8 });
  });
  it('is whole ticks in a link', () => {
    expect(wholeTicks({ from: 0.4, to: 0.45 })).toEqual({ from: 0, to: 1 });
  });
});

describe('windows', () => {
  it('hold the view, some more, and bins no wider than a pixel', () => {
    for (let i = 0; i < 200; i++) {
      const span = 1e10;
      const from = (i * 7919e5) % 9e9;
      const view = { from, to: from + 10 ** (2 + (i % 7)) };
      const w = windowFor(view, span, 1200);
      expect(serves(w, true, view, span, 1200)).toBe(true);
      expect(w.from).toBeGreaterThanOrEqual(0);
      expect(w.to).toBeLessThanOrEqual(span);
      expect(w.to - w.from).toBeLessThan((view.to - view.from) * 2);
    }
  });
  it('serve a small pan, but no zoom into bins', () => {
    const view = { from: 5e8, to: 6e8 };
    const w = windowFor(view, 1e9, 1000);
    expect(serves(w, true, { from: 5.1e8, to: 6.1e8 }, 1e9, 1000)).toBe(true);
    expect(serves(w, true, { from: 5.4e8, to: 5.6e8 }, 1e9, 1000)).toBe(false);
    expect(serves(w, false, { from: 5.4e8, to: 5.6e8 }, 1e9, 1000)).toBe(true);
    expect(serves(w, false, { from: 1e8, to: 2e8 }, 1e9, 1000)).toBe(false);
  });
});

describe('stacks', () => {
  const stack = (weights: number[], height: number) => {
    const out = new Int32Array(weights.length);
    stackHeights(weights, weights.length, height, out);
    return [...out];
  };
  it('fill the row with what is known', () => {
    expect(stack([0.5, 0.5], 20)).toEqual([10, 20]);
    expect(stack([1 / 3, 1 / 3, 1 / 3], 20).at(-1)).toBe(20);
    expect(stack([0.25], 20)).toEqual([5]);
  });
  it('show what is thin', () => {
    expect(stack([0.999, 0.001], 20)).toEqual([19, 20]);
    expect(stack([0.001, 0.999], 20)).toEqual([1, 20]);
    expect(stack([0.0001, 0, 0], 20)).toEqual([1, 1, 1]);
  });
  it('show nothing where nothing is', () => {
    expect(stack([0, 0, 0], 20)).toEqual([0, 0, 0]);
    expect(stack([], 20)).toEqual([]);
  });
  it('never leave the row', () => {
    for (let i = 0; i < 500; i++) {
      const w = Array.from({ length: 9 }, (_, k) => ((i * 31 + k * 17) % 23) / 23);
      const sum = w.reduce((a, b) => a + b, 0) || 1;
      const edges = stack(
        w.map((x) => x / sum),
        9 + (i % 30),
      );
      for (let k = 1; k < edges.length; k++) expect(edges[k]).toBeGreaterThanOrEqual(edges[k - 1]);
      expect(edges.at(-1)).toBe(9 + (i % 30));
    }
  });
});

describe('curves', () => {
  it('are rates over the bins that any VM has, and end where the last one ends', () => {
    const rate = {
      start: Float64Array.of(0, 100, 100),
      end: Float64Array.of(100, 200, 200),
      vm: Int32Array.of(1, 1, 2),
      count: Float64Array.of(5, 1, 10),
      ticks: new Float64Array(3),
    };
    expect(curves(rate, [1, 2], 1000)).toEqual([
      [0, 100, 200],
      [50, 10, 10],
      [0, 100, 100],
    ]);
    expect(curves(rate, [2], null)).toEqual([
      [0, 100, 200],
      [0, 100_000, 100_000],
    ]);
  });
  it('are empty where nothing left a guest', () => {
    const none = {
      start: new Float64Array(),
      end: new Float64Array(),
      vm: new Int32Array(),
      count: new Float64Array(),
      ticks: new Float64Array(),
    };
    expect(curves(none, [], 1000)).toEqual([[0]]);
  });
});

describe('latency classes', () => {
  it('are half octaves', () => {
    expect([0, 1, 2, 3, 20].map(classBounds)).toEqual([
      [0, 1.5],
      [1.5, 2],
      [2, 3],
      [3, 4],
      [1024, 1536],
    ]);
  });
  it('have quantiles', () => {
    expect(
      quantileClass(
        new Map([
          [4, 50],
          [6, 49],
          [9, 1],
          [-1, 500],
        ]),
        0.5,
      ),
    ).toBe(4);
    expect(
      quantileClass(
        new Map([
          [4, 50],
          [6, 49],
          [9, 1],
        ]),
        0.99,
      ),
    ).toBe(6);
    expect(quantileClass(new Map([[-1, 5]]), 0.5)).toBeNull();
  });
});
