// The page: which part stands where, and how keys and buttons reach them.

import type { App, Part } from './app';
import { pngOf, svgOf } from './export/picture';
import { attachKeys } from './input/keys';
import { axisPane } from './panes/axis';
import { helpDialog, searchDialog } from './panes/dialogs';
import { headerPane } from './panes/header';
import { legendPane } from './panes/legend';
import { messageBar } from './panes/message';
import { minimapPane } from './panes/minimap';
import { selectionPane } from './panes/selection';
import { stripPane } from './panes/strip';
import { tabBar } from './panes/tabs';
import { whoPane } from './panes/who';
import { GUTTER, plotWidth, scrollBar } from './panes/frame';
import { button, fill, h } from './util/dom';
import { CompareView } from './views/compare';
import { ExitsView } from './views/exits';
import { FindingsView } from './views/findings';
import { StolenView } from './views/stolen';
import { Timeline } from './views/timeline';
import { hooks } from './hook';

export function build(app: App, root: HTMLElement): void {
  const panel = h('div', { id: 'view', role: 'tabpanel', tabindex: -1 });
  const live = h('div', { class: 'hidden', 'aria-live': 'polite', role: 'status' });
  const messages = messageBar();
  app.announce = (text) => {
    // The same text twice would not be read twice.
    live.textContent = live.textContent === text ? `${text}\u00a0` : text;
  };
  const toast = h('div', { class: 'toast', 'aria-hidden': 'true', hidden: true });
  let toastTimer: ReturnType<typeof setTimeout> | undefined;
  app.hint = (text) => {
    app.announce(text);
    toast.textContent = text;
    toast.hidden = false;
    clearTimeout(toastTimer);
    toastTimer = setTimeout(() => (toast.hidden = true), 4000);
  };
  app.focusRows = () => timeline.focusRow();
  app.complain = (e, retry) => messages.show(e, retry);

  const timeline = new Timeline(app, panel);
  const exits = new ExitsView(app, panel);
  const stolen = new StolenView(app);
  const findings = new FindingsView(app);
  const compare = app.compare ? [new CompareView(app, app.compare)] : [];
  const axis = axisPane(app, panel);
  const pane = selectionPane(app);
  const find = searchDialog(app);
  const help = helpDialog();
  const minimap = minimapPane(app);

  const tip = () => timeline.hideTip();
  const act = {
    search: () => {
      tip();
      find.open();
    },
    help: () => {
      tip();
      help.open();
    },
    png: () => void pngOf(app, timeline),
    svg: () => svgOf(app, timeline),
    escape: () => {
      if (tip() || messages.hide()) return;
      if (app.view.sel) {
        app.select(null, 'push');
        app.announce('Selection cleared');
      } else if (app.view.finding !== null) app.store.set({ finding: null }, 'push');
      else if (app.view.row) app.store.set({ row: null }, 'push');
      else if (app.view.only !== null) app.store.set({ only: null }, 'push');
    },
  };

  const range = h('span', { class: 'range' });
  const mapTools: Part & { el: HTMLElement } = {
    el: h(
      'div',
      { class: 'tools', style: `width:${GUTTER}px` },
      button('−', () => zoom(1.6), { class: 'icon', title: 'Zoom out (S)', 'aria-label': 'Zoom out' }),
      button('+', () => zoom(1 / 1.6), { class: 'icon', title: 'Zoom in (W)', 'aria-label': 'Zoom in' }),
      button('Fit', () => app.look({ from: 0, to: app.span }, 'push'), { title: 'Show the whole capture (F)' }),
      range,
    ),
    update() {
      fill(range, app.span > 0 ? app.clock.range(app.view.from, app.view.to) : '');
    },
  };
  const zoom = (f: number) => {
    const { from, to } = app.view;
    const mid = (from + to) / 2;
    const half = ((to - from) * f) / 2;
    app.look({ from: mid - half, to: mid + half });
  };

  const tabs = tabBar(app);
  const legend = legendPane(app);
  const header = headerPane(app, act);
  const who = whoPane(app);
  const strip = stripPane(app);
  panel.append(timeline.el, exits.el, stolen.el, findings.el, ...compare.map((view) => view.el));
  document.documentElement.style.setProperty('--bar', `${scrollBar()}px`);
  root.classList.toggle('nothing', app.span <= 0);
  fill(
    root,
    header.el,
    messages.el,
    who.el,
    strip.el,
    h(
      'main',
      null,
      h('div', { class: 'maprow' }, mapTools.el, minimap.el),
      h('div', { class: 'tabrow' }, tabs.el, legend.el),
      axis.el,
      panel,
      pane.el,
    ),
    live,
    toast,
    find.el,
    help.el,
  );

  app.parts.push(header, who, strip, legend, mapTools, minimap, tabs, axis, timeline, exits, stolen, findings, ...compare, pane, {
    update(now) {
      panel.setAttribute('aria-labelledby', `tab-${now.tab}`);
      document.title = `${app.data.info.node === 'unknown' ? app.data.info.capture : app.data.info.node} · HAVAna`;
    },
  });
  attachKeys(app, timeline, act);
  hooks(app, timeline, () => plotWidth(panel));
  app.start();
}
