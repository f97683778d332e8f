// The pointer over anything that has the time axis: drag selects, Shift-drag and the middle button pan, Ctrl+wheel zooms where
// the pointer is, Shift-click extends the selection. A plain wheel is left to the rows.

import type { App } from '../app';
import type { Scale } from '../layout/scale';
import { pan, zoomAt } from '../layout/zoom';

export interface Surface {
  /** CSS pixels from the left of the element to the plot, and the plot's scale. */
  left(): number;
  scale(): Scale;
  click?(t: number, e: PointerEvent): void;
  /** Null when the pointer has left, or does something else. */
  hover?(t: number | null, e: PointerEvent | null): void;
}

const STILL = 3;
const EDGE = 4;

export function attachGestures(app: App, el: HTMLElement, s: Surface): void {
  const xOf = (e: MouseEvent) => e.clientX - el.getBoundingClientRect().left - s.left();
  const inside = (x: number) => x >= 0 && x <= s.scale().width;

  el.addEventListener('pointerdown', (e) => {
    const x0 = xOf(e);
    if (!inside(x0) || (e.button !== 0 && e.button !== 1) || app.span <= 0) return;
    if ((e.target as Element).closest('button,input,select,a')) return;
    e.preventDefault();
    (document.activeElement as HTMLElement | null)?.blur?.();
    const scale = s.scale();
    const sight = app.sight;
    const sel = app.view.sel;
    let moved = false;
    let anchor = scale.t(x0);
    if (sel && !e.shiftKey && e.button === 0) {
      if (Math.abs(scale.x(sel[0]) - x0) <= EDGE) anchor = sel[1];
      else if (Math.abs(scale.x(sel[1]) - x0) <= EDGE) anchor = sel[0];
    }
    const panning = e.button === 1 || e.shiftKey;
    try {
      el.setPointerCapture(e.pointerId);
    } catch {
      /* the pointer is gone already */
    }
    s.hover?.(null, null);
    const move = (m: PointerEvent) => {
      const x = xOf(m);
      if (!moved && Math.abs(x - x0) < STILL) return;
      moved = true;
      el.classList.add(panning ? 'panning' : 'selecting');
      if (panning) app.look(pan(sight, (x0 - x) * scale.ticksPerPixel, app.span));
      else {
        const t = scale.t(Math.min(Math.max(x, 0), scale.width));
        app.select([Math.min(anchor, t), Math.max(anchor, t)]);
      }
    };
    const end = (m: PointerEvent) => {
      el.removeEventListener('pointermove', move);
      el.removeEventListener('pointerup', end);
      el.removeEventListener('pointercancel', end);
      el.classList.remove('panning', 'selecting');
      if (m.type === 'pointercancel') return;
      if (moved) app.store.set({}, 'push');
      else if (e.shiftKey && e.button === 0) {
        const t = scale.t(x0);
        const [a, b] = app.view.sel ?? [app.view.at ?? t, app.view.at ?? t];
        app.select([Math.min(a, t), Math.max(b, t)], 'push');
      } else if (e.button === 0) s.click?.(scale.t(x0), m);
    };
    el.addEventListener('pointermove', move);
    el.addEventListener('pointerup', end);
    el.addEventListener('pointercancel', end);
  });

  el.addEventListener('pointermove', (e) => {
    if (e.buttons) return;
    const x = xOf(e);
    s.hover?.(inside(x) ? s.scale().t(x) : null, e);
  });
  el.addEventListener('pointerleave', () => s.hover?.(null, null));

  el.addEventListener(
    'wheel',
    (e) => {
      const x = xOf(e);
      if (!inside(x) || app.span <= 0) return;
      if (e.ctrlKey || e.metaKey) {
        e.preventDefault();
        const lines = e.deltaMode === 1 ? 16 : 1;
        const factor = Math.exp(Math.max(-1, Math.min(1, (e.deltaY * lines) / 240)));
        app.look(zoomAt(app.sight, s.scale().t(x), factor, app.span));
      } else if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) {
        e.preventDefault();
        const d = Math.abs(e.deltaX) > Math.abs(e.deltaY) ? e.deltaX : e.deltaY;
        app.look(pan(app.sight, d * s.scale().ticksPerPixel, app.span));
      }
      s.hover?.(null, null);
    },
    { passive: false },
  );
}
