// Classes of latency: half octaves of ticks, as api/exits/histogram gives them.

/** First tick of a class, and the one behind its last. */
export function classBounds(c: number): [number, number] {
  const low = 2 ** Math.floor(c / 2);
  return c % 2 === 0 ? [c === 0 ? 0 : low, 1.5 * low] : [1.5 * low, 2 * low];
}

/** The class in which the `share`th of all lies; null where there are none. Classes without a number (-1) are left out. */
export function quantileClass(counts: Map<number, number>, share: number): number | null {
  const all = [...counts].filter(([c, n]) => c >= 0 && n > 0).sort((a, b) => a[0] - b[0]);
  const total = all.reduce((a, [, n]) => a + n, 0);
  let sum = 0;
  for (const [c, n] of all) {
    sum += n;
    if (sum >= share * total) return c;
  }
  return null;
}
