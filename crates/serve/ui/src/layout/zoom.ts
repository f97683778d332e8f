// Arithmetic of zoom and pan. A view never leaves the capture, and never gets so narrow that doubles blur it.

export interface Range {
  from: number;
  to: number;
}

export const NARROWEST = 64;

export function clampRange(r: Range, span: number): Range {
  const whole = Math.max(span, 1);
  let width = Math.min(Math.max(r.to - r.from, Math.min(NARROWEST, whole)), whole);
  if (!Number.isFinite(width)) width = whole;
  let from = Number.isFinite(r.from) ? r.from : 0;
  from = Math.min(Math.max(from, 0), whole - width);
  return { from, to: from + width };
}

/** Zoom by `factor` (< 1 is closer) so that what is at `at` stays where it is. */
export function zoomAt(r: Range, at: number, factor: number, span: number): Range {
  const width = Math.min(Math.max((r.to - r.from) * factor, NARROWEST), Math.max(span, NARROWEST));
  const share = (at - r.from) / (r.to - r.from);
  const from = at - share * width;
  return clampRange({ from, to: from + width }, span);
}

export function pan(r: Range, ticks: number, span: number): Range {
  return clampRange({ from: r.from + ticks, to: r.to + ticks }, span);
}

/** A view of [a, b) with some room around it. */
export function around(a: number, b: number, span: number, room = 0.25): Range {
  const width = Math.max(b - a, NARROWEST / 2);
  const mid = (a + b) / 2;
  const half = (width / 2) * (1 + 2 * room);
  return clampRange({ from: mid - half, to: mid + half }, span);
}

/** The view that shows [a, b), moved as little as needed; wider only where it does not fit. */
export function bringIntoView(r: Range, a: number, b: number, span: number): Range {
  const width = r.to - r.from;
  if (b - a > width * 0.9) return around(a, b, span);
  const margin = width * 0.05;
  if (a < r.from + margin) return pan(r, a - r.from - width * 0.3, span);
  if (b > r.to - margin) return pan(r, b - r.to + width * 0.3, span);
  return r;
}

/** Whole ticks, so that a link says exactly what was seen. */
export function wholeTicks(r: Range): Range {
  const from = Math.round(r.from);
  return { from, to: Math.max(from + 1, Math.round(r.to)) };
}
