// Exits per second over time, a curve a VM, under the axis that all views share.

import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { Rate } from '../api/types';
import type { App } from '../app';
import { mix } from '../draw/palette';
import { attachGestures } from '../input/gestures';
import { curves } from '../layout/curves';
import { digits3 } from '../layout/format';
import { Scale } from '../layout/scale';
import { GUTTER, plotWidth } from '../panes/frame';
import { fill, h } from '../util/dom';

const CHART = 170;

export class ExitsChart {
  private readonly picture = h('div', { class: 'chart', 'aria-hidden': 'true' });
  /** The curve in a sentence, for who cannot see it. */
  private readonly note = h('p', { class: 'hidden' });
  readonly el = h('div', null, this.picture, this.note);
  private plot: uPlot | null = null;
  private plotKey = '';
  private plotData: Rate | null = null;

  constructor(
    private readonly app: App,
    private readonly main: HTMLElement,
  ) {
    attachGestures(app, this.picture, {
      left: () => GUTTER,
      scale: () => new Scale(app.view.from, app.view.to, plotWidth(main)),
      click: (t) => app.store.set({ sel: null, at: Math.round(t) }, 'push'),
    });
  }

  /** The theme has changed. */
  restyle(): void {
    this.plotKey = '';
  }

  /** `vms`: whose curves to draw. */
  draw(rate: Rate, vms: number[]): void {
    const { app } = this;
    const width = plotWidth(this.main);
    const key = [vms, width, app.dark, devicePixelRatio].join('|');
    if (key !== this.plotKey || rate !== this.plotData) {
      const data = curves(rate, vms, app.data.info.tsc_hz);
      if (key !== this.plotKey) {
        this.plotKey = key;
        this.plot?.destroy();
        fill(this.picture);
        this.plot = new uPlot(this.options(vms, width), data, this.picture);
      } else this.plot!.setData(data, false);
      this.plotData = rate;
    }
    this.plot!.setScale('x', { min: app.view.from, max: app.view.to });
    let most = 0;
    let at = 0;
    for (let i = 0; i < rate.count.length; i++)
      if (rate.start[i] < app.view.to && rate.end[i] > app.view.from && rate.count[i] > most) [most, at] = [rate.count[i], rate.start[i]];
    this.note.textContent = `The curve of exits is highest at ${app.clock.moment(at, app.view.to - app.view.from)}.`;
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
}

/** Curves differ by their line too, not by hue alone. */
function dashOf(i: number): number[] | undefined {
  return [undefined, [6, 3], [2, 2], [8, 3, 2, 3]][i % 4];
}
