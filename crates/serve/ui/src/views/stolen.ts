// Who took whose time: victims down, takers across, over the selection or what is in sight. A cell leads to its intervals.

import type { App, Part } from '../app';
import type { Stolen } from '../api/types';
import { HOST_HUE, NO_HUE, hueOfVm, markOf, mix } from '../draw/palette';
import { GUEST, HOST, OBSERVED, PREEMPTED, EVIDENCE_WORDS } from '../model/states';
import { csv, download } from '../export/csv';
import { grouped, percent } from '../layout/format';
import type { View } from '../model/view';
import { swatch } from '../panes/swatch';
import { Fetcher } from '../util/fetcher';
import { button, fill, h } from '../util/dom';

const MOST = 24;
const LIST = 100;

export class StolenView implements Part {
  readonly el = h('div', { class: 'sheet stolen' });
  private readonly matrix = h('section', null);
  private readonly list = h('section', null);
  private readonly intervals: Fetcher<Stolen>;
  private drawn = '';

  constructor(private readonly app: App) {
    this.intervals = new Fetcher(app);
    this.el.append(this.matrix, this.list);
  }

  get quiet(): boolean {
    return this.intervals.quiet;
  }

  update(now: View, before: View | null): void {
    this.el.hidden = now.tab !== 'stolen';
    if (!before) this.drawn = '';
    if (this.el.hidden) {
      this.intervals.forget();
      return;
    }
    this.refresh();
  }

  refresh(): void {
    const { app } = this;
    if (this.el.hidden) return;
    const { cell } = app.view;
    const { from, to } = app.scope;
    if (cell && cell[1] !== 'none' && app.span > 0) {
      const host = cell[1] === 'host';
      this.intervals.want(`${cell}-${Math.round(from)}-${Math.round(to)}`, (s) =>
        app.api.stolen(cell[0], host ? 'host' : 'vm', host ? 0 : Number(cell[1].slice(3)), from, to, LIST, s),
      );
    }
    const key = [app.sums?.from, app.sums?.to, cell, this.intervals.fresh, app.dark].join();
    if (key === this.drawn) return;
    this.drawn = key;
    this.drawMatrix();
    this.drawList();
  }

  private takerWord(key: string): string {
    return key.startsWith('vm.')
      ? this.app.data.vmName(Number(key.slice(3))) + markOf(Number(key.slice(3)))
      : key === 'host'
        ? 'the host'
        : 'not known';
  }

  private hue(key: string): number {
    return key.startsWith('vm.') ? hueOfVm(Number(key.slice(3))) : key === 'host' ? HOST_HUE : NO_HUE;
  }

  private drawMatrix(): void {
    const { app } = this;
    const sums = app.sums;
    const { clock, data, palette } = app;
    if (!sums) return;
    const thefts = sums.thefts;
    if (thefts.length === 0) {
      fill(
        this.matrix,
        h(
          'p',
          { class: 'note' },
          data.info.vms.length === 0
            ? 'No VM was seen, so nobody took a VM’s time.'
            : 'In this range no vCPU that could run waited for a cpu.',
        ),
      );
      return;
    }
    const sumBy = (f: (t: (typeof thefts)[number]) => string | number) => {
      const m = new Map<string | number, number>();
      for (const t of thefts) m.set(f(t), (m.get(f(t)) ?? 0) + t.ticks);
      return [...m].sort((a, b) => b[1] - a[1]);
    };
    const victims = sumBy((t) => t.vm) as [number, number][];
    const takers = sumBy((t) => t.taker) as [string, number][];
    const at = new Map(thefts.map((t) => [`${t.vm},${t.taker}`, t.ticks]));
    const most = Math.max(...thefts.map((t) => t.ticks));
    const { ground } = palette;
    const cellOf = (vm: number, taker: string) => {
      const ticks = at.get(`${vm},${taker}`) ?? 0;
      if (ticks === 0) return h('td', { class: 'none' }, '·');
      const share = ticks / Math.max(1, sums.of('vm', vm).total);
      const chosen = app.view.cell?.[0] === vm && app.view.cell[1] === taker;
      const tint = mix(ground.background, palette.hue(this.hue(taker)), 0.12 + 0.33 * Math.sqrt(ticks / most));
      const face = [h('b', null, clock.duration(ticks)), h('span', null, percent(share))];
      return h(
        'td',
        { style: `background:${tint}`, class: chosen ? 'chosen' : null },
        taker === 'none'
          ? h('span', { class: 'cell' }, face)
          : button(face, () => app.store.set({ cell: [vm, taker] }, 'push'), {
              class: 'cell',
              'aria-pressed': String(chosen),
              'aria-label': `${this.takerWord(taker)} took ${clock.duration(ticks)} from ${data.vmName(vm)}, ${percent(share)} of its time. List the intervals`,
            }),
      );
    };
    fill(
      this.matrix,
      h('h3', null, 'A vCPU could run, but another had the cpu: how long, and what share of its VM’s time'),
      h(
        'div',
        { class: 'scrollx' },
        h(
          'table',
          { class: 'matrix' },
          h(
            'thead',
            null,
            h(
              'tr',
              null,
              h('th', { scope: 'col' }, 'from ↓   taken by →'),
              takers
                .slice(0, MOST)
                .map(([k]) =>
                  h(
                    'th',
                    { scope: 'col' },
                    swatch(
                      palette,
                      k === 'host' ? palette.style(NO_HUE, HOST, OBSERVED, NO_HUE) : palette.style(this.hue(k), GUEST, OBSERVED, NO_HUE),
                    ),
                    ` ${this.takerWord(k)}`,
                  ),
                ),
              h('th', { scope: 'col' }, 'all'),
            ),
          ),
          h(
            'tbody',
            null,
            victims.slice(0, MOST).map(([vm, all]) =>
              h(
                'tr',
                null,
                h(
                  'th',
                  { scope: 'row' },
                  swatch(palette, palette.style(hueOfVm(vm), GUEST, OBSERVED, NO_HUE)),
                  ' ',
                  button(data.vmName(vm) + markOf(vm), () => app.goTo(`vm.${vm}`), { class: 'link' }),
                ),
                takers.slice(0, MOST).map(([k]) => cellOf(vm, k)),
                h('td', { class: 'sum' }, clock.duration(all)),
              ),
            ),
          ),
          h(
            'tfoot',
            null,
            h(
              'tr',
              null,
              h('th', { scope: 'row' }, 'all'),
              takers.slice(0, MOST).map(([, t]) => h('td', { class: 'sum' }, clock.duration(t))),
              h('td', { class: 'sum' }, clock.duration(takers.reduce((a, t) => a + t[1], 0))),
            ),
          ),
        ),
      ),
      victims.length > MOST || takers.length > MOST
        ? h('p', { class: 'dim' }, `The ${MOST} that lost or took most of ${victims.length} × ${takers.length}.`)
        : null,
    );
  }

