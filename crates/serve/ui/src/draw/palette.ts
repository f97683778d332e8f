// What a state looks like. Hue says which VM, shade and texture say the state, grey is the host; a texture repeats whatever a
// hue says, so that nothing hangs on hue alone.
//
//   guest        the VM's hue, solid                    idle         hollow: empty, a line above and below
//   hypervisor   its shade, striped across              unknown      dotted
//   preempted    ╳ in the hue of who had the cpu        lost         red, cross-hatched
//   waiting      a breath of its hue                    inferred     fine diagonal lines over any of them
//   off cpu      upright lines in the hue of who had the cpu
//
// Hues are Okabe and Ito's, which the colour-blind can tell apart, and five more that stand off from them in lightness.

import type { Kind } from '../api/types';
import {
  BY_HOST,
  BY_VM,
  GUEST,
  HOST,
  HYPERVISOR,
  IDLE,
  INFERRED,
  LOST,
  OFF_CPU,
  PREEMPTED,
  UNKNOWN,
  WAITING,
  isCpuLike,
} from '../model/states';
import { type Style, packed } from './raster';

export const HUES = [
  '#0072b2',
  '#e69f00',
  '#009e73',
  '#cc79a7',
  '#56b4e9',
  '#d55e00',
  '#f0e442',
  '#8c6bb1',
  '#999933',
  '#b0567a',
  '#44aa99',
  '#a9744f',
];
/** Hue numbers behind those of VMs. */
export const HOST_HUE = HUES.length;
export const NO_HUE = HUES.length + 1;

export interface Ground {
  background: string;
  text: string;
  host: string;
  none: string;
  faint: string;
  dark: boolean;
}

export const DARK: Ground = { background: '#12171c', text: '#e8edf2', host: '#8b96a1', none: '#5b6671', faint: '#39434d', dark: true };
export const LIGHT: Ground = { background: '#ffffff', text: '#1a222b', host: '#7d8791', none: '#a6afb8', faint: '#c9d0d6', dark: false };

export function mix(a: string, b: string, share: number): string {
  const at = (hex: string, i: number) => parseInt(hex.slice(1 + 2 * i, 3 + 2 * i), 16);
  let out = '#';
  for (let i = 0; i < 3; i++)
    out += Math.round(at(a, i) * (1 - share) + at(b, i) * share)
      .toString(16)
      .padStart(2, '0');
  return out;
}

export function hueOfVm(vm: number): number {
  return vm < 0 ? NO_HUE : vm % HUES.length;
}

/** The thirteenth VM has the first one's hue again, and this mark behind its name: how often the hues were gone through. */
export function markOf(vm: number): string {
  const times = Math.max(0, Math.floor(vm / HUES.length));
  return times < 3 ? '′'.repeat(times) : ` ·${times + 1}`;
}

type Paint = (x: number, y: number) => string;

/** Every style of one theme at one pixel density; a style is made when it is first asked for. */
export class Palette {
  private readonly styles = new Map<number, Style>();
  private readonly unit: number;

  constructor(
    readonly ground: Ground,
    dpr: number,
  ) {
    this.unit = dpr < 1.5 ? 1 : dpr < 3 ? 2 : 4;
  }

  hue(n: number): string {
    return n === HOST_HUE ? this.ground.host : n >= NO_HUE ? this.ground.none : HUES[n];
  }

  vm(id: number): string {
    return this.hue(hueOfVm(id));
  }

  /** The style of a state on the track of a kind; `vm`: whose track it is (-1 for cpus). */
  styleOf(kind: Kind, vm: number, state: number, evidence: number, byKind: number, byId: number): Style {
    const by = byKind === BY_VM ? hueOfVm(byId) : byKind === BY_HOST ? HOST_HUE : NO_HUE;
    return isCpuLike(kind) ? this.style(by, state, evidence, NO_HUE) : this.style(hueOfVm(vm), state, evidence, by);
  }

  /** `hue`: of the VM that it is about; `taker`: of who had the cpu meanwhile. */
  style(hue: number, state: number, evidence: number, taker: number): Style {
    const inferred = evidence === INFERRED && state !== UNKNOWN && state !== LOST ? 1 : 0;
    if (state === HOST || state === IDLE || state >= UNKNOWN) hue = NO_HUE;
    if (state !== PREEMPTED && state !== OFF_CPU) taker = NO_HUE;
    else hue = NO_HUE;
    const key = ((hue * 16 + taker) * 16 + state) * 2 + inferred;
    let style = this.styles.get(key);
    if (!style) this.styles.set(key, (style = this.make(hue, state, inferred === 1, taker)));
    return style;
  }

  private make(hue: number, state: number, inferred: boolean, taker: number): Style {
    const { background, text, host, faint, dark } = this.ground;
    const own = this.hue(hue);
    const by = this.hue(taker);
    let base = own;
    let paint: Paint | null = null;
    let edge = '';
    switch (state) {
      case GUEST:
        break;
      case HYPERVISOR: {
        base = mix(own, dark ? '#000000' : background, dark ? 0.5 : 0.45);
        const stripe = mix(own, dark ? '#000000' : background, dark ? 0.15 : 0.1);
        paint = (_, y) => (y % 4 === 1 ? stripe : base);
        break;
      }
      case PREEMPTED: {
        base = mix(by, background, 0.78);
        const line = dark ? mix(by, '#ffffff', 0.12) : by;
        paint = (x, y) => (x === y || x + y === 7 ? line : base);
        break;
      }
      case WAITING:
        base = mix(own, background, dark ? 0.8 : 0.84);
        break;
      case OFF_CPU: {
        base = mix(by, background, 0.86);
        const line = mix(by, background, 0.2);
        paint = (x) => (x % 4 === 1 ? line : base);
        break;
      }
      case HOST:
        base = host;
        break;
      case IDLE:
        base = mix(faint, background, 0.88);
        edge = mix(faint, background, 0.35);
        break;
      case UNKNOWN: {
        base = mix(faint, background, 0.6);
        const dot = mix(text, background, 0.4);
        paint = (x, y) => (x % 4 === 1 && y % 4 === 1 ? dot : base);
        break;
      }
      case LOST: {
        base = dark ? '#5c0f1c' : '#ffd9de';
        const line = dark ? '#ff5f74' : '#c00024';
        paint = (x, y) => ((x + y) % 4 === 0 || (x - y + 8) % 4 === 0 ? line : base);
        break;
      }
    }
    if (inferred) {
      // The lines are weak where a texture stands already: evidence is the second thing to read, not the first.
      const under = paint ?? (() => base);
      const line =
        state === WAITING || state === IDLE
          ? mix(base, text, 0.14)
          : state === PREEMPTED || state === OFF_CPU
            ? mix(base, text, 0.1)
            : mix(base, background, dark ? 0.3 : 0.34);
      paint = (x, y) => {
        const c = under(x, y);
        return (x + y) % 8 === 3 && c === base ? line : c;
      };
    }
    if (!paint) return { colour: packed(base), tile: null, size: 1, edge: edge ? packed(edge) : 0, colours: edge ? [base, edge] : [base] };
    const size = 8 * this.unit;
    const tile = new Uint32Array(size * size);
    // The ground first: it is what stands for the style where one colour must.
    const colours = new Set<string>([base]);
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        const c = paint(Math.floor(x / this.unit), Math.floor(y / this.unit));
        colours.add(c);
        tile[y * size + x] = packed(c);
      }
    }
    if (edge) colours.add(edge);
    return { colour: packed(base), tile, size, edge: edge ? packed(edge) : 0, colours: [...colours] };
  }
}
