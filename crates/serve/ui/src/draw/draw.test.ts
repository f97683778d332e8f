import { describe, expect, it } from 'vitest';
import { segments } from '../test/segments';
import { Scale } from '../layout/scale';
import { GUEST, HOST, HYPERVISOR, IDLE, LOST, OFF_CPU, PREEMPTED, STATES, UNKNOWN, WAITING } from '../model/states';
import { DARK, HUES, LIGHT, Palette, hueOfVm, markOf, mix } from './palette';
import { Raster, packed, type Style } from './raster';
import { drawTrack, indexStyles } from './tracks';

const flat = (hex: string): Style => ({ colour: packed(hex), tile: null, size: 1, edge: 0, colours: [hex] });
const RED = flat('#ff0000');
const BLUE = flat('#0000ff');
const letters = new Map([
  [0, '.'],
  [RED.colour, 'r'],
  [BLUE.colour, 'b'],
]);
const show = (r: Raster) =>
  Array.from({ length: r.height }, (_, y) =>
    Array.from(r.pixels.subarray(y * r.width, (y + 1) * r.width), (p) => letters.get(p) ?? '?').join(''),
  );

describe('raster', () => {
  it('fills, and cuts at its edges', () => {
    const r = new Raster(6, 3);
    r.rect(-5, 1, 2, 9, RED);
    r.rect(4, -1, 9, 1, BLUE);
    expect(show(r)).toEqual(['....bb', 'rr....', 'rr....']);
  });
  it('keeps a texture in place, wherever rectangles begin', () => {
    const tile = Uint32Array.from([RED.colour, BLUE.colour, BLUE.colour, RED.colour]);
    const style: Style = { colour: 0, tile, size: 2, edge: 0, colours: [] };
    const one = new Raster(7, 3);
    one.rect(0, 0, 7, 3, style);
    const two = new Raster(7, 3);
    two.rect(0, 0, 3, 3, style);
    two.rect(3, 0, 7, 3, style);
    expect(show(one)).toEqual(['rbrbrbr', 'brbrbrb', 'rbrbrbr']);
    expect(show(two)).toEqual(show(one));
  });
  it('packs colours as image memory has them', () => {
    const bytes = new Uint8Array(Uint32Array.of(packed('#123456')).buffer);
    expect([...bytes]).toEqual([0x12, 0x34, 0x56, 255]);
  });
});

describe('tracks', () => {
  const draw = (rows: number[][], binned: boolean, from: number, to: number, width: number, height = 4) => {
    const seg = segments(rows, binned);
    const r = new Raster(width, height);
    drawTrack(
      r,
      seg,
      { begin: 0, end: seg.id.length },
      new Scale(from, to, width),
      0,
      height,
      indexStyles(seg, { begin: 0, end: seg.id.length }, (i) => (seg.state[i] === 0 ? RED : BLUE)),
    );
    return show(r);
  };
  it('draw intervals, cut by the view', () => {
    expect(
      draw(
        [
          [0, -50, 40, 0, 0],
          [0, 40, 500, 1, 0],
        ],
        false,
        0,
        100,
        10,
        1,
      ),
    ).toEqual(['rrrrbbbbbb']);
  });
  it('let nothing thin vanish', () => {
    expect(
      draw(
        [
          [0, 0, 50, 0, 0],
          [0, 50, 50.5, 1, 0],
          [0, 50.5, 100, 0, 0],
        ],
        false,
        0,
        100,
        10,
        1,
      ),
    ).toEqual(['rrrrrbrrrr']);
  });
  it('split the height', () => {
    expect(
      draw(
        [
          [0, 0, 100, 0, 0, 0, 0.5],
          [0, 0, 50, 1, 0, 0.5, 1],
        ],
        false,
        0,
        100,
        4,
      ),
    ).toEqual(['bb..', 'bb..', 'rrrr', 'rrrr']);
  });
  it('stack the shares of bins', () => {
    expect(
      draw(
        [
          [0, 0, 50, 0, 0, 0, 0.75],
          [0, 0, 50, 1, 0, 0.75, 1],
          [0, 50, 100, 1, 0, 0, 0.5],
        ],
        true,
        0,
        100,
        2,
      ),
    ).toEqual(['b.', 'r.', 'rb', 'rb']);
  });
  it('sum bins that share a pixel', () => {
    const rows = Array.from({ length: 100 }, (_, i) => [0, i, i + 1, i % 2, 0, 0, 1]);
    expect(draw(rows, true, 0, 100, 2)).toEqual(['bb', 'bb', 'rr', 'rr']);
  });
  it('leave bins empty where a track was not', () => {
    expect(draw([[0, 50, 100, 0, 0, 0, 1]], true, 0, 100, 4, 1)).toEqual(['..rr']);
  });
  it('show an instant of another state in a pixel of bins', () => {
    const rows = [
      [0, 0, 100, 0, 0, 0, 0.999],
      [0, 0, 100, 1, 0, 0.999, 1],
    ];
    expect(draw(rows, true, 0, 100, 1)).toEqual(['b', 'r', 'r', 'r']);
  });
});

