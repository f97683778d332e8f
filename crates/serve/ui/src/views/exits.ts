// VM exits: how often over time, how long until the guest ran again, and the slowest, each with the way to its place.

import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { Histogram, Rate, Slowest } from '../api/types';
import type { App, Part } from '../app';
import { NO_HUE, hueOfVm, markOf, mix } from '../draw/palette';
import { csv, download } from '../export/csv';
import { attachGestures } from '../input/gestures';
import { grouped, percent, digits3 } from '../layout/format';
import { curves } from '../layout/curves';
import { classBounds, quantileClass } from '../layout/latency';
import { Scale } from '../layout/scale';
import { windowFor } from '../layout/snap';
import { GUEST, OBSERVED } from '../model/states';
import type { View } from '../model/view';
import { GUTTER, plotWidth } from '../panes/frame';
import { swatch } from '../panes/swatch';
import { Fetcher } from '../util/fetcher';
import { button, fill, h } from '../util/dom';

const CHART = 170;
/** CSS pixels of one step of the curve. */
const STEP = 6;
const SLOWEST = 50;
/** Curves that can be told apart. */
const CURVES = 8;

export class ExitsView implements Part {
  readonly el: HTMLElement;
  private readonly chart = h('div', { class: 'chart', 'aria-hidden': 'true' });
  private readonly chips = h('div', { class: 'vmchips', role: 'group', 'aria-label': 'VM' });
  private readonly chartNote = h('p', { class: 'hidden' });
  private readonly histogram = h('section', null);
  private readonly reasons = h('section', null);
  private readonly slow = h('section', { class: 'slowest' });
  private plot: uPlot | null = null;
  private plotKey = '';
  private plotData: Rate | null = null;
  private readonly rate: Fetcher<Rate>;
  private readonly hist: Fetcher<Histogram>;
  private readonly slowest: Fetcher<Slowest>;
  private weigh: 'count' | 'ticks' = 'count';
  private drawn = '';

  constructor(
    private readonly app: App,
    private readonly main: HTMLElement,
  ) {
    this.rate = new Fetcher(app);
    this.hist = new Fetcher(app);
    this.slowest = new Fetcher(app);
    this.el = h(
      'div',
      { class: 'sheet flush exits' },
      this.chips,
      this.chart,
      this.chartNote,
      h('div', { class: 'columns' }, this.histogram, this.reasons),
      this.slow,
    );
    attachGestures(app, this.chart, {
      left: () => GUTTER,
      scale: () => new Scale(app.view.from, app.view.to, plotWidth(main)),
      click: (t) => app.store.set({ sel: null, at: Math.round(t) }, 'push'),
    });
    new ResizeObserver(() => app.redraw()).observe(main);
  }

  get quiet(): boolean {
    return this.rate.quiet && this.hist.quiet && this.slowest.quiet;
  }

  update(now: View, before: View | null): void {
    this.el.hidden = now.tab !== 'exits';
    if (!before) this.drawn = this.plotKey = '';
    if (this.el.hidden) {
      for (const f of [this.rate, this.hist, this.slowest]) f.forget();
      return;
    }
    this.refresh();
  }

  refresh(): void {
    const { app } = this;
    if (this.el.hidden) return;
    if (app.data.info.exits === 0 || app.span <= 0) {
      this.chart.hidden = true;
      fill(
        this.chips,
        h('p', { class: 'note', style: 'padding:24px 12px' }, 'No VM exit was seen: no guest ran here, or the trace does not show it.'),
      );
      return;
    }
    const { from, to } = app.scope;
    const vm = app.view.exitVm;
    const w = windowFor(app.sight, app.span, Math.max(1, Math.round(plotWidth(this.main) / STEP)));
    this.rate.want(`${w.from}-${w.to}-${w.px}`, (s) => app.api.exitRate(w.from, w.to, w.px, s));
    const scope = `${Math.round(from)}-${Math.round(to)}`;
    this.hist.want(scope, (s) => app.api.exitHistogram(from, to, s));
    this.slowest.want(`${scope}-${vm}`, (s) => app.api.slowest(from, to, SLOWEST, vm, s));
    this.drawChart();
    const key = [
      this.hist.fresh,
      this.slowest.fresh,
      scope,
      vm,
      app.view.reason,
      this.weigh,
      app.dark,
      Object.keys(app.reasons).length,
    ].join();
    if (key === this.drawn) return;
    this.drawn = key;
    this.drawChips();
    this.drawHistogram();
    this.drawSlowest();
  }

