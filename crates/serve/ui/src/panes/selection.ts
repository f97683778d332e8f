// Sums of the selection, or of what is in sight: as numbers, as bars, with their doubt; of everything, or of the focused row:
// what it had, who took its time, whom it harmed.

import type { App, Part } from '../app';
import type { Kind } from '../api/types';
import { HOST_HUE, NO_HUE, hueOfVm, markOf } from '../draw/palette';
import {
  GUEST,
  HYPERVISOR,
  IDLE,
  INFERRED,
  LOST,
  OBSERVED,
  OFF_CPU,
  PREEMPTED,
  STATES,
  STATE_WORDS,
  UNKNOWN,
  WAITING,
  isCpuLike,
} from '../model/states';
import { type Split, type Sums, within } from '../model/sums';
import { exists, splitKey } from '../layout/rows';
import { doubt, percent } from '../layout/format';
import type { View } from '../model/view';
import { button, fill, h } from '../util/dom';
import { download, sumsCsv } from '../export/csv';
import { swatch } from './swatch';
import { sharesOf, stackedBar } from './who';
import { around } from '../layout/zoom';

const VM_STATES = [GUEST, HYPERVISOR, PREEMPTED, WAITING, OFF_CPU, UNKNOWN, LOST];

export function selectionPane(app: App): Part & { el: HTMLElement; words(): string } {
  const title = h('span', { class: 'range' });
  const about = h('span', { class: 'about' });
  const tools = h('span', { class: 'panetools' });
  const body = h('div', { class: 'panebody', tabindex: 0, role: 'region', 'aria-label': 'Sums' });
  const toggle = button('', () => app.store.set({ pane: !app.view.pane }), { class: 'icon' });
  const el = h(
    'section',
    { class: 'pane', 'aria-label': 'Sums of the selection or of what is in sight' },
    h('div', { class: 'panehead' }, toggle, title, about, h('span', { class: 'grow' }), tools),
    body,
  );
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

  let announced = '';

  // The edge above it is dragged, or moved by arrows.
  const edge = h('div', {
    class: 'edge',
    role: 'separator',
    tabindex: 0,
    'aria-orientation': 'horizontal',
    'aria-label': 'Height of the sums',
    title: 'Drag to change the height',
  });
  const setHeight = (px: number) => app.store.set({ pane: true, paneHeight: Math.round(Math.min(Math.max(px, 80), innerHeight * 0.7)) });
  edge.addEventListener('pointerdown', (e) => {
    e.preventDefault();
    const from = el.offsetHeight;
    edge.setPointerCapture(e.pointerId);
    const move = (m: PointerEvent) => setHeight(from + e.clientY - m.clientY);
    edge.addEventListener('pointermove', move);
    edge.addEventListener('lostpointercapture', () => edge.removeEventListener('pointermove', move), { once: true });
  });
  edge.addEventListener('keydown', (e) => {
    if (e.key !== 'ArrowUp' && e.key !== 'ArrowDown') return;
    e.preventDefault();
    setHeight(el.offsetHeight + (e.key === 'ArrowUp' ? 24 : -24));
  });
  el.prepend(edge);

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

  // --- everything -------------------------------------------------------------------------------------------------------

  const overview = (sums: Sums): Node[] => {
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
  };

  // --- one row ----------------------------------------------------------------------------------------------------------

  const oneRow = (sums: Sums, kind: Kind, id: number): Node[] => {
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
              takers
                .slice(0, 6)
                .map(([key, ticks]) =>
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
  };

  let drawn = '';
  const draw = () => {
    const { view } = app;
    const { from, to } = app.scope;
    el.classList.toggle('closed', !view.pane);
    el.style.height = view.pane && view.paneHeight !== null ? `${view.paneHeight}px` : '';
    edge.setAttribute('aria-valuenow', String(view.paneHeight ?? 0));
    toggle.textContent = view.pane ? '▾' : '▴';
    toggle.title = view.pane ? 'Fold the pane away' : 'Show sums';
    toggle.setAttribute('aria-label', toggle.title);
    toggle.setAttribute('aria-expanded', String(view.pane));
    fill(
      title,
      h('b', null, view.sel ? 'Selection' : 'In sight'),
      ` ${app.clock.range(from, to)}`,
      h('span', { class: 'dim' }, ` ${app.clock.duration(to - from)}`),
    );
    const [kind, id] = view.row ? splitKey(view.row) : ['node' as Kind, -1];
    const one = view.row !== null && id >= 0 && exists(kind, id, app.data) && /^(cpu|vm|vcpu|process|node)\./.test(view.row);
    const toolsKey = `${one}|${view.row}|${view.sel !== null}`;
    if (tools.dataset.key !== toolsKey) {
      tools.dataset.key = toolsKey;
      fill(
        about,
        one
          ? [
              h('span', { class: 'dim' }, 'of '),
              button(
                [app.data.fullName(kind, id), ' ', h('span', { 'aria-hidden': 'true' }, '✕')],
                () => app.store.set({ row: null }, 'push'),
                {
                  class: 'chip',
                  title: 'Show sums of everything',
                  'aria-label': `Of ${app.data.fullName(kind, id)}. Show sums of everything`,
                },
              ),
            ]
          : null,
      );
      fill(
        tools,
        view.sel
          ? [
              button(['Zoom', h('kbd', null, 'Z')], () => app.look(around(app.view.sel![0], app.view.sel![1], app.span, 0.05), 'push')),
              button(['Clear', h('kbd', null, 'Esc')], () => app.select(null, 'push')),
            ]
          : h('span', { class: 'dim hint' }, 'drag to select · W S zoom · A D pan · ? all keys'),
        button(
          'CSV',
          () =>
            app.sums &&
            download(`havana-sums-${Math.round(app.scope.from)}-${Math.round(app.scope.to)}.csv`, 'text/csv', sumsCsv(app.sums, app.data)),
          { title: 'Save these sums as CSV' },
        ),
      );
    }
    if (!view.pane) return;
    const sums = app.sums;
    const key = `${sums?.from}-${sums?.to}|${view.row}|${app.dark}`;
    body.classList.toggle('stale', !app.sumsFresh);
    if (!sums || key === drawn) return;
    drawn = key;
    const scroll = body.scrollTop;
    fill(
      body,
      app.span <= 0 ? h('p', { class: 'note' }, 'There is no time in this dataset to sum.') : one ? oneRow(sums, kind, id) : overview(sums),
    );
    body.classList.toggle('all', !one);
    body.scrollTop = scroll;
  };

  /** The pane in one sentence. */
  const words = (): string => {
    const sums = app.sums;
    if (!sums) return '';
    const range = app.clock.range(sums.from, sums.to);
    const { row } = app.view;
    if (row && !row.startsWith('small') && !row.startsWith('group')) {
      const [kind, id] = splitKey(row);
      const split = sums.of(kind, id);
      const list = [...split.ticks]
        .map((t, s) => ({ t, s }))
        .filter((x) => x.t > 0)
        .sort((a, b) => b.t - a.t);
      return `${range}, ${app.data.fullName(kind, id)}: ${list.map(({ t, s }) => `${STATE_WORDS[s]} ${percent(t / split.total)}`).join(', ') || 'not seen'}`;
    }
    return `${range}: ${sharesOf(app, sums)
      .filter((s) => s.share >= 0.005)
      .slice(0, 8)
      .map((s) => `${s.vm !== null && s.word === 'hypervisor' ? `hypervisor for ${app.data.vmName(s.vm)}` : s.word} ${percent(s.share)}`)
      .join(', ')}`;
  };

  return {
    el,
    words,
    update(_now: View, before: View | null) {
      if (!before) drawn = '';
      draw();
    },
    refresh() {
      draw();
      if (!app.sumsFresh || (!app.view.sel && !app.view.row)) return;
      const text = words();
      if (text === announced) return;
      announced = text;
      app.announce(text);
    },
  };
}
