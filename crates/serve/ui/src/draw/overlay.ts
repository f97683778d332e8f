// All that is drawn above the tracks and is no datum: grid, selection, evidence of a finding, names in rectangles that are wide
// enough, arrows where a process or vCPU moved. None of it touches the tracks' own pixels.

import type { App } from '../app';
import type { Segments } from '../api/types';
import type { Part } from '../model/segments';
import { axisOf } from '../layout/ticks';
import type { Row } from '../layout/rows';
import { rowsOfSpan } from '../model/findings';
import type { Scale } from '../layout/scale';
import { GUEST, HOST, HYPERVISOR, OFF_CPU, PREEMPTED, STATE_WORDS } from '../model/states';
import { styleOfSegment } from '../views/colour';

const LABEL_FROM = 42;

export function drawOverlay(
  g: CanvasRenderingContext2D,
  app: App,
  scale: Scale,
  rows: Row[],
  scrollTop: number,
  height: number,
  pointer: { t: number } | null,
): void {
  const { view } = app;
  if (!view.labels) return;
  const css = getComputedStyle(document.documentElement);
  const accent = css.getPropertyValue('--accent');

  g.fillStyle = app.palette.ground.dark ? 'rgba(255,255,255,.07)' : 'rgba(0,0,0,.07)';
  for (const tick of axisOf(scale.from, scale.to, app.data.info.tsc_hz, Math.max(2, Math.floor(scale.width / 96))).ticks)
    g.fillRect(Math.round(scale.x(tick.t)), 0, 1, height);

  for (const row of rows) {
    if (row.type !== 'track') continue;
    const top = row.top - scrollTop;
    if (row.kind === 'node') {
      occupancyMarks(g, app, scale, top, row.height - 1, css.getPropertyValue('--dim'));
      continue;
    }
    for (const layer of app.loader.cache
      .layers(row.kind, row.id, app.sight, app.span, Math.round(scale.width * devicePixelRatio))
      .slice(-1)) {
      if (layer.segments.binned) continue;
      const part = layer.parts.get(row.id)!;
      labels(g, app, row, layer.segments, part, scale, top, row.height - 1);
      if (row.kind === 'process' || row.kind === 'vcpu')
        moves(g, row, layer.segments, part, scale, top, row.height - 1, css.getPropertyValue('--ink'), app.palette.ground.background);
    }
  }

  if (view.sel) {
    const a = Math.round(scale.x(view.sel[0]));
    const b = Math.max(a + 1, Math.round(scale.x(view.sel[1])));
    g.fillStyle = accent;
    g.globalAlpha = 0.1;
    g.fillRect(a, 0, b - a, height);
    g.globalAlpha = 0.9;
    g.fillRect(a - 1, 0, 1, height);
    g.fillRect(b, 0, 1, height);
    g.globalAlpha = 1;
  } else if (view.at !== null && view.row) {
    g.fillStyle = accent;
    g.globalAlpha = 0.7;
    g.fillRect(Math.round(scale.x(view.at)), 0, 1, height);
    g.globalAlpha = 1;
  }
  const focused = rows.find((r) => r.key === view.row);
  if (focused) {
    g.fillStyle = accent;
    g.fillRect(0, focused.top - scrollTop - 1, scale.width, 1);
    g.fillRect(0, focused.top - scrollTop + focused.height - 1, scale.width, 1);
  }
  if (view.finding !== null) evidence(g, app, scale, rows, scrollTop, css.getPropertyValue('--finding'));
  if (pointer) {
    g.fillStyle = css.getPropertyValue('--ink');
    g.globalAlpha = 0.35;
    g.fillRect(Math.round(scale.x(pointer.t)), 0, 1, height);
    g.globalAlpha = 1;
  }
}