function contrast(a: string, b: string): number {
  const l = (hex: string) => {
    const f = (i: number) => {
      const c = parseInt(hex.slice(i, i + 2), 16) / 255;
      return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    };
    return 0.2126 * f(1) + 0.7152 * f(3) + 0.0722 * f(5);
  };
  const [x, y] = [l(a), l(b)].sort((p, q) => q - p);
  return (x + 0.05) / (y + 0.05);
}

describe('palette', () => {
  it('has a hue a VM, stable by id, and a mark when they repeat', () => {
    expect(HUES).toHaveLength(12);
    expect(new Set(HUES).size).toBe(12);
    expect([0, 11, 12, 25].map(hueOfVm)).toEqual([0, 11, 0, 1]);
    expect([-1, 0, 11, 12, 25, 36].map(markOf)).toEqual(['', '', '', '′', '′′', ' ·4']);
  });
  for (const ground of [DARK, LIGHT]) {
    const p = new Palette(ground, 1);
    it(`tells every state from every other on ${ground.dark ? 'dark' : 'light'}`, () => {
      const look = (s: Style) => `${s.tile ? [...s.tile].join() : s.colour}|${s.edge}`;
      const seen = new Set<string>();
      for (let s = 0; s < STATES; s++) for (const e of s >= UNKNOWN ? [s - 5] : [0, 1]) seen.add(look(p.styleOf('vcpu', 0, s, e, 1, 1)));
      expect(seen.size).toBe(7 * 2 + 2);
    });
    it(`has guests that stand off from the ${ground.dark ? 'dark' : 'light'} ground, but for yellow on white`, () => {
      for (const hue of HUES)
        if (ground.dark || contrast('#ffffff', hue) > 1.5) expect(contrast(ground.background, hue)).toBeGreaterThan(ground.dark ? 3 : 1.5);
    });
    it('blames the taker', () => {
      const blamed = p.styleOf('vcpu', 0, PREEMPTED, 1, 1, 1);
      expect(blamed.colours).toContain(mix(HUES[1], ground.background, 0.78));
      expect(p.styleOf('vcpu', 3, PREEMPTED, 1, 1, 1)).toBe(blamed);
      expect(p.styleOf('vcpu', 0, OFF_CPU, 1, 2, 5)).toBe(p.styleOf('vcpu', 0, OFF_CPU, 1, 2, 9));
    });
    it('lists every colour a pixel may have', () => {
      for (const s of [GUEST, HYPERVISOR, PREEMPTED, WAITING, OFF_CPU, HOST, IDLE, UNKNOWN, LOST]) {
        for (const e of [0, 1]) {
          const style = p.styleOf('cpu', -1, s, e, 1, 2);
          const allowed = new Set(style.colours.map(packed));
          for (const c of style.tile ?? [style.colour]) expect(allowed.has(c)).toBe(true);
        }
      }
    });
  }
  it('has textures that grow with the density of the screen', () => {
    expect(new Palette(DARK, 1).styleOf('cpu', -1, LOST, 3, 0, -1).size).toBe(8);
    expect(new Palette(DARK, 2).styleOf('cpu', -1, LOST, 3, 0, -1).size).toBe(16);
  });
});
