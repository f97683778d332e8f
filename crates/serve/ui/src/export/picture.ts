// The picture in sight as PNG, or as SVG made anew from the rows, so that it can be scaled and edited.

import type { App } from '../app';
import { drawAxis } from '../draw/axis';
import type { Row } from '../layout/rows';
import { styleOfSegment } from '../views/colour';
import type { Timeline } from '../views/timeline';
import { canvasContext, h } from '../util/dom';
import { axisOf } from '../layout/ticks';
import { percent } from '../layout/format';
import { download } from './csv';
import { svgPicture, type SvgRect } from './svg';

const NAMES = 220;
const AXIS = 26;
const TITLE = 24;

function titleOf(app: App): string {
  const { info } = app.data;
  return `HAVAna · ${info.node === 'unknown' ? info.capture : info.node} · ${app.clock.range(app.view.from, app.view.to)}`;
}

const fileOf = (app: App, end: string) => `havana-${app.view.tab}-${Math.round(app.view.from)}-${Math.round(app.view.to)}.${end}`;

function labelOf(row: Row): string {
  return row.type === 'track' ? `${row.label}  ${percent(row.use)}` : row.label;
}

export async function pngOf(app: App, timeline: Timeline): Promise<void> {
  if (!timeline.active) return void app.hint('Pictures are of the tabs Resources and Processes.');
  const p = timeline.picture();
  const dpr = devicePixelRatio;
  const width = NAMES + p.scale.width;
  const canvas = h('canvas', { width: Math.round(width * dpr), height: Math.round((TITLE + AXIS + p.height) * dpr) });
  const g = canvasContext(canvas);
  const { ground } = app.palette;
  g.fillStyle = ground.background;
  g.fillRect(0, 0, canvas.width, canvas.height);
  g.scale(dpr, dpr);
  g.fillStyle = ground.text;
  g.textBaseline = 'middle';
  g.font = '600 12px system-ui, sans-serif';
  g.fillText(titleOf(app), 8, TITLE / 2);
  g.font = '12px system-ui, sans-serif';
  for (const row of p.rows)
    g.fillText(labelOf(row), 8 + row.depth * 14, TITLE + AXIS + row.top - p.scrollTop + row.height / 2, NAMES - 14 - row.depth * 14);
  const axis = h('canvas', { width: Math.round(p.scale.width * dpr), height: Math.round(AXIS * dpr) });
  const ag = canvasContext(axis);
  ag.scale(dpr, dpr);
  drawAxis(ag, p.scale, AXIS, app.data.info.tsc_hz, ground.text, ground.host);
  g.setTransform(1, 0, 0, 1, 0, 0);
  const x = Math.round(NAMES * dpr);
  g.drawImage(axis, x, Math.round(TITLE * dpr));
  g.drawImage(p.canvas, x, Math.round((TITLE + AXIS) * dpr));
  g.drawImage(p.overlay, x, Math.round((TITLE + AXIS) * dpr));
  const blob = await new Promise<Blob | null>((done) => canvas.toBlob(done, 'image/png'));
  if (!blob) return;
  download(fileOf(app, 'png'), 'image/png', blob);
  app.hint('Picture saved as PNG');
}

export function svgOf(app: App, timeline: Timeline): void {
  if (!timeline.active) return void app.hint('Pictures are of the tabs Resources and Processes.');
  const p = timeline.picture();
  const rects: SvgRect[] = [];
  for (const row of p.rows) {
    if (row.type !== 'track') continue;
    const layer = app.loader.cache.layers(row.kind, row.id, app.sight, app.span, p.canvas.width).at(-1);
    if (!layer) continue;
    const { segments: s } = layer;
    const part = layer.parts.get(row.id)!;
    const styleOf = styleOfSegment(app, row.kind, row.id, s);
    const top = row.top - p.scrollTop;
    const hh = row.height - 1;
    for (let i = part.begin; i < part.end; i++) {
      const a = Math.max(0, p.scale.x(s.start[i]));
      const b = Math.min(p.scale.width, p.scale.x(s.end[i]));
      if (b <= a) continue;
      rects.push({
        x: a,
        y: top + (1 - s.y1[i]) * hh,
        width: s.binned ? b - a : Math.max(1 / devicePixelRatio, b - a),
        height: (s.y1[i] - s.y0[i]) * hh,
        style: styleOf(i),
      });
    }
  }
  const axis = axisOf(p.scale.from, p.scale.to, app.data.info.tsc_hz, Math.max(2, Math.floor(p.scale.width / 96)));
  const text = svgPicture({
    title: titleOf(app),
    width: p.scale.width,
    height: p.height,
    names: NAMES,
    background: app.palette.ground.background,
    ink: app.palette.ground.text,
    rows: p.rows.map((r) => ({ y: r.top - p.scrollTop + r.height / 2, indent: r.depth * 14, text: labelOf(r) })),
    ticks: [...(axis.baseLabel ? [{ x: 0, text: axis.baseLabel }] : []), ...axis.ticks.map((t) => ({ x: p.scale.x(t.t), text: t.label }))],
    rects,
  });
  download(fileOf(app, 'svg'), 'image/svg+xml', text);
  app.hint('Picture saved as SVG');
}
