// Numbers and times as people read them: a unit always, digits only as far as they mean something.

const UNITS: [number, string][] = [
  [1, 's'],
  [1e-3, 'ms'],
  [1e-6, 'µs'],
  [1e-9, 'ns'],
];

export function grouped(n: number): string {
  return Math.round(n)
    .toString()
    .replace(/\B(?=(\d{3})+(?!\d))/g, ',');
}

/** Three significant digits, never in exponents. */
export function digits3(x: number): string {
  const a = Math.abs(x);
  if (a === 0) return '0';
  if (a >= 99.95) return grouped(x);
  return x.toFixed(a >= 9.995 ? 1 : a >= 0.9995 ? 2 : 3);
}

export function percent(share: number): string {
  const p = share * 100;
  if (!Number.isFinite(p)) return '–';
  if (p === 0) return '0 %';
  if (p < 0.01) return '<0.01 %';
  if (p < 0.1) return `${p.toFixed(2)} %`;
  if (p > 99.9 && p < 100) return '99.9 %';
  return p < 99.95 ? `${p.toFixed(1)} %` : `${p.toFixed(0)} %`;
}

/** `±0.3`, in per cent; empty where it is too small to be read, or not known. */
export function doubt(within: number | null): string {
  return within === null || !(within >= 0.0005) ? '' : `±${(within * 100).toFixed(within < 0.1 ? 1 : 0)}`;
}

/** `45–67 %` */
export function percentRange(lo: number, hi: number): string {
  const digits = hi - lo < 0.02 ? 1 : 0;
  return `${(lo * 100).toFixed(digits)}–${(hi * 100).toFixed(digits)} %`;
}

export function bytes(n: number): string {
  for (const unit of ['B', 'kB', 'MB', 'GB']) {
    if (n < 1000 || unit === 'GB') return `${digits3(n)} ${unit}`;
    n /= 1000;
  }
  return '';
}

/** Ticks as time. Without a known rate ticks stay ticks: seconds are never made up. */
export class Clock {
  constructor(readonly hz: number | null) {}

  duration(ticks: number): string {
    if (this.hz === null) return `${grouped(ticks)} ticks`;
    const s = ticks / this.hz;
    if (s === 0) return '0 s';
    for (const [size, unit] of UNITS) {
      if (Math.abs(s) >= size * 0.9995) return `${digits3(s / size)} ${unit}`;
    }
    return `${(s * 1e9).toFixed(1)} ns`;
  }

  /** A moment, exact enough to tell it from another `resolution` ticks away. */
  moment(ticks: number, resolution: number): string {
    if (this.hz === null) return grouped(ticks);
    return `${this.seconds(ticks, resolution)} s`;
  }

  /** `4.10–9.82 s` */
  range(from: number, to: number): string {
    const resolution = (to - from) / 200;
    if (this.hz === null) return `${grouped(from)}–${grouped(to)} ticks`;
    // Only at the very beginning of a capture are seconds too big a unit.
    const [size, unit] = to / this.hz >= 1e-3 ? UNITS[0] : to / this.hz >= 1e-6 ? UNITS[2] : UNITS[3];
    return `${this.seconds(from, resolution, size)}–${this.seconds(to, resolution, size)} ${unit}`;
  }

  private seconds(ticks: number, resolution: number, size = 1): string {
    const step = Math.max(resolution, 1) / this.hz! / size;
    const decimals = Math.min(9, Math.max(size < 1 ? 0 : 1, Math.ceil(-Math.log10(step))));
    return (ticks / this.hz! / size).toFixed(decimals);
  }
}
