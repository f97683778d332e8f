// Resources and Processes: rows over time. Headers are elements, so that keys and screen readers have them; what lies beside them
// is one canvas of whole pixels, and one above it for all that is no datum: grid, selection, names, arrows.

import type { App, Part } from '../app';
import { drawOverlay } from '../draw/overlay';
import { Raster, packed } from '../draw/raster';
import { drawTrack } from '../draw/tracks';
import { markOf, NO_HUE, hueOfVm } from '../draw/palette';
import { attachGestures } from '../input/gestures';
import { percent } from '../layout/format';
import { placeRows, rowAt, rowsInSight, type Row } from '../layout/rows';
import { Scale } from '../layout/scale';
import { GUEST, OBSERVED, STATE_WORDS } from '../model/states';
import type { View } from '../model/view';
import type { Kind } from '../api/types';
import { canvasContext, fitCanvas, h, setProps } from '../util/dom';
import { GUTTER, plotWidth } from '../panes/frame';
import { tooltip } from '../panes/tooltip';
import { swatch } from '../panes/swatch';
import { stylesOf } from './colour';

const OVERSCAN = 6;

export class Timeline implements Part {
  readonly el: HTMLElement;
  readonly canvas = h('canvas', { id: 'tracks', 'aria-hidden': 'true' });
  private readonly overlay = h('canvas', { class: 'overlay', 'aria-hidden': 'true' });
  private readonly sizer = h('div', { class: 'sizer', role: 'presentation' });
  private readonly scroller: HTMLElement;
  private readonly empty = h('p', { class: 'note empty', hidden: true });
  private readonly tip;
  rows: Row[] = [];
  private height = 0;
  private elements = new Map<string, HTMLElement>();
  private image: ImageData | null = null;
  private pointer: { t: number; y: number } | null = null;
  private shownRow: string | null = null;
  private wantFocus = false;
  private rowsFor = '';

  constructor(
    private readonly app: App,
    private readonly main: HTMLElement,
  ) {
    this.scroller = h('div', { class: 'scroller', role: 'treegrid', tabindex: -1, onscroll: () => app.redraw() }, this.sizer);
    this.canvas.style.left = this.overlay.style.left = `${GUTTER}px`;
    this.el = h('div', { class: 'stage' }, this.canvas, this.overlay, this.scroller, this.empty);
    this.tip = tooltip(app);
    document.body.append(this.tip.el);
    attachGestures(app, this.scroller, {
      left: () => GUTTER,
      scale: () => this.scale(),
      click: (t, e) => {
        const row = this.rowUnder(e.clientY);
        if (row?.type === 'small') app.toggle('folds', row.key);
        else if (row?.type === 'track') app.store.set({ row: row.key, at: Math.round(t), sel: null }, 'push');
        else app.store.set({ sel: null }, 'push');
      },
      hover: (t, e) => this.hover(t, e),
    });
    this.scroller.addEventListener('dblclick', (e) => {
      const x = e.clientX - this.scroller.getBoundingClientRect().left - GUTTER;
      const row = this.rowUnder(e.clientY);
      if (x < 0 || !row || !app.canStep(row.key)) return;
      app.api.at(row.kind, row.id, this.scale().t(x)).then(
        (i) => i && app.showInterval(row.kind, row.id, i),
        (err) => app.complain(err, () => {}),
      );
    });
    new ResizeObserver(() => app.redraw()).observe(this.el);
  }

  get active(): boolean {
    return this.app.view.tab === 'resources' || this.app.view.tab === 'processes';
  }

  scale(): Scale {
    return new Scale(this.app.view.from, this.app.view.to, plotWidth(this.main));
  }

  get scrollTop(): number {
    return Math.round(this.scroller.scrollTop * devicePixelRatio) / devicePixelRatio;
  }

  /** The rows in sight, in CSS pixels from the top of the canvas. */
  /** Where each track in sight is drawn, how much of its height is picture, and whether that is made of bins: for tests. */
  layout(): { kind: Kind; id: number; top: number; height: number; drawn: number; binned: boolean }[] {
    const dpr = devicePixelRatio;
    const { cache } = this.app.loader;
    const [a, b] = rowsInSight(this.rows, this.scrollTop, this.scrollTop + this.el.clientHeight);
    return this.rows
      .slice(a, b)
      .filter((r) => r.type === 'track')
      .map((r) => ({
        kind: r.kind,
        id: r.id,
        top: r.top - this.scrollTop,
        height: r.height,
        drawn: r.height - Math.max(1, Math.round(dpr)) / dpr,
        binned: cache.layers(r.kind, r.id, this.app.sight, this.app.span, this.canvas.width).at(-1)?.segments.binned ?? false,
      }));
  }

