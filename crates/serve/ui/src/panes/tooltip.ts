// What is under the pointer: at once what the picture says, a moment later the interval itself with its bounds and how it is
// known. It stands below or above the row that it explains, never on it.

import type { App } from '../app';
import type { Interval } from '../api/types';
import { isAbort } from '../api/client';
import { markOf } from '../draw/palette';
import { percent } from '../layout/format';
import { hit, sharesIn } from '../layout/hit';
import type { Row } from '../layout/rows';
import { EVIDENCE_WORDS, STATE_WORDS, isCpuLike } from '../model/states';
import { fill, h } from '../util/dom';
import { swatch } from './swatch';

const ASK_MS = 90;

export function tooltip(app: App) {
  const el = h('div', { class: 'tip', role: 'tooltip', hidden: true });
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stop: AbortController | undefined;
  let last: { key: string; i: Interval } | null = null;

  const place = (x: number, top: number, bottom: number) => {
    const w = el.offsetWidth;
    const hh = el.offsetHeight;
    el.style.left = `${Math.round(Math.max(4, Math.min(innerWidth - w - 6, x + 14)))}px`;
    const below = bottom + 8;
    el.style.top = `${Math.round(below + hh < innerHeight - 4 ? below : Math.max(4, top - hh - 8))}px`;
  };

  const line = (word: string, ...value: (Node | string)[]) => h('div', { class: 'kv' }, h('span', null, word), h('span', null, value));

  const details = (row: Row, i: Interval): Node[] => {
    const { clock, data } = app;
    const wide = (lo: number, hi: number) => clock.duration((hi - lo) / 2);
    const out: Node[] = [];
    const state = i.state.replace('_', ' ');
    const vm = row.kind === 'cpu' ? i.vm_id : null;
    out.push(
      h(
        'div',
        { class: 'tiphead' },
        h('b', null, state),
        ` ${clock.duration(i.end - i.start)}`,
        i.taken_by
          ? h('span', null, ` · cpu had by ${data.takerName(i.taken_by.kind, i.taken_by.id)}`)
          : vm !== null
            ? h('span', null, ` · ${data.vmName(vm)}${markOf(vm)}`)
            : '',
      ),
    );
    const digits = (i.end - i.start) / 20;
    out.push(line('from', `${clock.moment(i.start, digits)} ±${wide(i.start_lo, i.start_hi)}`));
    out.push(line('to', `${clock.moment(i.end, digits)} ±${wide(i.end_lo, i.end_hi)}`));
    if (i.cpu !== null && row.kind !== 'cpu') out.push(line('cpu', String(i.cpu)));
    if (i.vcpu_id !== null && row.kind !== 'vcpu') out.push(line('vCPU', data.fullName('vcpu', i.vcpu_id)));
    if (i.process_id !== null && row.kind !== 'process') out.push(line('process', data.fullName('process', i.process_id)));
    if (i.guest_cr3) out.push(line('guest CR3', i.guest_cr3));
    if (i.host_cr3) out.push(line('host CR3', i.host_cr3));
    if (i.tid !== null) out.push(line('thread', String(i.tid)));
    out.push(
      line(
        'known',
        i.evidence === 'inferred'
          ? 'inferred: follows from a rule'
          : i.evidence === 'observed'
            ? 'observed: the trace says so'
            : i.evidence,
      ),
    );
    return out;
  };

  const rough = (row: Row, t: number, y: number, perPixel: number): Node[] => {
    const { data, palette } = app;
    const title = h(
      'div',
      { class: 'tiptitle' },
      data.fullName(row.kind, row.id),
      h('span', { class: 'dim' }, ` at ${app.clock.moment(t, perPixel)}`),
    );
    const layer = app.loader.cache.layers(row.kind, row.id, app.sight, app.span, 1).at(-1);
    if (!layer) return [title];
    const seg = layer.segments;
    const part = layer.parts.get(row.id)!;
    const a = Math.max(0, t - perPixel);
    const b = Math.min(app.span, t + perPixel);
    const word = (s: { state: number; byKind: number; byId: number; evidence: number }) => {
      const by = s.byKind ? (isCpuLike(row.kind) ? `${data.takerName(s.byKind, s.byId)}: ` : '') : '';
      const taken = s.byKind && !isCpuLike(row.kind) ? ` · cpu had by ${data.takerName(s.byKind, s.byId)}` : '';
      return `${by}${STATE_WORDS[s.state]}${taken}${s.evidence === 1 ? `, ${EVIDENCE_WORDS[1]}` : ''}`;
    };
    const vm = data.vmOf(row.kind, row.id);
    const dot = (s: { state: number; evidence: number; byKind: number; byId: number }) =>
      swatch(palette, palette.styleOf(row.kind, vm, s.state, s.evidence, s.byKind, s.byId));
    if (!seg.binned && row.kind !== 'vm' && row.kind !== 'node') {
      const i = hit(seg, part, t, y, perPixel * 2);
      if (i < 0) return [title, h('div', { class: 'dim' }, row.kind === 'process' ? 'on no vCPU here' : 'nothing is known here')];
      return [title];
    }
    const shares = sharesIn(seg, part, a, b);
    return [
      title,
      ...(shares.length
        ? shares.slice(0, 6).map((s) => h('div', { class: 'sharerow' }, dot(s), h('b', null, percent(s.share)), ` ${word(s)}`))
        : [h('div', { class: 'dim' }, 'nothing is known here')]),
    ];
  };

  return {
    el,
    show(row: Row, t: number, y: number, perPixel: number, x: number, top: number, bottom: number) {
      clearTimeout(timer);
      stop?.abort();
      const base = rough(row, t, y, perPixel);
      const key = `${row.key}`;
      const known = last && last.key === key && last.i.start <= t && t < last.i.end && row.kind !== 'process' ? last.i : null;
      fill(el, base, known ? details(row, known) : null);
      el.hidden = false;
      place(x, top, bottom);
      if (known || row.kind === 'vm' || row.kind === 'node') return;
      timer = setTimeout(() => {
        stop = new AbortController();
        app.api.at(row.kind, row.id, t, stop.signal).then(
          (i) => {
            if (!i || el.hidden) return;
            last = { key, i };
            fill(el, base, details(row, i));
            place(x, top, bottom);
          },
          (e) => {
            if (!isAbort(e)) app.complain(e, () => {});
          },
        );
      }, ASK_MS);
    },
    hide(): boolean {
      clearTimeout(timer);
      stop?.abort();
      const was = !el.hidden;
      el.hidden = true;
      return was;
    },
  };
}
