// From a row of an answer to its style.

import type { App } from '../app';
import type { Kind, Segments } from '../api/types';
import type { Style } from '../draw/raster';
import type { StyleOf } from '../draw/tracks';

export function colourOfSegment(app: App, kind: Kind, id: number, seg: Segments): StyleOf {
  const vm = app.data.vmOf(kind, id);
  const { palette } = app;
  // Rows of one track have few styles: a cache keyed by the codes spares most of the work.
  const cache = new Map<number, Style>();
  return (i) => {
    const byId = seg.byKind[i] === 1 ? seg.byId[i] : -1;
    const key = ((seg.state[i] * 4 + seg.evidence[i]) * 4 + seg.byKind[i]) * 65536 + byId + 1;
    let style = cache.get(key);
    if (!style) cache.set(key, (style = palette.styleOf(kind, vm, seg.state[i], seg.evidence[i], seg.byKind[i], byId)));
    return style;
  };
}