  private drawList(): void {
    const { app } = this;
    const { cell } = app.view;
    const { clock, data } = app;
    if (!cell || cell[1] === 'none') {
      fill(this.list, app.sums?.thefts.length ? h('p', { class: 'dim' }, 'Choose a cell to see its intervals.') : null);
      return;
    }
    const s = this.intervals.value;
    if (!s) return;
    const title = `When ${this.takerWord(cell[1])} took time from ${data.vmName(cell[0])}${markOf(cell[0])}`;
    const n = s.start.length;
    const host = cell[1] === 'host';
    fill(
      this.list,
      h(
        'div',
        { class: 'headline' },
        h('h3', null, title),
        n
          ? button('CSV', () =>
              download(
                'havana-taken.csv',
                'text/csv',
                csv([
                  ['vcpu_id', 'start_ticks', 'end_ticks', 'cpu', 'process_id', 'evidence'],
                  ...Array.from(s.start, (_, i) => [
                    s.vcpu[i],
                    s.start[i],
                    s.end[i],
                    s.cpu[i],
                    s.process[i],
                    EVIDENCE_WORDS[s.evidence[i]],
                  ]),
                ]),
              ),
            )
          : null,
      ),
      n === 0
        ? h('p', { class: 'dim' }, 'Never in this range.')
        : h(
            'table',
            null,
            h(
              'thead',
              null,
              h(
                'tr',
                null,
                h('th', { scope: 'col', class: 'right' }, 'lasted'),
                h('th', { scope: 'col' }, 'from'),
                h('th', { scope: 'col', class: 'left' }, 'vCPU'),
                h('th', { scope: 'col', class: 'left' }, 'cpu'),
                host ? h('th', { scope: 'col', class: 'left' }, 'host process') : null,
                h('th', { scope: 'col', class: 'left' }, 'known'),
              ),
            ),
            h(
              'tbody',
              null,
              Array.from(s.start, (_, i) =>
                h(
                  'tr',
                  null,
                  h(
                    'td',
                    null,
                    button(
                      clock.duration(s.end[i] - s.start[i]),
                      () => app.goTo(`vcpu.${s.vcpu[i]}`, { start: s.start[i], end: s.end[i] }),
                      {
                        class: 'link',
                        title: 'Show its place in time',
                        'aria-label': `${clock.duration(s.end[i] - s.start[i])} from ${clock.moment(s.start[i], 1000)}. Show its place in time`,
                      },
                    ),
                  ),
                  h('td', null, clock.moment(s.start[i], (s.end[i] - s.start[i]) / 20)),
                  h(
                    'td',
                    { class: 'left' },
                    swatch(app.palette, app.palette.style(NO_HUE, PREEMPTED, OBSERVED, this.hue(cell[1]))),
                    ' ',
                    data.fullName('vcpu', s.vcpu[i]),
                  ),
                  h('td', { class: 'left' }, s.cpu[i] >= 0 ? `cpu ${s.cpu[i]}` : '–'),
                  host ? h('td', { class: 'left mono' }, s.process[i] >= 0 ? data.processName(s.process[i]) : 'not known') : null,
                  h('td', { class: 'left dim' }, EVIDENCE_WORDS[s.evidence[i]]),
                ),
              ),
            ),
          ),
      n >= LIST ? h('p', { class: 'dim' }, `The ${grouped(LIST)} longest. Select a shorter range to see others.`) : null,
    );
  }
}