  /** Most exits first. */
  private vmsWithExits(): number[] {
    const rate = this.rate.value;
    const hist = this.hist.value;
    const seen = new Map<number, number>();
    for (const t of [rate, hist]) t?.vm.forEach((vm, i) => seen.set(vm, (seen.get(vm) ?? 0) + t.count[i]));
    return [...seen].sort((a, b) => b[1] - a[1] || a[0] - b[0]).map(([vm]) => vm);
  }

  private drawChips(): void {
    const { app } = this;
    const { exitVm } = app.view;
    const chip = (vm: number | null, face: (Node | string)[]) =>
      button(face, () => app.store.set({ exitVm: vm }, 'push'), { class: 'chip', 'aria-pressed': String(exitVm === vm) });
    const vms = this.vmsWithExits();
    fill(
      this.chips,
      h('h3', null, 'Exits per second'),
      chip(null, [vms.length > CURVES ? `the ${CURVES} VMs with most` : 'all VMs']),
      vms
        .slice(0, 24)
        .map((vm) =>
          chip(vm, [swatch(app.palette, app.palette.style(hueOfVm(vm), GUEST, OBSERVED, NO_HUE)), app.data.vmName(vm) + markOf(vm)]),
        ),
    );
  }

  // --- the curve --------------------------------------------------------------------------------------------------------

  private drawChart(): void {
    const { app } = this;
    const rate = this.rate.value;
    if (!rate) return;
    const width = plotWidth(this.main);
    const vms =
      app.view.exitVm === null
        ? this.vmsWithExits()
            .slice(0, CURVES)
            .sort((a, b) => a - b)
        : [app.view.exitVm];
    const key = [vms, width, app.dark, devicePixelRatio].join('|');
    if (key !== this.plotKey || rate !== this.plotData) {
      const data = curves(rate, vms, app.data.info.tsc_hz);
      if (key !== this.plotKey) {
        this.plotKey = key;
        this.plot?.destroy();
        fill(this.chart);
        this.plot = new uPlot(this.options(vms, width), data, this.chart);
      } else this.plot!.setData(data, false);
      this.plotData = rate;
    }
    this.plot!.setScale('x', { min: app.view.from, max: app.view.to });
    let most = 0;
    let at = 0;
    for (let i = 0; i < rate.count.length; i++)
      if (rate.start[i] < app.view.to && rate.end[i] > app.view.from && rate.count[i] > most) [most, at] = [rate.count[i], rate.start[i]];
    this.chartNote.textContent = `The curve of exits is highest at ${app.clock.moment(at, app.view.to - app.view.from)}.`;
  }

