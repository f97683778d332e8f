// Draws one track. Intervals are drawn one by one, thin ones last so that none vanishes under its neighbour. Bins are summed
// into the pixels they touch: a column of pixels is the exact shares of its time, never the last state drawn.

import type { Segments } from '../api/types';
import type { Part } from '../model/segments';
import { pixelsOf, type Scale } from '../layout/scale';
import { stackHeights } from '../layout/stack';
import type { Raster, Style } from './raster';

export type StyleOf = (i: number) => Style;

/** Styles of the rows of one track, looked up once an answer and not once a frame. */
export interface TrackStyles {
  /** Index into `list` of each row of the part. */
  index: Uint8Array;
  list: Style[];
  /** Place of each style in a stack. */
  order: number[];
}

export function indexStyles(seg: Segments, part: Part, styleOf: StyleOf): TrackStyles {
  const index = new Uint8Array(part.end - part.begin);
  const list: Style[] = [];
  const order: number[] = [];
  const found = new Map<Style, number>();
  for (let i = part.begin; i < part.end; i++) {
    const style = styleOf(i);
    let n = found.get(style);
    if (n === undefined) {
      n = list.length;
      found.set(style, n);
      list.push(style);
      order.push((seg.state[i] * 4 + seg.byKind[i]) * 65536 + (seg.byId[i] + 1) * 4 + seg.evidence[i]);
    }
    index[i - part.begin] = n;
  }
  return { index, list, order };
}

/** Draws rows of `part` into [top, bottom) of the raster, by a scale in device pixels. */
export function drawTrack(raster: Raster, seg: Segments, part: Part, scale: Scale, top: number, bottom: number, styles: TrackStyles): void {
  if (seg.binned) drawBins(raster, seg, part, scale, top, bottom, styles);
  else drawIntervals(raster, seg, part, scale, top, bottom, styles);
}

function drawIntervals(raster: Raster, seg: Segments, part: Part, scale: Scale, top: number, bottom: number, styles: TrackStyles): void {
  const height = bottom - top;
  const thin: number[] = [];
  const one = (i: number) => {
    const [x0, x1] = pixelsOf(scale.x(seg.start[i]), scale.x(seg.end[i]));
    const a = bottom - Math.round(seg.y1[i] * height);
    const b = Math.max(a + 1, bottom - Math.round(seg.y0[i] * height));
    raster.rect(x0, a, x1, b, styles.list[styles.index[i - part.begin]]);
  };
  const tick = scale.ticksPerPixel;
  for (let i = part.begin; i < part.end; i++) {
    if (seg.end[i] <= scale.from || seg.start[i] >= scale.to) continue;
    if (seg.end[i] - seg.start[i] < tick) thin.push(i);
    else one(i);
  }
  for (const i of thin) one(i);
}

/** First row of the part that may end behind `t`: bins are in the order of time, all of one width. */
function firstBin(seg: Segments, part: Part, t: number): number {
  let lo = part.begin;
  let hi = part.end;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if (seg.end[mid] <= t) lo = mid + 1;
    else hi = mid;
  }
  return lo;
}

function drawBins(raster: Raster, seg: Segments, part: Part, scale: Scale, top: number, bottom: number, track: TrackStyles): void {
  const columns = Math.ceil(scale.width);
  const { list: styles, order, index } = track;
  // A row of columns for each style.
  const shares = styles.map(() => new Float64Array(columns));
  const { start, end, y0: low, y1: high } = seg;
  const perTick = 1 / scale.ticksPerPixel;
  for (let i = firstBin(seg, part, scale.from); i < part.end; i++) {
    if (start[i] >= scale.to) break;
    const row = shares[index[i - part.begin]];
    const share = high[i] - low[i];
    const x0 = Math.max(0, (start[i] - scale.from) * perTick);
    const x1 = Math.min(columns, (end[i] - scale.from) * perTick);
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
