// Marks of the time axis on a canvas.

import { axisOf } from '../layout/ticks';
import type { Scale } from '../layout/scale';

/** Scale in CSS pixels; returns where the marks are, for grid lines. */
export function drawAxis(
  g: CanvasRenderingContext2D,
  scale: Scale,
  height: number,
  hz: number | null,
  ink: string,
  line: string,
): number[] {
  g.clearRect(0, 0, scale.width, height);
  g.font = '11px system-ui, sans-serif';
  g.textBaseline = 'middle';
  const axis = axisOf(scale.from, scale.to, hz, Math.max(2, Math.floor(scale.width / 96)));
  const xs: number[] = [];
  let free = 0;
  if (axis.baseLabel) {
    g.fillStyle = ink;
    g.font = '600 11px system-ui, sans-serif';
    g.fillText(axis.baseLabel, 4, height / 2);
    free = g.measureText(axis.baseLabel).width + 14;
    g.font = '11px system-ui, sans-serif';
  }
  for (const tick of axis.ticks) {
    const x = Math.round(scale.x(tick.t));
    xs.push(x);
    g.fillStyle = line;
    g.fillRect(x, height - 6, 1, 6);
    const w = g.measureText(tick.label).width;
    if (x + 5 < free || x + 5 + w > scale.width) continue;
    g.fillStyle = ink;
    g.fillText(tick.label, x + 5, height / 2);
    free = x + 5 + w + 8;
  }
  return xs;
}