  private options(vms: number[], width: number): uPlot.Options {
    const { app } = this;
    const css = getComputedStyle(document.documentElement);
    const ink = css.getPropertyValue('--dim');
    const line = css.getPropertyValue('--line');
    const unit = app.data.info.tsc_hz === null ? '/ Mtick' : '/ s';
    return {
      width: GUTTER + width,
      height: CHART,
      padding: [10, 0, 6, 0],
      legend: { show: false },
      cursor: { show: false },
      pxAlign: 1,
      scales: { x: { time: false, auto: false }, y: { range: (_u, _min, max) => [0, max > 0 ? max * 1.05 : 1] } },
      axes: [
        { show: false },
        {
          size: GUTTER,
          stroke: ink,
          font: '11px system-ui, sans-serif',
          grid: { stroke: line, width: 1 },
          ticks: { show: false },
          gap: 8,
          values: (_u, v) => v.map((x) => (x >= 1000 ? `${digits3(x / 1000)} k ${unit}` : `${digits3(x)} ${unit}`)),
        },
      ],
      series: [
        {},
        ...vms.map((vm, i): uPlot.Series => ({
          label: app.data.vmName(vm),
          stroke: app.palette.ground.dark ? app.palette.vm(vm) : mix(app.palette.vm(vm), '#000000', 0.18),
          width: 1.5,
          points: { show: false },
          dash: dashOf(i),
          paths: uPlot.paths.stepped!({ align: 1 }),
        })),
      ],
      hooks: {
        draw: [
          (u) => {
            const { sel } = app.view;
            if (!sel) return;
            const a = Math.max(u.bbox.left, u.valToPos(sel[0], 'x', true));
            const b = Math.min(u.bbox.left + u.bbox.width, u.valToPos(sel[1], 'x', true));
            if (b <= a) return;
            u.ctx.save();
            u.ctx.fillStyle = css.getPropertyValue('--accent');
            u.ctx.globalAlpha = 0.13;
            u.ctx.fillRect(a, u.bbox.top, b - a, u.bbox.height);
            u.ctx.restore();
          },
        ],
      },
    };
  }

  // --- latency ----------------------------------------------------------------------------------------------------------

  private reasonName(r: number): string {
    return r < 0 ? 'not known' : (this.app.reasons[r] ?? `reason ${r}`);
  }

