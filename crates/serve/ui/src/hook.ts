// What tests hold on to: `window.havana`. Nothing on the page uses it.

import type { App } from './app';
import type { Kind } from './api/types';
import { BY_HOST, BY_NONE, BY_VM, EVIDENCE_WORDS, STATE_WORDS, stateCode } from './model/states';
import { randomTrack, timed } from './draw/benchmark';
import type { Timeline } from './views/timeline';

let app: App | undefined;

interface Asked {
  kind: Kind;
  id?: number;
  vm?: number;
  state: number | string;
  evidence: number | string;
  by_kind?: number | string | null;
  by_id?: number | null;
}

const code = (value: number | string, words: (name: string) => number) => (typeof value === 'string' ? words(value) : value);

export function expose(ready: Promise<App>): void {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const havana = {
    ready,
    /** Resolves when nothing is asked for any more and all is drawn. */
    async idle() {
      const a = await ready;
      for (let still = 0; still < 3; still = a.quiet ? still + 1 : 0) await frame();
    },
    state: () => ({ ...app!.view }),
  };
  (window as unknown as { havana: unknown }).havana = havana;
}

export function hooks(a: App, timeline: Timeline, width: () => number): void {
  app = a;
  Object.assign((window as unknown as { havana: object }).havana, {
    layout: () => ({
      view: a.view.tab,
      from: a.view.from,
      to: a.view.to,
      plotLeft: 0,
      plotWidth: width(),
      dpr: devicePixelRatio,
      canvas: '#tracks',
      rows: timeline.layout(),
    }),
    /** Every colour that a pixel of such a state may have. `id` or `vm` tell whose track it is; without them those of every VM. */
    colourOf(q: Asked): string[] {
      const byKind = code(q.by_kind ?? 0, (n) => ({ none: BY_NONE, vm: BY_VM, host: BY_HOST })[n] ?? BY_NONE);
      const vms = q.vm !== undefined ? [q.vm] : q.id !== undefined ? [a.data.vmOf(q.kind, q.id)] : [-1, ...a.data.vm.keys()];
      const all = vms.flatMap(
        (vm) =>
          a.palette.styleOf(
            q.kind,
            vm,
            code(q.state, stateCode),
            code(q.evidence, (n) => EVIDENCE_WORDS.indexOf(n)),
            byKind,
            q.by_id ?? -1,
          ).colours,
      );
      return [...new Set(all)];
    },
    background: () => a.palette.ground.background,
    states: STATE_WORDS,
    /** Draws the present view once more: milliseconds. */
    frame() {
      const t = performance.now();
      timeline.refresh();
      return performance.now() - t;
    },
    /** Draws `n` random rectangles with the real renderer 60 times: milliseconds a frame. */
    benchmark: (n = 10_000) => timed(a.palette, randomTrack(n), 60),
  });
}
