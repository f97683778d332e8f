// The pane when a row is in the focus: what it had, who took its time, whom it kept waiting.

import type { App } from '../app';
import type { Kind } from '../api/types';
import { NO_HUE, hueOfVm, markOf } from '../draw/palette';
import { percent } from '../layout/format';
import { around } from '../layout/zoom';
import { GUEST, IDLE, LOST, OBSERVED, PREEMPTED, STATE_WORDS, UNKNOWN, isCpuLike } from '../model/states';
import type { Sums } from '../model/sums';
import { within } from '../model/sums';
import { button, h } from '../util/dom';
import type { Bits } from './bits';
import { swatch } from './swatch';

export function oneRow(app: App, bits: Bits, sums: Sums, kind: Kind, id: number): Node[] {
  const { shareCell, styleFor, takerHue, takerWord, bar, link } = bits;
  const { data, clock } = app;
  const split = sums.of(kind, id);
  const total = split.total;
  const vm = data.vmOf(kind, id);
  const half = data.info.exit_within_ticks;
  const out: Node[] = [];
  const states = [...split.ticks]
    .map((t, s) => ({ t, s }))
    .filter((x) => x.t > 0)
    .sort((a, b) => b.t - a.t);
  const of = Math.max(1, total);
  out.push(
    h(
      'section',
      null,
      h('h3', null, 'What it had'),
      total > 0
        ? [
            bar(kind, id, split, of),
            h(
              'table',
              { class: 'sums' },
              h(
                'tbody',
                null,
                states.map(({ t, s }) => {
                  const inf = split.inferred[s] / t;
                  return h(
                    'tr',
                    null,
                    h(
                      'th',
                      { scope: 'row' },
                      swatch(
                        app.palette,
                        styleFor(
                          kind,
                          id,
                          s,
                          inf > 0.5,
                          s === PREEMPTED ? takerHue([...split.takers].sort((a, b) => b[1] - a[1])[0]?.[0] ?? '') : NO_HUE,
                        ),
                        s === IDLE,
                      ),
                      STATE_WORDS[s],
                    ),
                    shareCell(t / of, within(split.count[s], half, of)),
                    h('td', null, clock.duration(t)),
                    h('td', { class: 'dim' }, `${Math.round(split.count[s])}×`),
                    h(
                      'td',
                      { class: 'dim' },
                      s === UNKNOWN || s === LOST ? '' : inf === 0 ? 'observed' : inf > 0.9995 ? 'inferred' : `${percent(inf)} inferred`,
                    ),
                  );
                }),
              ),
            ),
          ]
        : h('p', { class: 'dim' }, 'It was not seen in this range.'),
    ),
  );

  if (isCpuLike(kind)) {
    const t = sums.table;
    const byVm = new Map<number, number>();
    for (let i = 0; i < t.length; i++)
      if (t.kind[i] === 0 && (kind === 'node' || t.id[i] === id) && t.byKind[i] === 1)
        byVm.set(t.byId[i], (byVm.get(t.byId[i]) ?? 0) + t.ticks[i]);
    out.push(
      h(
        'section',
        null,
        h('h3', null, 'VMs that had it'),
        byVm.size
          ? h(
              'ul',
              { class: 'list' },
              [...byVm]
                .sort((a, b) => b[1] - a[1])
                .slice(0, 8)
                .map(([v, ticks]) =>
                  h(
                    'li',
                    null,
                    swatch(app.palette, app.palette.style(hueOfVm(v), GUEST, OBSERVED, NO_HUE)),
                    link(`vm.${v}`, data.vmName(v) + markOf(v)),
                    ` ${percent(ticks / of)} `,
                    h('span', { class: 'dim' }, clock.duration(ticks)),
                  ),
                ),
            )
          : h('p', { class: 'dim' }, 'None.'),
      ),
    );
    return out;
  }

  const takers = [...split.takers].sort((a, b) => b[1] - a[1]);
  out.push(
    h(
      'section',
      null,
      h('h3', null, 'Who had the cpu while it was preempted'),
      takers.length
        ? h(
            'ul',
            { class: 'list' },
            takers.slice(0, 6).map(([key, ticks]) =>
              h(
                'li',
                null,
                swatch(app.palette, app.palette.style(NO_HUE, PREEMPTED, OBSERVED, takerHue(key))),
                key.startsWith('vm.') ? link(key, takerWord(key)) : h('b', null, takerWord(key)),
                ` ${clock.duration(ticks)} `,
                h('span', { class: 'dim' }, `${percent(ticks / of)} of its time `),
                vm >= 0 && key !== 'none'
                  ? button('where', () => app.store.set({ tab: 'stolen', cell: [vm, key] }, 'push'), {
                      class: 'link',
                      'aria-label': `Where ${takerWord(key)} took time`,
                    })
                  : null,
              ),
            ),
          )
        : h('p', { class: 'dim' }, 'It was never preempted here.'),
    ),
  );

  const harmed = sums.harmedBy(`vm.${vm}`).slice(0, 6);
  const guestOfVm = sums.of('vm', vm).ticks[GUEST];
  const part = kind === 'process' && guestOfVm > 0 ? Math.min(1, split.ticks[GUEST] / guestOfVm) : null;
  const name = data.vmName(vm) + markOf(vm);
  out.push(
    h(
      'section',
      null,
      h('h3', null, kind === 'vm' ? 'Whom it kept waiting' : `Whom ${name} kept waiting`),
      harmed.length
        ? h(
            'ul',
            { class: 'list' },
            harmed.map(([victim, ticks]) =>
              h(
                'li',
                null,
                swatch(app.palette, app.palette.style(hueOfVm(victim), GUEST, OBSERVED, NO_HUE)),
                link(`vm.${victim}`, victim === vm ? 'itself' : data.vmName(victim) + markOf(victim)),
                ' waited ',
                h('b', null, clock.duration(ticks)),
                h('span', { class: 'dim' }, ` ${percent(ticks / Math.max(1, sums.of('vm', victim).total))} of its time `),
                button('where', () => app.store.set({ tab: 'stolen', cell: [victim, `vm.${vm}`] }, 'push'), {
                  class: 'link',
                  'aria-label': `Where ${name} took time from ${data.vmName(victim)}`,
                }),
              ),
            ),
          )
        : h('p', { class: 'dim' }, 'Nobody.'),
      part !== null
        ? h('p', { class: part > 0.5 && harmed.length ? 'strong' : 'dim' }, `This process made ${percent(part)} of ${name}’s guest time.`)
        : null,
    ),
  );

  if (kind === 'process' || kind === 'vcpu') {
    const p = kind === 'process' ? data.process.get(id)! : data.vcpu.get(id)!;
    out.push(
      h(
        'section',
        null,
        h('h3', null, 'When'),
        h('p', null, `seen ${clock.range(p.first, p.last)}`),
        h(
          'p',
          null,
          link(`vm.${vm}`, `all of ${name}`),
          ' ',
          button('show when', () => app.look(around(p.first, p.last, app.span, 0.05), 'push'), {
            class: 'link',
            title: 'Bring its whole time into view',
          }),
        ),
        h(
          'p',
          null,
          button('‹ previous state', () => void app.step('previous'), { 'aria-keyshortcuts': ',' }),
          ' ',
          button('next state ›', () => void app.step('next'), { 'aria-keyshortcuts': '.' }),
        ),
      ),
    );
  } else if (kind === 'vm') {
    const top = data
      .of('process', id)
      .map((q) => [q, sums.of('process', q).ticks[GUEST]] as const)
      .filter((x) => x[1] > 0)
      .sort((a, b) => b[1] - a[1]);
    out.push(
      h(
        'section',
        null,
        h('h3', null, 'Its guest processes'),
        top.length
          ? h(
              'ul',
              { class: 'list' },
              top
                .slice(0, 5)
                .map(([q, ticks]) =>
                  h(
                    'li',
                    null,
                    link(`process.${q}`, data.processName(q)),
                    ` ${clock.duration(ticks)} `,
                    h('span', { class: 'dim' }, `${percent(ticks / Math.max(1, split.ticks[GUEST]))} of its guest time`),
                  ),
                ),
            )
          : h('p', { class: 'dim' }, 'None ran here.'),
        top.length > 5 ? button(`all ${top.length}`, () => app.showVm(id), { class: 'link' }) : null,
      ),
    );
  }
  return out;
}
