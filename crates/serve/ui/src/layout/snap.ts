// Which stretch of time to ask the server for. Somewhat more than is seen, on a grid: a small pan then needs no request.

import type { Range } from './zoom';

export interface Window extends Range {
  px: number;
}

/** `pixels`: device pixels that show `view`. The window's bins are then no wider than one of them. */
export function windowFor(view: Range, span: number, pixels: number): Window {
  const width = view.to - view.from;
  const grid = 2 ** Math.ceil(Math.log2(Math.max(width / 8, 1)));
  const from = Math.max(0, Math.floor((view.from - width / 4) / grid) * grid);
  const to = Math.min(Math.ceil(span), Math.ceil((view.to + width / 4) / grid) * grid);
  // The bins of a server may be a power of two wide; asking for whole steps of pixels keeps answers alike.
  const px = Math.max(1, Math.ceil((pixels * (to - from)) / width));
  return { from, to: Math.max(to, from + 1), px };
}

/** Whether an answer still serves: it covers the view, and its bins are no wider than a pixel of it. */
export function serves(have: Window, binned: boolean, view: Range, span: number, pixels: number): boolean {
  const a = Math.max(0, view.from);
  const b = Math.min(span, view.to);
  if (have.from > a || have.to < b) return false;
  if (!binned) return true;
  return (have.to - have.from) / have.px <= ((view.to - view.from) / pixels) * 1.02;
}
