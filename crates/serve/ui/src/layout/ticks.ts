// Marks of the time axis: steps of 1, 2, 5; deep inside a capture they count from a base, as nobody reads 1.234567891 s twenty times.

import { grouped } from './format';

export interface Tick {
  t: number;
  label: string;
}
export interface Axis {
  step: number;
  base: number | null;
  baseLabel: string;
  ticks: Tick[];
}

export function niceStep(raw: number): number {
  const p = 10 ** Math.floor(Math.log10(raw));
  for (const m of [1, 2, 5, 10]) if (raw <= m * p * 1.0000001) return m * p;
  return 10 * p;
}

const UNITS: [number, string][] = [
  [1, 's'],
  [1e-3, 'ms'],
  [1e-6, 'µs'],
  [1e-9, 'ns'],
];

function unitOf(step: number): [number, string] {
  for (const u of UNITS) if (step >= u[0] * 0.999) return u;
  return UNITS[3];
}

function trimmed(x: number, decimals: number): string {
  return decimals > 0 ? x.toFixed(decimals) : grouped(x);
}

/** `count`: about how many marks fit. */
export function axisOf(from: number, to: number, hz: number | null, count: number): Axis {
  const per = hz ?? 1;
  const a = from / per;
  const b = to / per;
  const step = Math.max(niceStep((b - a) / Math.max(1, count)), hz === null ? 1 : 0);
  const first = Math.ceil(a / step - 1e-9);
  const last = Math.floor(b / step + 1e-9);
  const ticks: Tick[] = [];
  if (hz === null) {
    for (let i = first; i <= last && ticks.length < 1000; i++) ticks.push({ t: i * step, label: grouped(i * step) });
    return { step, base: null, baseLabel: '', ticks };
  }
  // A base pays off where labels would need more than five digits to differ.
  const useBase = a > step * 20_000;
  const big = niceStep((b - a) * 2);
  const base = useBase ? Math.floor(a / big) * big : 0;
  const [scale, word] = unitOf(b - base);
  const decimals = Math.max(0, Math.ceil(-Math.log10(step / scale) - 1e-9));
  for (let i = first; i <= last && ticks.length < 1000; i++) {
    const s = i * step;
    ticks.push({ t: s * per, label: `${useBase ? '+' : ''}${trimmed((s - base) / scale, decimals)} ${word}` });
  }
  const baseDecimals = Math.min(9, Math.max(0, Math.ceil(-Math.log10(big) - 1e-9)));
  return { step: step * per, base: useBase ? base * per : null, baseLabel: useBase ? `${base.toFixed(baseDecimals)} s` : '', ticks };
}
