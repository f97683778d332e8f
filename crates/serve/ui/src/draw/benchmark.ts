// How long a frame takes: random rectangles of every style in forty rows, from arrays to the canvas.

import type { Segments } from '../api/types';
import { Scale } from '../layout/scale';
import { STATES } from '../model/states';
import { canvasContext, h } from '../util/dom';
import type { Palette } from './palette';
import { Raster, packed } from './raster';
import { drawTrack, indexStyles } from './tracks';

const ROWS = 40;
const SPAN = 1e9;
const WARM = 8;

export function randomTrack(n: number): Segments {
  let seed = 1;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  const fixed: Segments = {
    binned: false,
    exact: true,
    id: new Int32Array(n),
    start: new Float64Array(n),
    end: new Float64Array(n),
    state: new Uint8Array(n),
    evidence: new Uint8Array(n),
    byKind: new Uint8Array(n),
    byId: new Int32Array(n),
    y0: new Float32Array(n),
    y1: new Float32Array(n).fill(1),
    cpu: new Int32Array(n),
    vcpu: new Int32Array(n),
    process: new Int32Array(n),
  };
  const perRow = Math.ceil(n / ROWS);
  for (let i = 0; i < n; i++) {
    const k = i % perRow;
    fixed.id[i] = Math.floor(i / perRow);
    fixed.start[i] = (k / perRow) * SPAN;
    fixed.end[i] = fixed.start[i] + (SPAN / perRow) * (0.2 + random() * 0.8);
    fixed.state[i] = Math.floor(random() * STATES);
    fixed.evidence[i] = Math.floor(random() * 2);
    fixed.byKind[i] = 1 + Math.floor(random() * 2);
    fixed.byId[i] = Math.floor(random() * 12);
  }
  return fixed;
}

export async function timed(
  palette: Palette,
  seg: Segments,
  frames: number,
): Promise<{ rectangles: number; median: number; p99: number; frames: number[] }> {
  const canvas = h('canvas', {
    width: Math.round(innerWidth * devicePixelRatio),
    height: Math.round(innerHeight * devicePixelRatio),
    class: 'benchmark',
  });
  document.body.append(canvas);
  const g = canvasContext(canvas);
  const image = new ImageData(canvas.width, canvas.height);
  const raster = new Raster(canvas.width, canvas.height, image.data.buffer);
  const ground = packed(palette.ground.background);
  const times: number[] = [];
  const rowHeight = canvas.height / ROWS;
  const parts = [];
  for (let begin = 0, row = 0; begin < seg.id.length; row++) {
    let end = begin;
    while (end < seg.id.length && seg.id[end] === row) end++;
    const part = { begin, end };
    parts.push({
      part,
      styles: indexStyles(seg, part, (i) =>
        palette.styleOf('vcpu', seg.byId[i], seg.state[i], seg.evidence[i], seg.byKind[i], seg.byId[i]),
      ),
    });
    begin = end;
  }
  // The first frames are the compiler's.
  for (let f = -WARM; f < frames; f++) {
    await new Promise((done) => requestAnimationFrame(done));
    const t0 = performance.now();
    const scale = new Scale(f * 1e5, SPAN - f * 1e5, canvas.width);
    raster.clear(ground);
    parts.forEach(({ part, styles }, row) =>
      drawTrack(raster, seg, part, scale, Math.round(row * rowHeight), Math.round((row + 1) * rowHeight) - 1, styles),
    );
    g.putImageData(image, 0, 0);
    if (f >= 0) times.push(performance.now() - t0);
  }
  canvas.remove();
  const sorted = [...times].sort((a, b) => a - b);
  return {
    rectangles: seg.id.length,
    median: sorted[Math.floor(frames / 2)],
    p99: sorted[Math.min(frames - 1, Math.floor(frames * 0.99))],
    frames: times,
  };
}
