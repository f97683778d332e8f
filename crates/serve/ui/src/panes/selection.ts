// Sums of the selection, or of what is in sight: as numbers, as bars, with their doubt; of everything, or of the focused row:
// what it had, who took its time, whom it harmed.

import type { App, Part } from '../app';
import type { Kind } from '../api/types';
import { download, sumsCsv } from '../export/csv';
import { percent } from '../layout/format';
import { exists, splitKey } from '../layout/rows';
import { around } from '../layout/zoom';
import { STATE_WORDS } from '../model/states';
import type { View } from '../model/view';
import { button, fill, h } from '../util/dom';
import { bitsOf } from './bits';
import { oneRow } from './one-row';
import { overview } from './overview';
import { sharesOf } from './who';

export function selectionPane(app: App): Part & { el: HTMLElement; words(): string } {
  const title = h('span', { class: 'range' });
  const about = h('span', { class: 'about' });
  const tools = h('span', { class: 'panetools' });
  const body = h('div', { class: 'panebody', tabindex: 0, role: 'region', 'aria-label': 'Sums' });
  const toggle = button('', () => app.store.set({ pane: !app.view.pane }), { class: 'icon' });
  const el = h(
    'section',
    { class: 'pane', 'aria-label': 'Sums of the selection or of what is in sight' },
    h('div', { class: 'panehead' }, toggle, title, about, h('span', { class: 'grow' }), tools),
    body,
  );
  const bits = bitsOf(app);
  let announced = '';

  // The edge above it is dragged, or moved by arrows.
  const edge = h('div', {
    class: 'edge',
    role: 'separator',
    tabindex: 0,
    'aria-orientation': 'horizontal',
    'aria-label': 'Height of the sums',
    title: 'Drag to change the height',
  });
  const setHeight = (px: number) => app.store.set({ pane: true, paneHeight: Math.round(Math.min(Math.max(px, 80), innerHeight * 0.7)) });
  edge.addEventListener('pointerdown', (e) => {
    e.preventDefault();
    const from = el.offsetHeight;
    edge.setPointerCapture(e.pointerId);
    const move = (m: PointerEvent) => setHeight(from + e.clientY - m.clientY);
    edge.addEventListener('pointermove', move);
    edge.addEventListener('lostpointercapture', () => edge.removeEventListener('pointermove', move), { once: true });
  });
  edge.addEventListener('keydown', (e) => {
    if (e.key !== 'ArrowUp' && e.key !== 'ArrowDown') return;
    e.preventDefault();
    setHeight(el.offsetHeight + (e.key === 'ArrowUp' ? 24 : -24));
  });
  el.prepend(edge);

  let drawn = '';
  const draw = () => {
    const { view } = app;
    const { from, to } = app.scope;
    el.classList.toggle('closed', !view.pane);
    el.style.height = view.pane && view.paneHeight !== null ? `${view.paneHeight}px` : '';
    edge.setAttribute('aria-valuenow', String(view.paneHeight ?? 0));
    toggle.textContent = view.pane ? '▾' : '▴';
    toggle.title = view.pane ? 'Fold the pane away' : 'Show sums';
    toggle.setAttribute('aria-label', toggle.title);
    toggle.setAttribute('aria-expanded', String(view.pane));
    fill(
      title,
      h('b', null, view.sel ? 'Selection' : 'In sight'),
      ` ${app.clock.range(from, to)}`,
      h('span', { class: 'dim' }, ` ${app.clock.duration(to - from)}`),
    );
    const [kind, id] = view.row ? splitKey(view.row) : ['node' as Kind, -1];
    const one = view.row !== null && id >= 0 && exists(kind, id, app.data) && /^(cpu|vm|vcpu|process|node)\./.test(view.row);
    const toolsKey = `${one}|${view.row}|${view.sel !== null}`;
    if (tools.dataset.key !== toolsKey) {
      tools.dataset.key = toolsKey;
      fill(
        about,
        one
          ? [
              h('span', { class: 'dim' }, 'of '),
              button(
                [app.data.fullName(kind, id), ' ', h('span', { 'aria-hidden': 'true' }, '✕')],
                () => app.store.set({ row: null }, 'push'),
                {
                  class: 'chip',
                  title: 'Show sums of everything',
                  'aria-label': `Of ${app.data.fullName(kind, id)}. Show sums of everything`,
                },
              ),
            ]
          : null,
      );
      fill(
        tools,
        view.sel
          ? [
              button(['Zoom', h('kbd', null, 'Z')], () => app.look(around(app.view.sel![0], app.view.sel![1], app.span, 0.05), 'push')),
              button(['Clear', h('kbd', null, 'Esc')], () => app.select(null, 'push')),
            ]
          : h('span', { class: 'dim hint' }, 'drag to select · W S zoom · A D pan · ? all keys'),
        button(
          'CSV',
          () =>
            app.sums &&
            download(`havana-sums-${Math.round(app.scope.from)}-${Math.round(app.scope.to)}.csv`, 'text/csv', sumsCsv(app.sums, app.data)),
          { title: 'Save these sums as CSV' },
        ),
      );
    }
    if (!view.pane) return;
    const sums = app.sums;
    const key = `${sums?.from}-${sums?.to}|${view.row}|${app.dark}`;
    body.classList.toggle('stale', !app.sumsFresh);
    if (!sums || key === drawn) return;
    drawn = key;
    const scroll = body.scrollTop;
    fill(
      body,
      app.span <= 0
        ? h('p', { class: 'note' }, 'There is no time in this dataset to sum.')
        : one
          ? oneRow(app, bits, sums, kind, id)
          : overview(app, bits, sums),
    );
    body.classList.toggle('all', !one);
    body.scrollTop = scroll;
  };

  /** The pane in one sentence. */
  const words = (): string => {
    const sums = app.sums;
    if (!sums) return '';
    const range = app.clock.range(sums.from, sums.to);
    const { row } = app.view;
    if (row && !row.startsWith('small') && !row.startsWith('group')) {
      const [kind, id] = splitKey(row);
      const split = sums.of(kind, id);
      const list = [...split.ticks]
        .map((t, s) => ({ t, s }))
        .filter((x) => x.t > 0)
        .sort((a, b) => b.t - a.t);
      return `${range}, ${app.data.fullName(kind, id)}: ${list.map(({ t, s }) => `${STATE_WORDS[s]} ${percent(t / split.total)}`).join(', ') || 'not seen'}`;
    }
    return `${range}: ${sharesOf(app, sums)
      .filter((s) => s.share >= 0.005)
      .slice(0, 8)
      .map((s) => `${s.vm !== null && s.word === 'hypervisor' ? `hypervisor for ${app.data.vmName(s.vm)}` : s.word} ${percent(s.share)}`)
      .join(', ')}`;
  };

  return {
    el,
    words,
    update(_now: View, before: View | null) {
      if (!before) drawn = '';
      draw();
      tell();
    },
    refresh() {
      draw();
      tell();
    },
  };

  /** Says what is in the pane, when that is new and of something chosen. */
  function tell(): void {
    if (!app.sumsFresh || (!app.view.sel && !app.view.row)) return;
    const text = words();
    if (text === announced) return;
    announced = text;
    app.announce(text);
  }
}
