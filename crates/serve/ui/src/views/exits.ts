// VM exits: how often over time, how long until the guest ran again, and the slowest, each with the way to its place.

import type { Histogram, Rate, Slowest } from '../api/types';
import type { App, Part } from '../app';
import { NO_HUE, hueOfVm, markOf } from '../draw/palette';
import { windowFor } from '../layout/snap';
import { GUEST, OBSERVED } from '../model/states';
import type { View } from '../model/view';
import { plotWidth } from '../panes/frame';
import { swatch } from '../panes/swatch';
import { Fetcher } from '../util/fetcher';
import { button, fill, h } from '../util/dom';
import { ExitsChart } from './exits-chart';
import { drawLatency } from './exits-latency';
import { drawSlowest } from './exits-slowest';

/** CSS pixels of one step of the curve. */
const STEP = 6;
const SLOWEST = 50;
/** Curves that can be told apart. */
const CURVES = 8;

export class ExitsView implements Part {
  readonly el: HTMLElement;
  private readonly chart: ExitsChart;
  private readonly chips = h('div', { class: 'vmchips', role: 'group', 'aria-label': 'VM' });
  private readonly histogram = h('section', null);
  private readonly reasons = h('section', null);
  private readonly slow = h('section', { class: 'slowest' });
  private readonly rate: Fetcher<Rate>;
  private readonly hist: Fetcher<Histogram>;
  private readonly slowest: Fetcher<Slowest>;
  private drawn = '';

  constructor(
    private readonly app: App,
    private readonly main: HTMLElement,
  ) {
    this.chart = new ExitsChart(app, main);
    this.rate = new Fetcher(app);
    this.hist = new Fetcher(app);
    this.slowest = new Fetcher(app);
    this.el = h(
      'div',
      { class: 'sheet flush exits' },
      this.chips,
      this.chart.el,
      h('div', { class: 'columns' }, this.histogram, this.reasons),
      this.slow,
    );
    new ResizeObserver(() => app.redraw()).observe(main);
  }

  get quiet(): boolean {
    return this.rate.quiet && this.hist.quiet && this.slowest.quiet;
  }

  update(now: View, before: View | null): void {
    this.el.hidden = now.tab !== 'exits';
    if (!before) {
      this.drawn = '';
      this.chart.restyle();
    }
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
      this.chart.el.hidden = true;
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
    if (this.rate.value)
      this.chart.draw(
        this.rate.value,
        vm === null
          ? this.vmsWithExits()
              .slice(0, CURVES)
              .sort((a, b) => a - b)
          : [vm],
      );
    const key = [
      this.hist.fresh,
      this.slowest.fresh,
      scope,
      vm,
      app.view.reason,
      app.view.weigh,
      app.dark,
      Object.keys(app.reasons).length,
    ].join();
    if (key === this.drawn) return;
    this.drawn = key;
    this.drawChips();
    if (this.hist.value) drawLatency(app, this.histogram, this.reasons, this.hist.value);
    if (this.slowest.value) drawSlowest(app, this.slow, this.slowest.value);
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
}
