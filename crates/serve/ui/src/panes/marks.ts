// The marks of findings under the pointer: what they say, and that a click leads to them. For the map and the axis alike.

import type { App } from '../app';
import { drawnMarks, marksAt, type Drawn } from '../layout/marks';
import type { Scale } from '../layout/scale';
import { fill, h } from '../util/dom';
import { severityBadge } from './severity';

/** Of more than so many under the pointer only the number is told. */
const TOLD = 4;

/** The marks are at the top of the element, so high; the scale is in its CSS pixels. */
export function attachMarks(app: App, el: HTMLElement, strip: { scale(): Scale; height(): number }): void {
  const tip = h('div', { class: 'tip', role: 'tooltip', hidden: true });
  document.body.append(tip);
  const under = (e: MouseEvent): Drawn[] => {
    if (app.span <= 0) return [];
    const box = el.getBoundingClientRect();
    const y = e.clientY - box.top;
    return y > strip.height() + 1 ? [] : marksAt(drawnMarks(app.marks, strip.scale(), strip.height()), e.clientX - box.left, y);
  };
  const hide = () => {
    tip.hidden = true;
    el.classList.remove('onmark');
  };
  el.addEventListener('pointermove', (e) => {
    const marks = e.buttons ? [] : under(e);
    if (!marks.length) return hide();
    el.classList.add('onmark');
    fill(
      tip,
      marks
        .slice(0, TOLD)
        .map(({ finding: f }) =>
          h('div', { class: 'tipfinding' }, severityBadge(f), h('span', null, f.title, h('span', { class: 'dim' }, ` · ${f.kind}`))),
        ),
      marks.length > TOLD ? h('div', { class: 'dim' }, `and ${marks.length - TOLD} more`) : null,
    );
    tip.hidden = false;
    const box = el.getBoundingClientRect();
    tip.style.left = `${Math.round(Math.max(4, Math.min(innerWidth - tip.offsetWidth - 6, e.clientX + 12)))}px`;
    tip.style.top = `${Math.round(box.bottom + 6)}px`;
  });
  el.addEventListener('pointerleave', hide);
  // Before anything that a drag would do.
  el.addEventListener(
    'pointerdown',
    (e) => {
      const marks = e.button === 0 && !e.shiftKey ? under(e) : [];
      if (!marks.length) return;
      e.preventDefault();
      e.stopImmediatePropagation();
      hide();
      // Of several, the one behind that which is chosen already.
      const on = marks.findIndex((m) => m.finding.finding_id === app.view.finding);
      app.showFinding(marks[(on + 1) % marks.length].finding);
    },
    { capture: true },
  );
}