  update(now: View, before: View | null): void {
    this.el.hidden = !this.active;
    if (!this.active) {
      this.app.loader.forget('tracks');
      this.tip.hide();
      return;
    }
    this.buildRows(now, !before || before.theme !== now.theme);
    if (now.row !== this.shownRow) {
      this.shownRow = now.row;
      if (now.row) this.scrollTo(now.row);
    }
    this.refresh();
  }

  /** Makes the rows anew where anything has changed that they hang on. */
  private buildRows(now: View, force: boolean): void {
    const local = this.app.sumsFor(now);
    const key = [now.tab === 'processes', now.sort, local.from, local.to, now.folds, now.filter, now.only, now.pins, devicePixelRatio].join(
      '|',
    );
    if (key === this.rowsFor && !force) return;
    this.rowsFor = key;
    const focused = this.sizer.contains(document.activeElement);
    this.rows = this.app.rows(now);
    this.height = placeRows(this.rows, devicePixelRatio);
    this.sizer.style.height = `${this.height}px`;
    this.elements.clear();
    this.sizer.replaceChildren();
    if (focused) this.wantFocus = true;
    this.scroller.setAttribute('aria-label', now.tab === 'processes' ? 'Guest processes over time' : 'cpus, VMs and vCPUs over time');
    this.scroller.setAttribute('aria-rowcount', String(this.rows.length));
    this.shownRow = null;
  }

  private scrollTo(key: string): void {
    const row = this.rows.find((r) => r.key === key);
    if (!row) return;
    const top = this.scroller.scrollTop;
    const h0 = this.scroller.clientHeight;
    if (row.top < top + 8) this.scroller.scrollTop = Math.max(0, row.top - 40);
    else if (row.top + row.height > top + h0 - 8) this.scroller.scrollTop = row.top + row.height - h0 + 60;
  }

  refresh(): void {
    if (!this.active || this.el.clientHeight === 0) return;
    this.buildRows(this.app.view, false);
    this.headers();
    this.paint();
    this.drawOver();
  }

  // --- headers -----------------------------------------------------------------------------------------------------------

  private headers(): void {
    const { app } = this;
    const top = this.scroller.scrollTop;
    const [a, b] = rowsInSight(this.rows, top, top + this.scroller.clientHeight);
    const from = Math.max(0, a - OVERSCAN);
    const to = Math.min(this.rows.length, b + OVERSCAN);
    const keep = new Set<string>();
    let after: Element | null = null;
    const tabbable = this.rows.some((r) => r.key === app.view.row) ? app.view.row : this.rows.find((r) => r.type === 'track')?.key;
    for (let i = from; i < to; i++) {
      const row = this.rows[i];
      keep.add(row.key);
      let el = this.elements.get(row.key);
      if (!el) {
        el = this.header(row, i);
        this.elements.set(row.key, el);
        if (after) after.after(el);
        else this.sizer.prepend(el);
      }
      after = el;
      const selected = row.key === app.view.row;
      setProps(el, {
        'aria-selected': row.type === 'group' ? null : String(selected),
        tabindex: row.type === 'group' ? null : row.key === tabbable ? '0' : '-1',
      });
      el.classList.toggle('focus', selected);
      if (selected && this.wantFocus) {
        this.wantFocus = false;
        el.focus({ preventScroll: true });
      }
    }
    for (const [key, el] of this.elements) {
      if (keep.has(key)) continue;
      if (el.contains(document.activeElement)) continue;
      el.remove();
      this.elements.delete(key);
    }
    this.empty.hidden = this.rows.length > 0;
    if (!this.empty.hidden) this.empty.textContent = this.nothing();
  }

  private nothing(): string {
    const { app } = this;
    if (app.view.filter) return `No row has “${app.view.filter}” in its name.`;
    if (app.data.info.vms.length === 0)
      return app.view.tab === 'processes' && app.span > 0
        ? 'No VM was seen in this trace, so no guest process either.'
        : 'There is nothing to draw: this dataset holds no time of any cpu.';
    return 'No rows.';
  }

