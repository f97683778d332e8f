// Where the marks of findings stand above the map of the whole capture and on the time axis. Nothing here knows a screen.

import type { Finding } from '../api/types';
import type { Findings, Place } from '../model/findings';
import type { Scale } from './scale';

/** Height of a lane in CSS pixels: that of a mark's head. */
export const LANE = 6;
/** Lanes at most; what finds none free shares the last. */
export const LANES = 3;
/** Half of the width of a mark's head. */
export const HEAD = 4;

export interface Mark {
  finding: Finding;
  place: Place;
  /** 0 is the lowest, nearest to what it speaks of. */
  lane: number;
}

/** Gives each finding a lane where it touches no other, the first findings first; `wide` is the width of a head in ticks. */
export function marksOf(findings: Findings, wide: number): Mark[] {
  const taken: [number, number][][] = Array.from({ length: LANES }, () => []);
  return findings.list.map((finding) => {
    const place = findings.placeOf(finding);
    const [a, b] = [place.from - wide / 2, Math.max(place.to, place.from + wide / 2)];
    const free = taken.findIndex((lane) => lane.every(([from, to]) => b <= from || a >= to));
    const lane = free < 0 ? LANES - 1 : free;
    taken[lane].push([a, b]);
    return { finding, place, lane };
  });
}

export interface Drawn extends Mark {
  /** Its head's middle and its end, in CSS pixels; both where they are, be it outside. */
  head: number;
  end: number;
  /** Its middle, from the top. */
  y: number;
}

/** The marks on a strip that is `height` high; those out of sight left out. */
export function drawnMarks(marks: readonly Mark[], scale: Scale, height: number): Drawn[] {
  return marks
    .map((m) => {
      const [from, to] = [scale.x(m.place.from), scale.x(m.place.to)];
      // A head at the very edge is still seen whole.
      const inside = from >= 0 && from <= scale.width;
      return {
        ...m,
        head: inside ? Math.min(Math.max(from, HEAD + 1), scale.width - HEAD - 1) : from,
        end: to,
        y: height - LANE * m.lane - LANE / 2,
      };
    })
    .filter((m) => m.end > -HEAD && m.head < scale.width + HEAD);
}

/** Those under the pointer, the nearest lane's heads before the ranges. */
export function marksAt(drawn: readonly Drawn[], x: number, y: number): Drawn[] {
  const near = drawn.filter((m) => Math.abs(y - m.y) <= LANE / 2 + 0.5);
  const heads = near.filter((m) => Math.abs(x - m.head) <= HEAD + 1);
  const ranges = near.filter((m) => !heads.includes(m) && x >= m.head && x <= m.end);
  return [...heads, ...ranges];
}
