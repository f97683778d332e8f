// From a row of an answer to its style.

import type { App } from '../app';
import type { Kind, Segments } from '../api/types';
import type { Palette } from '../draw/palette';
import { type StyleOf, type TrackStyles, indexStyles } from '../draw/tracks';
import type { Answer, Part } from '../model/segments';

export function styleOfSegment(app: App, kind: Kind, id: number, seg: Segments): StyleOf {
  const vm = app.data.vmOf(kind, id);
  const { palette } = app;
  return (i) => palette.styleOf(kind, vm, seg.state[i], seg.evidence[i], seg.byKind[i], seg.byKind[i] === 1 ? seg.byId[i] : -1);
}

const known = new WeakMap<Part, { palette: Palette; styles: TrackStyles }>();

/** The styles of a track in an answer; they stay the same until the theme changes. */
export function stylesOf(app: App, kind: Kind, id: number, answer: Answer): TrackStyles {
  const part = answer.parts.get(id)!;
  const have = known.get(part);
  if (have?.palette === app.palette) return have.styles;
  const styles = indexStyles(answer.segments, part, styleOfSegment(app, kind, id, answer.segments));
  known.set(part, { palette: app.palette, styles });
  return styles;
}