  private header(row: Row, index: number): HTMLElement {
    const { app } = this;
    const style = `top:${row.top}px;height:${row.height}px;width:${GUTTER}px`;
    if (row.type === 'group') {
      return h('div', { class: 'row group', role: 'row', 'aria-rowindex': index + 1, style }, h('div', { role: 'rowheader' }, row.label));
    }
    const fold =
      row.open === null
        ? null
        : h(
            'span',
            {
              class: 'fold',
              'aria-hidden': 'true',
              onclick: (e: Event) => {
                e.stopPropagation();
                app.toggle('folds', row.key);
              },
            },
            row.open ? '▾' : '▸',
          );
    if (row.type === 'small') {
      return h(
        'div',
        {
          class: `row small d${row.depth}`,
          role: 'row',
          'aria-level': row.depth + 1,
          'aria-rowindex': index + 1,
          'aria-expanded': String(row.open),
          style,
          onclick: () => app.toggle('folds', row.key),
          title: 'Rows that used, wanted or hid less than 0.1 % of the capture',
        },
        h('div', { role: 'rowheader', class: 'name' }, fold, row.label),
        h('div', { role: 'gridcell', class: 'use' }, percent(row.use)),
      );
    }
    const vm = app.data.vmOf(row.kind, row.id);
    const hue = vm >= 0 ? swatch(app.palette, app.palette.style(hueOfVm(vm), GUEST, OBSERVED, NO_HUE)) : null;
    const pin =
      row.kind === 'node'
        ? null
        : h(
            'button',
            {
              type: 'button',
              class: 'pin',
              tabindex: -1,
              'aria-pressed': String(row.pinned),
              title: row.pinned ? 'Unpin (P)' : 'Pin on top (P)',
              'aria-label': row.pinned ? 'Unpin' : 'Pin on top',
              onclick: (e: Event) => {
                e.stopPropagation();
                app.toggle('pins', row.key);
              },
            },
            row.pinned ? '★' : '☆',
          );
    const label = row.kind === 'vm' ? row.label + markOf(row.id) : row.label;
    const el = h(
      'div',
      {
        class: `row ${row.kind} d${row.depth}${row.pinned ? ' pinned' : ''}`,
        role: 'row',
        'aria-level': row.depth + 1,
        'aria-rowindex': index + 1,
        'aria-expanded': row.open === null ? null : String(row.open),
        style,
        'aria-label': this.words(row),
        title: this.words(row),
        onclick: () => app.store.set({ row: row.key }, 'push'),
        ondblclick: () => row.open !== null && app.toggle('folds', row.key),
      },
      h('div', { role: 'rowheader', class: 'name' }, fold, hue, h('span', { class: 'label' }, label), pin),
      h(
        'div',
        { role: 'gridcell', class: 'use', title: 'Use of one cpu; of a VM, its vCPUs added up' },
        h('i', { style: `width:${Math.min(100, row.use * 100).toFixed(1)}%` }),
        h('span', null, percent(row.use)),
      ),
    );
    return el;
  }

  /** What a row's picture says, in words: for who cannot see it, and for the pointer. */
  private words(row: Row): string {
    const local = this.app.sumsFor(this.app.view);
    const split = local.of(row.kind, row.id);
    const total = split.total;
    const shares = [...split.ticks]
      .map((t, s) => [t / total, s])
      .filter(([x]) => x >= 0.0005)
      .sort((a, b) => b[0] - a[0])
      .map(([x, s]) => `${STATE_WORDS[s]} ${percent(x)}`)
      .join(', ');
    return `${this.app.data.fullName(row.kind, row.id)}: ${shares || 'nothing seen'}; ${local === this.app.whole ? 'over the whole capture' : this.app.clock.range(local.from, local.to)}`;
  }

  // --- pictures ----------------------------------------------------------------------------------------------------------

  private paint(): void {
    const { app } = this;
    const dpr = devicePixelRatio;
    const width = plotWidth(this.main);
    fitCanvas(this.canvas, width, this.el.clientHeight, dpr);
    const w = this.canvas.width;
    const hh = this.canvas.height;
    if (!this.image || this.image.width !== w || this.image.height !== hh) this.image = new ImageData(w, hh);
    const raster = new Raster(w, hh, this.image.data.buffer);
    const ground = packed(app.palette.ground.background);
    raster.clear(ground);
    const scale = new Scale(app.view.from, app.view.to, w);
    const scroll = Math.round(this.scrollTop * dpr);
    const [a, b] = rowsInSight(this.rows, this.scrollTop, this.scrollTop + this.el.clientHeight);
    const wanted = new Map<Kind, number[]>();
    app.loader.forget('tracks');
    for (let i = a; i < b; i++) {
      const row = this.rows[i];
      if (row.type !== 'track') continue;
      const ids = wanted.get(row.kind);
      if (ids) ids.push(row.id);
      else wanted.set(row.kind, [row.id]);
      const top = Math.round(row.top * dpr) - scroll;
      const bottom = top + Math.round(row.height * dpr) - Math.max(1, Math.round(dpr));
      const layers = app.loader.cache.layers(row.kind, row.id, app.sight, app.span, w);
      layers.forEach((layer, n) => {
        if (n > 0)
          raster.rect(Math.round(scale.x(layer.window.from)), top, Math.round(scale.x(layer.window.to)), bottom, {
            colour: ground,
            tile: null,
            size: 1,
            edge: 0,
            colours: [],
          });
        drawTrack(raster, layer.segments, layer.parts.get(row.id)!, scale, top, bottom, stylesOf(app, row.kind, row.id, layer));
      });
    }
    canvasContext(this.canvas).putImageData(this.image, 0, 0);
    if (app.span > 0) for (const [kind, ids] of wanted) app.loader.want('tracks', kind, ids, app.sight, w);
  }

