// Rates of exits as curves.

import type { Rate } from '../api/types';

/** One curve a VM over the bins that any VM has; per second, or per million ticks where no rate is known. */
export function curves(rate: Rate, vms: number[], hz: number | null): [number[], ...number[][]] {
  const starts = [...new Set(rate.start)].sort((a, b) => a - b);
  const index = new Map(starts.map((s, i) => [s, i]));
  const last = rate.end.length ? Math.max(...rate.end) : 0;
  const ys = vms.map(() => new Array<number>(starts.length + 1).fill(0));
  const of = new Map(vms.map((v, i) => [v, i]));
  for (let i = 0; i < rate.start.length; i++) {
    const n = of.get(rate.vm[i]);
    if (n === undefined) continue;
    ys[n][index.get(rate.start[i])!] = rate.count[i] / ((rate.end[i] - rate.start[i]) / (hz ?? 1e6));
  }
  for (const y of ys) y[starts.length] = y[starts.length - 1] ?? 0;
  return [[...starts, last], ...ys];
}