function occupancyMarks(g: CanvasRenderingContext2D, app: App, scale: Scale, top: number, height: number, ink: string): void {
  const n = app.data.info.cpus.length;
  g.font = '10px system-ui, sans-serif';
  g.textBaseline = 'top';
  g.textAlign = 'left';
  const write = (text: string, y: number) => {
    const w = g.measureText(text).width;
    g.fillStyle = app.palette.ground.background;
    g.globalAlpha = 0.8;
    g.fillRect(0, y, w + 8, 13);
    g.globalAlpha = 1;
    g.fillStyle = ink;
    g.fillText(text, 4, y + 1.5);
  };
  g.fillStyle = app.palette.ground.dark ? 'rgba(255,255,255,.16)' : 'rgba(0,0,0,.14)';
  g.fillRect(0, Math.round(top + height / 2), scale.width, 1);
  write(n === 1 ? 'busy' : `${n} cpus`, top);
}

function labels(
  g: CanvasRenderingContext2D,
  app: App,
  row: Row,
  seg: Segments,
  part: Part,
  scale: Scale,
  top: number,
  height: number,
): void {
  const styleOf = styleOfSegment(app, row.kind, row.id, seg);
  g.font = `${height > 22 ? 11 : 10.5}px system-ui, sans-serif`;
  g.textBaseline = 'middle';
  g.textAlign = 'left';
  let drawn = 0;
  for (let i = part.begin; i < part.end && drawn < 400; i++) {
    if (seg.y1[i] - seg.y0[i] < 0.6) continue;
    const a = Math.max(0, scale.x(seg.start[i]));
    const b = Math.min(scale.width, scale.x(seg.end[i]));
    if (b - a < LABEL_FROM) continue;
    const text = fit(g, words(app, row, seg, i), b - a - 10);
    if (!text) continue;
    const w = g.measureText(text).width;
    const style = styleOf(i);
    const base = style.colours[0];
    if (style.tile) {
      g.fillStyle = base;
      g.fillRect(Math.round(a) + 3, top + 3, Math.ceil(w) + 6, height - 6);
    }
    g.fillStyle = bright(base) > 0.18 ? '#10161c' : '#ffffff';
    g.fillText(text, Math.round(a) + 6, top + height / 2 + 0.5);
    drawn++;
  }
}

/** What to write in a rectangle, longest first. */
function words(app: App, row: Row, seg: Segments, i: number): string[] {
  const { data } = app;
  const state = seg.state[i];
  if (row.kind === 'cpu') {
    if (state === GUEST || state === HYPERVISOR) {
      const vm = seg.byKind[i] === 1 ? data.vmName(seg.byId[i]) : '?';
      const vcpu = seg.vcpu[i] >= 0 ? data.vcpuName(seg.vcpu[i]) : '';
      const process = state === HYPERVISOR ? 'hypervisor' : seg.process[i] >= 0 ? data.processName(seg.process[i]) : '';
      return [[vm, vcpu, process].filter(Boolean).join(' · '), [vm, vcpu].filter(Boolean).join(' · '), vm];
    }
    if (state === HOST && seg.process[i] >= 0) return [`host · ${data.processName(seg.process[i])}`, 'host'];
    return [STATE_WORDS[state]];
  }
  if (state === PREEMPTED || state === OFF_CPU) {
    const by = seg.byKind[i] ? data.takerName(seg.byKind[i], seg.byId[i]) : '';
    return by ? [`${STATE_WORDS[state]} by ${by}`.replace('off cpu by', 'off cpu ·'), by] : [STATE_WORDS[state]];
  }
  if (state !== GUEST && state !== HYPERVISOR) return [STATE_WORDS[state]];
  const cpu = seg.cpu[i] >= 0 ? `cpu ${seg.cpu[i]}` : '';
  const vcpu = row.kind === 'process' && seg.vcpu[i] >= 0 ? data.vcpuName(seg.vcpu[i]) : '';
  const process = row.kind === 'vcpu' && state === GUEST && seg.process[i] >= 0 ? data.processName(seg.process[i]) : '';
  return [[process, vcpu, cpu].filter(Boolean).join(' · '), [vcpu, cpu].filter(Boolean).join(' · '), cpu, vcpu].filter(Boolean);
}

