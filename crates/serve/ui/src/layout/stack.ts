// Heights of a stack of shares in whole pixels: what has a share has a pixel, and the biggest pays for it.

/** `weights` sum to at most 1; returns the top edge (in pixels from the bottom) of each. */
export function stackHeights(weights: ArrayLike<number>, n: number, height: number, out: Int32Array): void {
  let sum = 0;
  let total = 0;
  let biggest = -1;
  let seen = 0;
  for (let i = 0; i < n; i++) {
    const w = weights[i];
    const h = w > 0 ? Math.max(1, Math.round(w * height)) : 0;
    out[i] = h;
    if (h === 0) continue;
    total += w;
    sum += h;
    seen++;
    if (biggest < 0 || w > weights[biggest]) biggest = i;
  }
  if (biggest < 0) return;
  const target = Math.min(height, Math.max(Math.round(total * height), seen));
  out[biggest] = Math.max(1, out[biggest] + target - sum);
  let edge = 0;
  for (let i = 0; i < n; i++) {
    edge = Math.min(height, edge + out[i]);
    out[i] = edge;
  }
}
