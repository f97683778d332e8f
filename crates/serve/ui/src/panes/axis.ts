// The one time axis under the tabs, with the order and the filter of rows in the gutter before it and the marks of findings above it.

import type { App, Part } from '../app';
import { drawAxis } from '../draw/axis';
import { drawMarks } from '../draw/marks';
import { attachGestures } from '../input/gestures';
import { LANE, drawnMarks } from '../layout/marks';
import { Scale } from '../layout/scale';
import { around } from '../layout/zoom';
import type { Sort, View } from '../model/view';
import { button, canvasContext, fill, fitCanvas, h } from '../util/dom';
import { GUTTER, plotWidth } from './frame';
import { attachMarks } from './marks';

const TICKS = 26;

export function axisPane(app: App, main: HTMLElement): Part & { el: HTMLElement; focusFilter(): void } {
  const marksHigh = LANE * Math.max(0, ...app.marks.map((m) => m.lane + 1));
  const height = marksHigh + TICKS;
  const canvas = h('canvas', { class: 'axis', 'aria-hidden': 'true' });
  const g = canvasContext(canvas);
  const sort = h(
    'select',
    {
      'aria-label': 'Order of rows',
      title: 'Order of rows: by use of the whole capture, or of the selection or what is in sight (here)',
      onchange: () => app.store.set({ sort: sort.value as Sort }, 'push'),
    },
    h('option', { value: 'use' }, 'by use'),
    h('option', { value: 'here' }, 'by use here'),
    h('option', { value: 'name' }, 'by name'),
    h('option', { value: 'id' }, 'by id'),
  );
  const filter = h('input', {
    type: 'search',
    placeholder: 'filter rows',
    'aria-label': 'Filter rows',
    spellcheck: 'false',
    autocomplete: 'off',
    oninput: () => app.store.set({ filter: filter.value }),
    onkeydown: (e: KeyboardEvent) => {
      if (e.key === 'Escape' && filter.value) {
        filter.value = '';
        app.store.set({ filter: '' });
        e.stopPropagation();
      } else if (e.key === 'Escape' || e.key === 'Enter') filter.blur();
    },
  });
  const only = h('span', { class: 'only' });
  const where = h('span', { class: 'dim where' });
  const reading = h('span', { class: 'reading', hidden: true }, 'reading…');
  const tools = h('div', { class: 'tools', style: `width:${GUTTER}px` }, sort, filter, only, where);
  const el = h('div', { class: 'axisrow' }, tools, canvas, reading);
  attachMarks(app, canvas, { scale: () => new Scale(app.view.from, app.view.to, plotWidth(main)), height: () => marksHigh });
  attachGestures(app, canvas, { left: () => 0, scale: () => new Scale(app.view.from, app.view.to, plotWidth(main)) });
  canvas.addEventListener('dblclick', () => app.view.sel && app.look(around(app.view.sel[0], app.view.sel[1], app.span, 0.05), 'push'));

  const draw = () => {
    reading.hidden = !app.loader.slow;
    const width = plotWidth(main);
    const dpr = devicePixelRatio;
    fitCanvas(canvas, width, height, dpr);
    g.setTransform(1, 0, 0, 1, 0, 0);
    g.clearRect(0, 0, canvas.width, canvas.height);
    g.setTransform(dpr, 0, 0, dpr, 0, Math.round(marksHigh * dpr));
    const css = getComputedStyle(document.documentElement);
    const scale = new Scale(app.view.from, app.view.to, width);
    drawAxis(g, scale, TICKS, app.data.info.tsc_hz, css.getPropertyValue('--dim'), css.getPropertyValue('--line2'));
    if (app.view.sel) {
      const a = scale.x(app.view.sel[0]);
      const b = scale.x(app.view.sel[1]);
      g.fillStyle = css.getPropertyValue('--accent');
      g.globalAlpha = 0.25;
      g.fillRect(a, 0, Math.max(1, b - a), TICKS);
      g.globalAlpha = 1;
      g.fillRect(a, TICKS - 3, Math.max(1, b - a), 3);
    }
    g.setTransform(dpr, 0, 0, dpr, 0, 0);
    drawMarks(g, drawnMarks(app.marks, scale, marksHigh), width, css, app.view.finding);
  };
  return {
    el,
    focusFilter: () => filter.focus(),
    refresh: draw,
    update(now: View) {
      const rows = now.tab === 'resources' || now.tab === 'processes';
      sort.hidden = filter.hidden = !rows;
      sort.value = now.sort;
      if (document.activeElement !== filter) filter.value = now.filter;
      fill(
        only,
        rows && now.only !== null && app.data.vm.has(now.only)
          ? button(
              [`only ${app.data.vmName(now.only)} `, h('span', { 'aria-hidden': 'true' }, '✕')],
              () => app.store.set({ only: null }, 'push'),
              { class: 'chip', 'aria-label': `Only ${app.data.vmName(now.only)} is shown. Show all`, title: 'Show all VMs again' },
            )
          : null,
      );
      where.textContent = rows
        ? ''
        : now.sel
          ? `of the selection, ${app.clock.duration(now.sel[1] - now.sel[0])}`
          : `of what is in sight, ${app.clock.duration(now.to - now.from)}`;
      draw();
    },
  };
}
