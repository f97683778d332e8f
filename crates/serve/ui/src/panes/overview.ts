// The pane when no row is in the focus: who had the cpus, who took whose time, what became of each VM.

import type { App } from '../app';
import { NO_HUE, markOf } from '../draw/palette';
import { percent } from '../layout/format';
import { GUEST, HYPERVISOR, LOST, OBSERVED, OFF_CPU, PREEMPTED, STATE_WORDS, UNKNOWN, WAITING } from '../model/states';
import { type Sums, within } from '../model/sums';
import { button, h } from '../util/dom';
import type { Bits } from './bits';
import { swatch } from './swatch';
import { sharesOf, stackedBar } from './who';

const VM_STATES = [GUEST, HYPERVISOR, PREEMPTED, WAITING, OFF_CPU, UNKNOWN, LOST];

export function overview(app: App, bits: Bits, sums: Sums): Node[] {
  const { shareCell, takerHue, takerWord, bar, link } = bits;
  const { data, clock } = app;
  const shares = sharesOf(app, sums);
  const out: Node[] = [];
  const half = data.info.exit_within_ticks;
  const whoBox = h(
    'section',
    null,
    h('h3', null, 'Who had the cpus'),
    stackedBar(
      app,
      shares.map((s) => ({ share: s.share, style: s.style, title: `${s.word} ${percent(s.share)}` })),
    ),
    h(
      'ul',
      { class: 'chips' },
      shares
        .filter((s) => s.share >= 0.0005)
        .slice(0, 14)
        .map((s) =>
          h(
            'li',
            null,
            swatch(app.palette, s.style, s.word === 'idle'),
            `${s.vm !== null && s.word === 'hypervisor' ? `hypervisor (${data.vmName(s.vm)})` : s.word} ${percent(s.share)}`,
          ),
        ),
    ),
  );
  out.push(whoBox);
  const thefts = sums.thefts.filter((t) => t.taker !== 'none' && t.ticks >= sums.of('vm', t.vm).total * 0.0005).slice(0, 8);
  const takenBox = h(
    'section',
    null,
    h('h3', null, 'Who took whose time'),
    thefts.length
      ? h(
          'ul',
          { class: 'list' },
          thefts.map((t) => {
            const of = sums.of('vm', t.vm).total;
            return h(
              'li',
              null,
              swatch(app.palette, app.palette.style(NO_HUE, PREEMPTED, OBSERVED, takerHue(t.taker))),
              h('b', null, takerWord(t.taker)),
              ' took ',
              h('b', null, clock.duration(t.ticks)),
              ' from ',
              link(`vm.${t.vm}`, t.taker === `vm.${t.vm}` ? 'itself' : data.vmName(t.vm) + markOf(t.vm)),
              h('span', { class: 'dim' }, ` ${percent(t.ticks / of)} of its time `),
              button('where', () => app.store.set({ tab: 'stolen', cell: [t.vm, t.taker] }, 'push'), {
                class: 'link',
                'aria-label': `Where ${takerWord(t.taker)} took time from ${data.vmName(t.vm)}`,
              }),
            );
          }),
        )
      : h('p', { class: 'dim' }, 'Nobody waited for a cpu that another had.'),
  );
  const ids = data.info.vms.map((v) => v.vm_id).sort((a, b) => sums.of('vm', b).used - sums.of('vm', a).used);
  const shown = ids.slice(0, 40);
  const used = VM_STATES.filter((s) => shown.some((id) => sums.of('vm', id).ticks[s] > sums.of('vm', id).total * 1e-5));
  const table = h(
    'section',
    { class: 'widest' },
    h('h3', null, 'What became of the VMs’ vCPUs'),
    ids.length === 0
      ? h('p', { class: 'dim' }, 'No VM was seen.')
      : h(
          'table',
          { class: 'sums' },
          h(
            'thead',
            null,
            h(
              'tr',
              null,
              h('th', { scope: 'col' }, 'VM'),
              h('th', { scope: 'col' }, h('span', { class: 'hidden' }, 'shares')),
              used.map((s) => h('th', { scope: 'col' }, STATE_WORDS[s])),
              h('th', { scope: 'col', title: 'Share that follows from a rule rather than from a packet' }, 'inferred'),
            ),
          ),
          h(
            'tbody',
            null,
            shown.map((id) => {
              const split = sums.of('vm', id);
              const of = Math.max(1, split.total);
              return h(
                'tr',
                null,
                h('th', { scope: 'row' }, link(`vm.${id}`, data.vmName(id) + markOf(id))),
                h('td', { class: 'barcell' }, bar('vm', id, split, of)),
                used.map((s) =>
                  split.total > 0
                    ? shareCell(split.ticks[s] / of, split.ticks[s] > 0 ? within(split.count[s], half, of) : null)
                    : h('td', null, '–'),
                ),
                h('td', { class: 'dim' }, split.total > 0 ? percent(split.inferredShare) : '–'),
              );
            }),
          ),
        ),
  );
  out.push(takenBox, table);
  return out;
}