function fit(g: CanvasRenderingContext2D, texts: string[], width: number): string | null {
  for (const t of texts) if (g.measureText(t).width <= width) return t;
  return null;
}

export function bright(hex: string): number {
  const f = (i: number) => {
    const c = parseInt(hex.slice(i, i + 2), 16) / 255;
    return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  };
  return 0.2126 * f(1) + 0.7152 * f(3) + 0.0722 * f(5);
}

/** An arrow from where it left to where it came back, where that is another vCPU (of a process) or another cpu (of a vCPU). */
function moves(
  g: CanvasRenderingContext2D,
  row: Row,
  seg: Segments,
  part: Part,
  scale: Scale,
  top: number,
  height: number,
  ink: string,
  ground: string,
): void {
  const place = row.kind === 'process' ? seg.vcpu : seg.cpu;
  let last = -1;
  let drawn = 0;
  g.font = '10px system-ui, sans-serif';
  g.textBaseline = 'middle';
  for (let i = part.begin; i < part.end && drawn < 200; i++) {
    if (seg.state[i] !== GUEST || place[i] < 0) continue;
    if (last >= 0 && place[last] !== place[i] && seg.start[i] >= seg.end[last]) {
      const a = scale.x(seg.end[last]);
      const b = scale.x(seg.start[i]);
      if (b > 0 && a < scale.width && b > (drawn ? -Infinity : 0)) {
        const at = (k: number) => top + (1 - (seg.y0[k] + seg.y1[k]) / 2) * height;
        arrow(g, a, b, at(last), at(i), `${row.kind === 'process' ? 'vCPU' : 'cpu'} ${place[last]}→${place[i]}`, ink, ground);
        drawn++;
      }
    }
    last = i;
  }
}

function arrow(g: CanvasRenderingContext2D, a: number, b: number, y0: number, y1: number, text: string, ink: string, ground: string): void {
  const x0 = Math.min(a, b - 9);
  const x1 = b - 1;
  const slope = Math.atan2(y1 - y0, x1 - x0);
  for (const [colour, width] of [
    [ground, 3.5],
    [ink, 1.25],
  ] as const) {
    g.strokeStyle = colour;
    g.lineWidth = width;
    g.beginPath();
    g.moveTo(x0, y0);
    g.lineTo(x1, y1);
    for (const turn of [-0.6, 0.6]) {
      g.moveTo(x1, y1);
      g.lineTo(x1 - 6 * Math.cos(slope + turn), y1 - 6 * Math.sin(slope + turn));
    }
    g.stroke();
  }
  const w = g.measureText(text).width;
  if (b - a < w + 22) return;
  const x = Math.max(w / 2 + 4, (a + b) / 2);
  g.fillStyle = ground;
  g.fillRect(x - w / 2 - 3, (y0 + y1) / 2 - 6, w + 6, 12);
  g.fillStyle = ink;
  g.textAlign = 'center';
  g.fillText(text, x, (y0 + y1) / 2 + 0.5);
  g.textAlign = 'left';
}

function evidence(g: CanvasRenderingContext2D, app: App, scale: Scale, rows: Row[], scrollTop: number, colour: string): void {
  const finding = app.findings.get(app.view.finding);
  if (!finding) return;
  g.fillStyle = colour;
  for (const s of finding.spans) {
    const keys = rowsOfSpan(finding, s, app.data);
    const a = Math.round(scale.x(s.start));
    const b = Math.max(a + 2, Math.round(scale.x(s.end)));
    if (b < 0 || a > scale.width) continue;
    for (const row of rows) {
      if (!keys.includes(row.key)) continue;
      const top = row.top - scrollTop;
      g.fillRect(a, top - 1, b - a, 2);
      g.fillRect(a, top + row.height - 3, b - a, 2);
      g.fillRect(a - 1, top - 1, 2, row.height);
      g.fillRect(b - 1, top - 1, 2, row.height);
    }
  }
}
