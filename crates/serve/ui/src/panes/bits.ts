// What the sums of everything and those of one row are made of: bars, shares with their doubt, names that lead to their rows.

import type { App } from '../app';
import type { Kind } from '../api/types';
import { HOST_HUE, NO_HUE, hueOfVm, markOf } from '../draw/palette';
import { doubt, percent } from '../layout/format';
import { INFERRED, OBSERVED, PREEMPTED, STATES, STATE_WORDS, isCpuLike } from '../model/states';
import type { Split } from '../model/sums';
import { button, h } from '../util/dom';
import { stackedBar } from './who';

export type Bits = ReturnType<typeof bitsOf>;

export function bitsOf(app: App) {
  /** A share and its doubt, which is the second thing to read. */
  const shareCell = (share: number, off: number | null) => {
    const d = doubt(off);
    return h(
      'td',
      { title: d ? `${d}: if both ends of every stretch are off by the bounds of an exit, all the same way` : null },
      percent(share),
      d ? h('small', null, ` ${d}`) : null,
    );
  };

  const styleFor = (kind: Kind, id: number, state: number, inferred: boolean, taker = NO_HUE) => {
    const vm = app.data.vmOf(kind, id);
    return app.palette.style(isCpuLike(kind) ? NO_HUE : hueOfVm(vm), state, inferred ? INFERRED : OBSERVED, taker);
  };
  const takerHue = (key: string) => (key.startsWith('vm.') ? hueOfVm(Number(key.slice(3))) : key === 'host' ? HOST_HUE : NO_HUE);
  const takerWord = (key: string) =>
    key.startsWith('vm.')
      ? app.data.vmName(Number(key.slice(3))) + markOf(Number(key.slice(3)))
      : key === 'host'
        ? 'the host'
        : 'nobody known';

  /** A bar of a track's states; what was preempted in the takers' hues. */
  const bar = (kind: Kind, id: number, split: Split, of: number) => {
    const parts: { share: number; style: ReturnType<typeof styleFor>; title: string }[] = [];
    for (let s = 0; s < STATES; s++) {
      const t = split.ticks[s];
      if (t <= 0) continue;
      const inferred = split.inferred[s] > t / 2;
      if (s === PREEMPTED) {
        for (const [key, ticks] of [...split.takers].sort((a, b) => b[1] - a[1])) {
          parts.push({
            share: ticks / of,
            style: styleFor(kind, id, s, inferred, takerHue(key)),
            title: `preempted, cpu had by ${takerWord(key)}: ${percent(ticks / of)}`,
          });
        }
      } else parts.push({ share: t / of, style: styleFor(kind, id, s, inferred), title: `${STATE_WORDS[s]} ${percent(t / of)}` });
    }
    const rest = 1 - parts.reduce((a, p) => a + p.share, 0);
    const el = stackedBar(app, parts);
    if (rest > 0.001) el.append(h('i', { style: `flex:${rest.toFixed(6)} 0 0` }));
    return el;
  };

  const link = (key: string, face: string, label?: string) =>
    button(face, () => app.goTo(key), { class: 'link', title: 'Show its row', 'aria-label': label ?? null });

  return { shareCell, styleFor, takerHue, takerWord, bar, link };
}
