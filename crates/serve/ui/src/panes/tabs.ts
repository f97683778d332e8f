// The views, as tabs.

import type { App, Part } from '../app';
import type { Tab } from '../model/view';
import { button, h } from '../util/dom';

export const TAB_WORDS: Record<Tab, string> = {
  resources: 'Resources',
  processes: 'Processes',
  exits: 'Exits',
  stolen: 'Who took whose time',
  findings: 'Findings',
  compare: 'Compare',
};

export function tabBar(app: App): Part & { el: HTMLElement } {
  const names = app.tabs;
  const tabs = names.map((tab, i) =>
    button(
      [
        TAB_WORDS[tab],
        tab === 'findings' && app.findings.list.length ? ` (${app.findings.list.length})` : null,
        h('kbd', null, String(i + 1)),
      ],
      () => app.store.set({ tab }, 'push'),
      {
        role: 'tab',
        id: `tab-${tab}`,
        'aria-controls': 'view',
        'aria-keyshortcuts': String(i + 1),
        class: 'tab',
      },
    ),
  );
  const el = h('div', { class: 'tabs', role: 'tablist', 'aria-label': 'Views' }, tabs);
  el.addEventListener('keydown', (e) => {
    const i = names.indexOf(app.view.tab);
    const n =
      e.key === 'ArrowRight' ? i + 1 : e.key === 'ArrowLeft' ? i - 1 : e.key === 'Home' ? 0 : e.key === 'End' ? names.length - 1 : null;
    if (n === null) return;
    e.preventDefault();
    const to = (n + names.length) % names.length;
    app.store.set({ tab: names[to] }, 'push');
    tabs[to].focus();
  });
  return {
    el,
    update(now) {
      tabs.forEach((t, i) => {
        const on = names[i] === now.tab;
        t.setAttribute('aria-selected', String(on));
        t.tabIndex = on ? 0 : -1;
      });
    },
  };
}