  private drawHistogram(): void {
    const { app } = this;
    const hist = this.hist.value;
    if (!hist) return;
    const { exitVm, reason } = app.view;
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
      at.set(hist.vm[i], (at.get(hist.vm[i]) ?? 0) + hist[this.weigh][i]);
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
      const value = this.weigh === 'count' ? `${grouped(sum)} exits` : clock.duration(sum);
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
    const mode = (value: 'count' | 'ticks', face: string) =>
      button(
        face,
        () => {
          this.weigh = value;
          this.refresh();
        },
        { class: 'chip', 'aria-pressed': String(this.weigh === value) },
      );
    const open = [...(perClass.get(-1)?.values() ?? [])].reduce((a, b) => a + b, 0);
    fill(
      this.histogram,
      h(
        'div',
        { class: 'headline' },
        h('h3', null, 'From exit to re-entry'),
        mode('count', 'how many'),
        mode('ticks', 'how much time'),
        reason !== null
          ? button(
              [`only ${this.reasonName(reason)} `, h('span', { 'aria-hidden': 'true' }, '✕')],
              () => app.store.set({ reason: null }, 'push'),
              { class: 'chip', 'aria-label': `Only ${this.reasonName(reason)}. Show all reasons` },
            )
          : null,
      ),
      classes.length
        ? h('ul', { class: 'histogram', 'aria-label': 'Latency from exit to re-entry' }, columns)
        : h('p', { class: 'dim' }, 'No exit with a known re-entry in this range.'),
      open > 0 && this.weigh === 'count' ? h('p', { class: 'dim' }, `${grouped(open)} more without a known re-entry.`) : null,
    );

    const total = [...byReason.values()].reduce((a, r) => a + r.count, 0);
    const cls = (c: number | null) => (c === null ? '–' : `≈ ${clock.duration(Math.max(1, (classBounds(c)[0] + classBounds(c)[1]) / 2))}`);
    const list = [...byReason].sort((a, b) => b[1].ticks - a[1].ticks || b[1].count - a[1].count);
    const unknownOnly = list.length === 1 && list[0][0] < 0;
    fill(
      this.reasons,
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
                    button(this.reasonName(r), () => app.store.set({ reason: reason === r ? null : r }, 'push'), {
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

  private drawSlowest(): void {
    const { app } = this;
    const s = this.slowest.value;
    if (!s) return;
    const { clock, data } = app;
    const wide = (i: number) => (s.reentry_hi[i] - s.reentry_lo[i] + s.exit_hi[i] - s.exit_lo[i]) / 2;
    const rows = Array.from(s.exit, (_, i) => {
      const took = s.reentry[i] - s.exit[i];
      const known = s.reentry[i] >= s.exit[i];
      return h(
        'tr',
        null,
        h(
          'td',
          null,
          button(
            known ? clock.duration(took) : 'no re-entry',
            () => app.goTo(`vcpu.${s.vcpu[i]}`, { start: s.exit[i], end: known ? s.reentry[i] : s.exit[i] + 1 }),
            { class: 'link', title: 'Show its place in time' },
          ),
        ),
        h('td', { class: 'dim' }, known ? `±${clock.duration(wide(i))}` : ''),
        h(
          'td',
          { class: 'left' },
          swatch(app.palette, app.palette.style(hueOfVm(s.vm[i]), GUEST, OBSERVED, NO_HUE)),
          ' ',
          data.fullName('vcpu', s.vcpu[i]),
        ),
        h('td', { class: 'left' }, this.reasonName(s.reason[i])),
        h(
          'td',
          { class: 'left' },
          s.process[i] >= 0
            ? button(
                data.processName(s.process[i]),
                () => app.goTo(`process.${s.process[i]}`, { start: s.exit[i], end: known ? s.reentry[i] : s.exit[i] + 1 }),
                { class: 'link mono' },
              )
            : '–',
        ),
        h(
          'td',
          { class: 'left' },
          s.reentry_cpu[i] >= 0 && s.reentry_cpu[i] !== s.cpu[i] ? `cpu ${s.cpu[i]} → ${s.reentry_cpu[i]}` : `cpu ${s.cpu[i]}`,
        ),
        h('td', null, clock.moment(s.exit[i], took / 20 || 1)),
      );
    });
    fill(
      this.slow,
      h(
        'div',
        { class: 'headline' },
        h('h3', null, `Slowest exits${app.view.exitVm !== null ? ` of ${data.vmName(app.view.exitVm)}` : ''}`),
        rows.length
          ? button('CSV', () =>
              download(
                'havana-slowest-exits.csv',
                'text/csv',
                csv([
                  [
                    'exit_id',
                    'vcpu_id',
                    'vm_id',
                    'cpu',
                    'reentry_cpu',
                    'process_id',
                    'reason',
                    'exit_ticks',
                    'exit_lo',
                    'exit_hi',
                    'reentry_ticks',
                    'reentry_lo',
                    'reentry_hi',
                  ],
                  ...Array.from(s.exit, (_, i) => [
                    s.exit_id[i],
                    s.vcpu[i],
                    s.vm[i],
                    s.cpu[i],
                    s.reentry_cpu[i],
                    s.process[i],
                    s.reason[i],
                    s.exit[i],
                    s.exit_lo[i],
                    s.exit_hi[i],
                    s.reentry[i],
                    s.reentry_lo[i],
                    s.reentry_hi[i],
                  ]),
                ]),
              ),
            )
          : null,
      ),
      rows.length
        ? h(
            'table',
            null,
            h(
              'thead',
              null,
              h(
                'tr',
                null,
                h('th', { scope: 'col', class: 'right' }, 'took'),
                h('th', { scope: 'col' }, h('span', { class: 'hidden' }, 'how sure')),
                ['vCPU', 'reason', 'guest process', 'cpu'].map((w) => h('th', { scope: 'col', class: 'left' }, w)),
                h('th', { scope: 'col' }, 'left the guest at'),
              ),
            ),
            h('tbody', null, rows),
          )
        : h('p', { class: 'dim' }, 'None in this range.'),
    );
  }
}

/** Curves differ by their line too, not by hue alone. */
function dashOf(i: number): number[] | undefined {
  return [undefined, [6, 3], [2, 2], [8, 3, 2, 3]][i % 4];
}
