// Answers of api/segments that are at hand, and which of them to draw.

import type { Kind, Segments } from '../api/types';
import { serves, type Window } from '../layout/snap';
import type { Range } from '../layout/zoom';

/** Rows [begin, end) of an answer belong to one track. */
export interface Part {
  begin: number;
  end: number;
}

export interface Answer {
  window: Window;
  fine: boolean;
  segments: Segments;
  parts: Map<number, Part>;
  used?: number;
}

export function partsOf(seg: Segments, ids: number[]): Map<number, Part> {
  const parts = new Map<number, Part>();
  for (let i = 0; i < seg.id.length;) {
    const begin = i;
    const id = seg.id[i];
    while (i < seg.id.length && seg.id[i] === id) i++;
    parts.set(id, { begin, end: i });
  }
  // A track without a row here has an answer too: nothing.
  for (const id of ids) if (!parts.has(id)) parts.set(id, { begin: 0, end: 0 });
  return parts;
}

/** Rows kept of one kind: some 50 bytes each. */
const KEEP_ROWS = 1_500_000;
const KEEP_ANSWERS = 48;

export class SegmentCache {
  private answers = new Map<Kind, Answer[]>();
  private clock = 0;

  constructor(private readonly keepRows = KEEP_ROWS) {}

  add(kind: Kind, answer: Answer): void {
    const list = this.answers.get(kind) ?? [];
    answer.used = ++this.clock;
    list.unshift(answer);
    this.answers.set(kind, list);
    // What was drawn last goes last; two stay in any case, or what is in sight would be asked for again and again.
    let rows = list.reduce((n, a) => n + a.segments.id.length, 0);
    while (list.length > 2 && (list.length > KEEP_ANSWERS || rows > this.keepRows)) {
      let oldest = 0;
      for (let i = 1; i < list.length; i++) if (list[i].used! < list[oldest].used!) oldest = i;
      rows -= list[oldest].segments.id.length;
      list.splice(oldest, 1);
    }
  }

  /** The answers to draw one over the other, best last. */
  layers(kind: Kind, id: number, view: Range, span: number, pixels: number): Answer[] {
    let best: Answer | null = null;
    let bestScore = -Infinity;
    for (const a of this.answers.get(kind) ?? []) {
      if (!a.parts.has(id)) continue;
      const score = this.score(a, view, span, pixels);
      if (score > bestScore) {
        bestScore = score;
        best = a;
      }
    }
    if (!best || bestScore < 0) return [];
    best.used = ++this.clock;
    if (best.window.from <= Math.max(0, view.from) && best.window.to >= Math.min(span, view.to)) return [best];
    let under: Answer | null = null;
    for (const a of this.answers.get(kind) ?? []) {
      if (a === best || !a.parts.has(id) || overlap(a.window, view) <= 0) continue;
      if (!under || a.window.to - a.window.from > under.window.to - under.window.from) under = a;
    }
    if (!under) return [best];
    under.used = ++this.clock;
    return [under, best];
  }

  /** Whether what is at hand is as good as it gets for this view; `coarse` where a finer answer is to be had. */
  quality(kind: Kind, id: number, view: Range, span: number, pixels: number): 'none' | 'coarse' | 'good' {
    let q: 'none' | 'coarse' = 'none';
    for (const a of this.answers.get(kind) ?? []) {
      if (!a.parts.has(id) || !serves(a.window, a.segments.binned, view, span, pixels)) continue;
      if (a.segments.exact || a.fine) return 'good';
      q = 'coarse';
    }
    return q;
  }

  private score(a: Answer, view: Range, span: number, pixels: number): number {
    const covered = overlap(a.window, view) / (Math.min(span, view.to) - Math.max(0, view.from));
    if (covered <= 0) return -1;
    const good = serves(a.window, a.segments.binned, view, span, pixels);
    // How fine it is, by how much of the view it covers: a fine answer for a corner does not oust a coarse one for all.
    const asked = pixels / (view.to - view.from);
    const detail = a.segments.binned ? Math.min(1, a.window.px / (a.window.to - a.window.from) / asked) : 1;
    return (good ? (a.segments.exact || a.fine ? 100 : 50) : 0) + covered * (0.2 + detail);
  }
}

function overlap(a: Range, b: Range): number {
  return Math.min(a.to, b.to) - Math.max(a.from, b.from);
}
