// The whole capture on one strip: who had the cpus, where trace was lost (✕), where findings are (their marks), and the window that the
// page shows. The window is dragged; its edges too; a click elsewhere moves it there,
// and one on a mark leads to its finding.

import type { App, Part } from '../app';
import { drawMarks } from '../draw/marks';
import { drawTrack } from '../draw/tracks';
import { Raster, packed } from '../draw/raster';
import { LANE, LANES, drawnMarks } from '../layout/marks';
import { Scale } from '../layout/scale';
import { clampRange, pan } from '../layout/zoom';
import { LOST } from '../model/states';
import { canvasContext, fitCanvas, h } from '../util/dom';
import { stylesOf } from '../views/colour';
import { attachMarks } from './marks';

const HEIGHT = 34;
/** Above it: the marks. */
const MARKS = LANE * LANES;

export function minimapPane(app: App): Part & { el: HTMLElement } {
  const canvas = h('canvas', { 'aria-hidden': 'true' });
  const el = h(
    'div',
    {
      class: 'minimap',
      role: 'slider',
      tabindex: 0,
      'aria-label': 'Window shown of the whole capture',
      'aria-valuemin': 0,
      'aria-valuemax': 100,
      'aria-orientation': 'horizontal',
      title: app.findings.list.length ? null : 'The whole capture. Drag the window; ✕ loss',
    },
    canvas,
  );
  const g = canvasContext(canvas);
  let width = 0;
  let image: ImageData | null = null;
  const whole = { from: 0, to: Math.max(1, app.span) };

  const draw = () => {
    const dpr = devicePixelRatio;
    width = el.clientWidth;
    if (width <= 0) return;
    fitCanvas(canvas, width, HEIGHT + MARKS, dpr);
    const w = canvas.width;
    const y0 = Math.round(MARKS * dpr);
    const hh = canvas.height - y0;
    const scale = new Scale(whole.from, whole.to, w);
    if (!image || image.width !== w || image.height !== hh) image = new ImageData(w, hh);
    const raster = new Raster(w, hh, image.data.buffer);
    raster.clear(packed(app.palette.ground.background));
    const lostAt: number[] = [];
    let lastLost = -Infinity;
    if (app.span > 0 && app.data.info.cpus.length) {
      for (const a of app.loader.cache.layers('node', 0, whole, app.span, w)) {
        const part = a.parts.get(0)!;
        drawTrack(raster, a.segments, part, scale, 0, hh, stylesOf(app, 'node', 0, a));
        for (let i = part.begin; i < part.end; i++) {
          if (a.segments.state[i] !== LOST) continue;
          const x = Math.round(scale.x((a.segments.start[i] + a.segments.end[i]) / 2) / dpr);
          // One mark a stretch, however many bins it has.
          if (x - lastLost > 9) lostAt.push(x);
          lastLost = x;
        }
      }
      app.loader.want('minimap', 'node', [0], whole, w);
    }
    g.setTransform(1, 0, 0, 1, 0, 0);
    g.clearRect(0, 0, canvas.width, canvas.height);
    g.putImageData(image, 0, y0);
    g.setTransform(dpr, 0, 0, dpr, 0, 0);
    const css = getComputedStyle(el);
    g.font = '10px system-ui, sans-serif';
    g.textAlign = 'center';
    g.textBaseline = 'middle';
    g.fillStyle = css.getPropertyValue('--lost');
    for (const x of lostAt) g.fillText('✕', x, MARKS - 6);
    const small = new Scale(0, whole.to, width);
    drawMarks(g, drawnMarks(app.marks, small, MARKS), width, css, app.view.finding);
    // What is not shown is dimmed; the window has handles.
    const { from, to } = app.view;
    const a = small.x(from);
    const b = Math.max(a + 2, small.x(to));
    g.fillStyle = app.palette.ground.dark ? 'rgba(18,23,28,.62)' : 'rgba(255,255,255,.66)';
    g.fillRect(0, MARKS, a, HEIGHT);
    g.fillRect(b, MARKS, width - b, HEIGHT);
    if (app.view.sel) {
      const s = small.x(app.view.sel[0]);
      g.fillStyle = css.getPropertyValue('--accent');
      g.fillRect(s, MARKS + HEIGHT - 3, Math.max(2, small.x(app.view.sel[1]) - s), 3);
    }
    g.strokeStyle = css.getPropertyValue('--ink');
    g.lineWidth = 1;
    g.strokeRect(Math.round(a) + 0.5, MARKS + 0.5, Math.max(1, Math.round(b) - Math.round(a) - 1), HEIGHT - 1);
    g.fillStyle = css.getPropertyValue('--ink');
    g.fillRect(Math.round(a) - 1, MARKS + HEIGHT / 2 - 7, 3, 14);
    g.fillRect(Math.round(b) - 2, MARKS + HEIGHT / 2 - 7, 3, 14);
    el.setAttribute('aria-valuenow', String(Math.round((from / whole.to) * 100)));
    el.setAttribute('aria-valuetext', `${app.clock.range(from, to)} of ${app.clock.duration(app.span)}`);
  };

  attachMarks(app, el, { scale: () => new Scale(0, whole.to, Math.max(1, width)), height: () => MARKS });
  el.addEventListener('pointerdown', (e) => {
    if (e.button !== 0 || width <= 0) return;
    e.preventDefault();
    el.focus();
    const scale = new Scale(0, whole.to, width);
    const x0 = e.clientX - el.getBoundingClientRect().left;
    let { from, to } = app.view;
    const a = scale.x(from);
    const b = scale.x(to);
    const mode = Math.abs(x0 - a) < 6 && x0 <= a + 6 ? 'left' : Math.abs(x0 - b) < 6 ? 'right' : 'move';
    if (mode === 'move' && (x0 < a || x0 > b)) {
      app.look(clampRange({ from: scale.t(x0) - (to - from) / 2, to: scale.t(x0) + (to - from) / 2 }, app.span), 'push');
      ({ from, to } = app.view);
    }
    el.setPointerCapture(e.pointerId);
    const move = (m: PointerEvent) => {
      const d = scale.t(m.clientX - el.getBoundingClientRect().left) - scale.t(x0);
      if (mode === 'move') app.look(pan({ from, to }, d, app.span));
      else if (mode === 'left') app.look({ from: Math.min(from + d, to - 64), to });
      else app.look({ from, to: Math.max(to + d, from + 64) });
    };
    const up = () => {
      el.removeEventListener('pointermove', move);
      el.removeEventListener('pointerup', up);
      el.removeEventListener('pointercancel', up);
    };
    el.addEventListener('pointermove', move);
    el.addEventListener('pointerup', up);
    el.addEventListener('pointercancel', up);
  });
  el.addEventListener('keydown', (e) => {
    const step = (app.view.to - app.view.from) / 4;
    if (e.key === 'ArrowLeft') app.look(pan(app.sight, -step, app.span));
    else if (e.key === 'ArrowRight') app.look(pan(app.sight, step, app.span));
    else if (e.key === 'Home') app.look(pan(app.sight, -app.span, app.span));
    else if (e.key === 'End') app.look(pan(app.sight, app.span, app.span));
    else return;
    e.preventDefault();
    e.stopPropagation();
  });
  new ResizeObserver(() => app.redraw()).observe(el);
  return { el, update: draw, refresh: draw };
}
