// How long from exit to re-entry: a histogram by VM, and the same by reason in numbers.

import type { Histogram } from '../api/types';
import type { App } from '../app';
import { grouped, percent } from '../layout/format';
import { classBounds, quantileClass } from '../layout/latency';
import type { View } from '../model/view';
import { button, fill, h } from '../util/dom';

export function reasonName(app: App, r: number): string {
  return r < 0 ? 'not known' : (app.reasons[r] ?? `reason ${r}`);
}

export function drawLatency(app: App, histogramEl: HTMLElement, reasonsEl: HTMLElement, hist: Histogram): void {
  const { exitVm, reason, weigh } = app.view;
  const { clock } = app;
  const perClass = new Map<number, Map<number, number>>();
  const byReason = new Map<number, { count: number; ticks: number; classes: Map<number, number>; open: number }>();
  for (let i = 0; i < hist.vm.length; i++) {
    if (exitVm !== null && hist.vm[i] !== exitVm) continue;
    const r = byReason.get(hist.reason[i]) ?? { count: 0, ticks: 0, classes: new Map(), open: 0 };
    byReason.set(hist.reason[i], r);
    r.count += hist.count[i];
    r.ticks += hist.ticks[i];
    r.classes.set(hist.class[i], (r.classes.get(hist.class[i]) ?? 0) + hist.count[i]);
    if (hist.class[i] < 0) r.open += hist.count[i];
    if (reason !== null && hist.reason[i] !== reason) continue;
    const at = perClass.get(hist.class[i]) ?? new Map<number, number>();
    perClass.set(hist.class[i], at);
    at.set(hist.vm[i], (at.get(hist.vm[i]) ?? 0) + hist[weigh][i]);
  }
  const classes = [...perClass.keys()].filter((c) => c >= 0).sort((a, b) => a - b);
  const lo = classes[0] ?? 0;
  const hi = classes.at(-1) ?? 0;
  let top = 0;
  for (const [c, at] of perClass)
    if (c >= 0)
      top = Math.max(
        top,
        [...at.values()].reduce((a, b) => a + b, 0),
      );
  const columns: HTMLElement[] = [];
  for (let c = lo; c <= hi && classes.length; c++) {
    const at = perClass.get(c);
    const sum = at ? [...at.values()].reduce((a, b) => a + b, 0) : 0;
    const [a, b] = classBounds(c);
    const value = weigh === 'count' ? `${grouped(sum)} exits` : clock.duration(sum);
    columns.push(
      h(
        'li',
        {
          title: `${clock.duration(a)} to ${clock.duration(b)}: ${value}`,
          'aria-label': `${clock.duration(a)} to ${clock.duration(b)}: ${value}`,
        },
        h(
          'div',
          { class: 'stack', style: `height:${top > 0 ? Math.max(sum > 0 ? 1.5 : 0, (sum / top) * 100).toFixed(2) : 0}%` },
          at
            ? [...at].sort((x, y) => x[0] - y[0]).map(([vm, n]) => h('i', { style: `flex:${n} 0 0;background:${app.palette.vm(vm)}` }))
            : null,
        ),
        (c - lo) % Math.max(2, Math.ceil((hi - lo) / 7)) === 0 ? h('span', null, clock.duration(a)) : null,
      ),
    );
  }
  const mode = (value: View['weigh'], face: string) =>
    button(face, () => app.store.set({ weigh: value }, 'push'), { class: 'chip', 'aria-pressed': String(weigh === value) });
  const open = [...(perClass.get(-1)?.values() ?? [])].reduce((a, b) => a + b, 0);
  fill(
    histogramEl,
    h(
      'div',
      { class: 'headline' },
      h('h3', null, 'From exit to re-entry'),
      mode('count', 'how many'),
      mode('ticks', 'how much time'),
      reason !== null
        ? button(
            [`only ${reasonName(app, reason)} `, h('span', { 'aria-hidden': 'true' }, '✕')],
            () => app.store.set({ reason: null }, 'push'),
            { class: 'chip', 'aria-label': `Only ${reasonName(app, reason)}. Show all reasons` },
          )
        : null,
    ),
    classes.length
      ? h('ul', { class: 'histogram', 'aria-label': 'Latency from exit to re-entry' }, columns)
      : h('p', { class: 'dim' }, 'No exit with a known re-entry in this range.'),
    open > 0 && weigh === 'count' ? h('p', { class: 'dim' }, `${grouped(open)} more without a known re-entry.`) : null,
  );

  const total = [...byReason.values()].reduce((a, r) => a + r.count, 0);
  const cls = (c: number | null) => (c === null ? '–' : `≈ ${clock.duration(Math.max(1, (classBounds(c)[0] + classBounds(c)[1]) / 2))}`);
  const list = [...byReason].sort((a, b) => b[1].ticks - a[1].ticks || b[1].count - a[1].count);
  const unknownOnly = list.length === 1 && list[0][0] < 0;
  fill(
    reasonsEl,
    h('div', { class: 'headline' }, h('h3', null, 'Reasons')),
    list.length === 0
      ? h('p', { class: 'dim' }, 'No exit in this range.')
      : h(
          'table',
          { class: 'reasons' },
          h(
            'thead',
            null,
            h(
              'tr',
              null,
              ['reason', 'exits', 'share', 'time', 'median', '99 %'].map((w) => h('th', { scope: 'col' }, w)),
            ),
          ),
          h(
            'tbody',
            null,
            list.map(([r, x]) =>
              h(
                'tr',
                { class: reason === r ? 'chosen' : null },
                h(
                  'th',
                  { scope: 'row' },
                  button(reasonName(app, r), () => app.store.set({ reason: reason === r ? null : r }, 'push'), {
                    class: 'link',
                    'aria-pressed': String(reason === r),
                    title: 'Only these in the histogram',
                  }),
                ),
                h('td', null, grouped(x.count)),
                h('td', null, percent(x.count / Math.max(1, total))),
                h('td', null, clock.duration(x.ticks)),
                h('td', { title: 'to half an octave' }, cls(quantileClass(x.classes, 0.5))),
                h('td', { title: 'to half an octave' }, cls(quantileClass(x.classes, 0.99))),
              ),
            ),
          ),
        ),
    unknownOnly ? h('p', { class: 'dim' }, 'This trace does not say why a guest was left: that takes a cpu with Event Trace.') : null,
  );
}
