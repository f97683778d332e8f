// Keys of the page. Those of Perfetto and Trace Compass, where these agree.

import type { App } from '../app';
import { around, pan, zoomAt } from '../layout/zoom';
import type { Timeline } from '../views/timeline';

export const KEYS: [string, [string, string][]][] = [
  [
    'Time',
    [
      ['W  S', 'zoom in, out'],
      ['A  D', 'pan left, right'],
      ['Ctrl + wheel', 'zoom at the pointer'],
      ['Shift + drag, middle drag', 'pan'],
      ['F', 'fit the whole capture'],
      ['Z', 'zoom to the selection'],
    ],
  ],
  [
    'Selection',
    [
      ['drag', 'select a range'],
      ['Shift + click', 'extend it'],
      ['double click', 'select one state'],
      ['.  ,', 'next, previous state of the focused row'],
      ['>  <', 'add it to the selection'],
      ['R', 'select what is in sight'],
      ['Esc', 'close, clear'],
    ],
  ],
  [
    'Rows',
    [
      ['↑ ↓ Home End', 'move the focus'],
      ['← →', 'fold, unfold'],
      ['Enter, Space', 'fold or unfold'],
      ['P', 'pin on top'],
      ['wheel', 'scroll'],
    ],
  ],
  [
    'Page',
    [
      ['1 – 6', 'tabs'],
      ['/', 'find'],
      ['N  Shift + N', 'next, previous finding'],
      ['V  Shift + V', 'next, previous proof of it'],
      ['E, Shift + E', 'save as PNG, SVG'],
      ['?', 'this help'],
    ],
  ],
];

export interface Actions {
  search(): void;
  help(): void;
  png(): void;
  svg(): void;
  escape(): void;
}

export function attachKeys(app: App, timeline: Timeline, act: Actions): void {
  document.addEventListener('keydown', (e) => {
    if (e.defaultPrevented || e.isComposing || e.ctrlKey || e.metaKey || e.altKey) return;
    const target = e.target as HTMLElement;
    if (document.querySelector('dialog[open]')) return;
    if (target.closest('input,select,textarea')) return;
    if (run(e, target)) e.preventDefault();
  });

  const atRows = (target: HTMLElement) => target === document.body || target.closest('.stage') !== null;

  function run(e: KeyboardEvent, target: HTMLElement): boolean {
    const { sight, span, view } = app;
    const width = sight.to - sight.from;
    switch (e.key) {
      case '/':
        act.search();
        return true;
      case '?':
        act.help();
        return true;
      case 'Escape':
        act.escape();
        return true;
      case 'e':
        act.png();
        return true;
      case 'E':
        act.svg();
        return true;
      case 'n':
      case 'N':
        app.stepFinding(e.key === 'n' ? 1 : -1);
        return true;
      case 'v':
      case 'V':
        app.stepProof(e.key === 'v' ? 1 : -1);
        return true;
    }
    const tab = /^[1-9]$/.test(e.key) ? app.tabs[Number(e.key) - 1] : undefined;
    if (tab) {
      app.store.set({ tab }, 'push');
      return true;
    }
    if (span > 0) {
      // Around the selection where it is in sight, else around the middle.
      const mid =
        view.sel && view.sel[0] >= sight.from && view.sel[1] <= sight.to
          ? (view.sel[0] + view.sel[1]) / 2
          : view.at !== null && view.at > sight.from && view.at < sight.to
            ? view.at
            : (sight.from + sight.to) / 2;
      switch (e.key.toLowerCase()) {
        case 'w':
          app.look(zoomAt(sight, mid, 1 / 1.4, span));
          return true;
        case 's':
          app.look(zoomAt(sight, mid, 1.4, span));
          return true;
        case 'a':
          app.look(pan(sight, -width * 0.12, span));
          return true;
        case 'd':
          app.look(pan(sight, width * 0.12, span));
          return true;
        case 'f':
          app.look({ from: 0, to: span }, 'push');
          return true;
        case 'z':
          if (view.sel) app.look(around(view.sel[0], view.sel[1], span, 0.05), 'push');
          return true;
        case '.':
          void app.step('next');
          return true;
        case ',':
          void app.step('previous');
          return true;
        case '>':
          void app.step('next', true);
          return true;
        case '<':
          void app.step('previous', true);
          return true;
        case 'r':
          app.select([sight.from, sight.to], 'push');
          return true;
        case 'p':
          if (view.row && /^(cpu|vm|vcpu|process)\./.test(view.row)) app.toggle('pins', view.row);
          return true;
      }
    }
    if (!timeline.active || !atRows(target)) return false;
    switch (e.key) {
      case 'ArrowDown':
        timeline.moveRow(1);
        return true;
      case 'ArrowUp':
        timeline.moveRow(-1);
        return true;
      case 'PageDown':
        timeline.moveRow(10);
        return true;
      case 'PageUp':
        timeline.moveRow(-10);
        return true;
      case 'Home':
        timeline.moveRow(-Infinity);
        return true;
      case 'End':
        timeline.moveRow(Infinity);
        return true;
      case 'ArrowRight':
        timeline.fold(true);
        return true;
      case 'ArrowLeft':
        timeline.fold(false);
        return true;
      case ' ':
      case 'Enter':
        if (target.closest('button')) return false;
        if (!timeline.fold()) app.hint('This row has nothing to unfold.');
        return true;
    }
    return false;
  }
}
