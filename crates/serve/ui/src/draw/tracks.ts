// Draws one track. Intervals are drawn one by one, thin ones last so that none vanishes under its neighbour. Bins are summed
// into the pixels they touch: a column of pixels is the exact shares of its time, never the last state drawn.

import type { Segments } from '../api/types';
import type { Part } from '../model/segments';
import { pixelsOf, type Scale } from '../layout/scale';
import { stackHeights } from '../layout/stack';
import type { Raster, Style } from './raster';

export type StyleOf = (i: number) => Style;

/** Draws rows of `part` into [top, bottom) of the raster, by a scale in device pixels. */
export function drawTrack(raster: Raster, seg: Segments, part: Part, scale: Scale, top: number, bottom: number, styleOf: StyleOf): void {
  if (seg.binned) drawBins(raster, seg, part, scale, top, bottom, styleOf);
  else drawIntervals(raster, seg, part, scale, top, bottom, styleOf);
}

function drawIntervals(raster: Raster, seg: Segments, part: Part, scale: Scale, top: number, bottom: number, styleOf: StyleOf): void {
  const height = bottom - top;
  const thin: number[] = [];
  const one = (i: number) => {
    const [x0, x1] = pixelsOf(scale.x(seg.start[i]), scale.x(seg.end[i]));
    const a = bottom - Math.round(seg.y1[i] * height);
    const b = Math.max(a + 1, bottom - Math.round(seg.y0[i] * height));
    raster.rect(x0, a, x1, b, styleOf(i));
  };
  const tick = scale.ticksPerPixel;
  for (let i = part.begin; i < part.end; i++) {
    if (seg.end[i] <= scale.from || seg.start[i] >= scale.to) continue;
    if (seg.end[i] - seg.start[i] < tick) thin.push(i);
    else one(i);
  }
  for (const i of thin) one(i);
}

function drawBins(raster: Raster, seg: Segments, part: Part, scale: Scale, top: number, bottom: number, styleOf: StyleOf): void {
  const columns = Math.ceil(scale.width);
  // Styles of this track in the order of their stack, and a row of columns for each.
  const found = new Map<Style, number>();
  const styles: Style[] = [];
  const order: number[] = [];
  const shares: Float64Array[] = [];
  for (let i = part.begin; i < part.end; i++) {
    if (seg.end[i] <= scale.from || seg.start[i] >= scale.to) continue;
    const style = styleOf(i);
    let n = found.get(style);
    if (n === undefined) {
      n = styles.length;
      found.set(style, n);
      styles.push(style);
      order.push((seg.state[i] * 4 + seg.byKind[i]) * 65536 + (seg.byId[i] + 1) * 4 + seg.evidence[i]);
      shares.push(new Float64Array(columns));
    }
    const row = shares[n];
    const share = seg.y1[i] - seg.y0[i];
    const x0 = Math.max(0, scale.x(seg.start[i]));
    const x1 = Math.min(columns, scale.x(seg.end[i]));
    let c = Math.floor(x0);
    if (x1 <= c + 1) {
      row[c] += (x1 - x0) * share;
      continue;
    }
    row[c] += (c + 1 - x0) * share;
    for (c++; c + 1 <= x1; c++) row[c] += share;
    if (c < columns && x1 > c) row[c] += (x1 - c) * share;
  }
  const n = styles.length;
  if (n === 0) return;
  const sorted = styles.map((_, i) => i).sort((a, b) => order[a] - order[b]);
  const height = bottom - top;
  const weights = new Float64Array(n);
  const edges = new Int32Array(n);
  // Neighbouring columns are mostly alike: a run of them is one rectangle each.
  const last = new Int32Array(n).fill(-1);
  let runStart = 0;
  const flush = (x: number) => {
    if (x === runStart) return;
    let from = 0;
    for (let k = 0; k < n; k++) {
      if (last[k] > from) {
        raster.rect(runStart, bottom - last[k], x, bottom - from, styles[sorted[k]]);
        from = last[k];
      }
    }
  };
  for (let x = 0; x < columns; x++) {
    for (let k = 0; k < n; k++) {
      // Rounding of thousands of shares leaves dust, which is not a state that was there.
      const w = shares[sorted[k]][x];
      weights[k] = w < 1e-6 ? 0 : w;
    }
    stackHeights(weights, n, height, edges);
    let same = true;
    for (let k = 0; k < n; k++) if (edges[k] !== last[k]) same = false;
    if (same) continue;
    flush(x);
    last.set(edges);
    runStart = x;
  }
  flush(columns);
}