  private drawOver(): void {
    const dpr = devicePixelRatio;
    const width = plotWidth(this.main);
    const height = this.el.clientHeight;
    fitCanvas(this.overlay, width, height, dpr);
    const g = canvasContext(this.overlay);
    g.setTransform(dpr, 0, 0, dpr, 0, 0);
    g.clearRect(0, 0, width, height);
    const [a, b] = rowsInSight(this.rows, this.scrollTop, this.scrollTop + height);
    drawOverlay(g, this.app, this.scale(), this.rows.slice(a, b), this.scrollTop, height, this.pointer);
  }

  // --- pointer and keys --------------------------------------------------------------------------------------------------

  private rowUnder(clientY: number): Row | undefined {
    const y = clientY - this.scroller.getBoundingClientRect().top + this.scrollTop;
    return this.rows[rowAt(this.rows, y)];
  }

  private hover(t: number | null, e: PointerEvent | null): void {
    const row = t !== null && e ? this.rowUnder(e.clientY) : undefined;
    const before = this.pointer;
    this.pointer = t === null || !e ? null : { t, y: e.clientY };
    if (before?.t !== this.pointer?.t) this.app.view.labels && this.drawOver();
    if (t === null || !e || row?.type !== 'track') {
      this.tip.hide();
      return;
    }
    const box = this.scroller.getBoundingClientRect();
    const top = box.top + row.top - this.scrollTop;
    const y = 1 - (e.clientY - top) / (row.height - 1);
    this.tip.show(row, t, Math.min(0.999, Math.max(0, y)), this.scale().ticksPerPixel, e.clientX, top, top + row.height);
  }

  /** Moves the focused row; `by` may be ±Infinity for the ends. */
  moveRow(by: number): void {
    const list = this.rows.filter((r) => r.type !== 'group');
    if (!list.length) return;
    const i = list.findIndex((r) => r.key === this.app.view.row);
    const n = i < 0 ? (by > 0 ? 0 : list.length - 1) : Math.min(list.length - 1, Math.max(0, i + by));
    this.wantFocus = true;
    this.app.store.set({ row: list[n].key });
  }

  /** Space, Enter, arrows: folds or unfolds the focused row. */
  fold(open?: boolean): boolean {
    const row = this.rows.find((r) => r.key === this.app.view.row);
    if (!row) return false;
    if (row.open !== null && (open === undefined || open !== row.open)) {
      this.wantFocus = true;
      this.app.toggle('folds', row.key);
      return true;
    }
    if (open === false && row.depth > 0) {
      const i = this.rows.indexOf(row);
      for (let k = i - 1; k >= 0; k--) {
        if (this.rows[k].depth < row.depth && this.rows[k].type === 'track') {
          this.wantFocus = true;
          this.app.store.set({ row: this.rows[k].key });
          return true;
        }
      }
    }
    return false;
  }

  focusRow(): void {
    this.wantFocus = true;
  }

  hideTip(): boolean {
    return this.tip.hide();
  }

  /** For the export of pictures: everything in sight, and where it is. */
  picture(): { canvas: HTMLCanvasElement; overlay: HTMLCanvasElement; rows: Row[]; scrollTop: number; scale: Scale; height: number } {
    const [a, b] = rowsInSight(this.rows, this.scrollTop, this.scrollTop + this.el.clientHeight);
    return {
      canvas: this.canvas,
      overlay: this.overlay,
      rows: this.rows.slice(a, b),
      scrollTop: this.scrollTop,
      scale: this.scale(),
      height: this.el.clientHeight,
    };
  }
}
