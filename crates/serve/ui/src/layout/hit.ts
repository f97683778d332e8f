// What lies under the pointer.

import type { Segments } from '../api/types';
import type { Part } from '../model/segments';

/** Index of the rectangle at time `t` and height `y` (0 bottom, 1 top), or -1. Of thin ones the nearest within `slack` ticks. */
export function hit(seg: Segments, part: Part, t: number, y: number, slack: number): number {
  let best = -1;
  let bestDistance = slack;
  for (let i = part.begin; i < part.end; i++) {
    if (seg.start[i] > t + slack) break;
    if (y < seg.y0[i] || y >= seg.y1[i]) continue;
    if (seg.start[i] <= t && t < seg.end[i]) return i;
    const d = t < seg.start[i] ? seg.start[i] - t : t - seg.end[i];
    if (d <= bestDistance) {
      bestDistance = d;
      best = i;
    }
  }
  return best;
}

export interface Share {
  state: number;
  evidence: number;
  byKind: number;
  byId: number;
  share: number;
}

/** Shares of [a, b) by state, biggest first. */
export function sharesIn(seg: Segments, part: Part, a: number, b: number): Share[] {
  const all = new Map<string, Share>();
  for (let i = part.begin; i < part.end; i++) {
    if (seg.start[i] >= b) break;
    const overlap = Math.min(b, seg.end[i]) - Math.max(a, seg.start[i]);
    if (overlap <= 0) continue;
    const key = `${seg.state[i]}.${seg.evidence[i]}.${seg.byKind[i]}.${seg.byId[i]}`;
    const share = (overlap / (b - a)) * (seg.y1[i] - seg.y0[i]);
    const s = all.get(key);
    if (s) s.share += share;
    else all.set(key, { state: seg.state[i], evidence: seg.evidence[i], byKind: seg.byKind[i], byId: seg.byId[i], share });
  }
  return [...all.values()].sort((x, y) => y.share - x.share);
}
