// What changed from A to B, side by side: who, what, both as bars of one scale, how much and how surely. Rows lead to where it is
// seen in this dataset.

import type { App, Part } from '../app';
import type { Change, CompareSide } from '../api/types';
import { NO_HUE } from '../draw/palette';
import { grouped, percent } from '../layout/format';
import {
  type ChangeGroup,
  type Compare,
  GROUP_WORDS,
  type SideName,
  type Whose,
  groupOf,
  intervalWords,
  numberWords,
  signedWords,
  stateOf,
  sureWords,
  timeWords,
  whatWords,
} from '../model/compare';
import { GUEST, HOST, INFERRED, OBSERVED } from '../model/states';
import type { View } from '../model/view';
import { background, swatch } from '../panes/swatch';
import { button, fill, h } from '../util/dom';

const COLUMNS = 6;
/** Buttons of VMs. */
const MOST = 24;

export class CompareView implements Part {
  readonly el = h('div', { class: 'sheet compare' });
  private readonly filters = h('div', { class: 'filters' });
  private readonly list = h('div', { class: 'changes' });
  private drawn = '';

  constructor(
    private readonly app: App,
    private readonly compare: Compare,
  ) {
    fill(this.el, this.sides(), this.filters, this.list);
    // From change to change, as from row to row.
    this.list.addEventListener('keydown', (e) => {
      const by = e.key === 'ArrowDown' ? 1 : e.key === 'ArrowUp' ? -1 : 0;
      const ways = [...this.list.querySelectorAll<HTMLElement>('button.way')];
      const here = (e.target as HTMLElement).closest('tr')?.querySelector<HTMLElement>('button.way');
      const to = here ? ways[ways.indexOf(here) + by] : undefined;
      if (!by || !to) return;
      e.preventDefault();
      to.focus();
    });
  }

  update(now: View, before: View | null): void {
    this.el.hidden = now.tab !== 'compare';
    if (!before) this.drawn = '';
    const key = `${now.changes}|${now.changesOf}|${now.allChanges}|${this.app.dark}`;
    if (this.el.hidden || key === this.drawn) return;
    this.drawn = key;
    const held = document.activeElement?.getAttribute('data-held');
    this.drawFilters(now);
    this.drawList(now);
    // Whoever presses one of these buttons stays on it.
    if (held) this.el.querySelector<HTMLElement>(`[data-held="${CSS.escape(held)}"]`)?.focus();
  }

  // --- the two sides -------------------------------------------------------------------------------------------------------

  private sides(): HTMLElement {
    const { diff } = this.compare;
    const row = (name: string, side: CompareSide) => {
      const time = (t: number) => (t === 0 ? '0' : timeWords(side, t));
      return h(
        'tr',
        null,
        h('th', { scope: 'row', class: 'left' }, h('b', { class: 'side' }, name), ' ', side.dataset),
        h('td', { class: 'left' }, side.node),
        h('td', { class: 'left' }, side.whole ? 'all of it' : `${time(side.from)} to ${time(side.to)}`),
        h('td', null, timeWords(side, side.to - side.from)),
        h('td', null, grouped(side.cpus)),
        h('td', null, grouped(side.vms)),
        h('td', { class: side.hidden_share >= 0.001 ? 'warn' : 'dim' }, percent(side.hidden_share)),
      );
    };
    const lone = [...diff.unmatched_a.map((of) => [of, 'A', 'B'] as const), ...diff.unmatched_b.map((of) => [of, 'B', 'A'] as const)];
    return h(
      'div',
      { class: 'sides' },
      h(
        'table',
        null,
        h(
          'thead',
          null,
          h(
            'tr',
            null,
            ['side', 'node', 'time'].map((word) => h('th', { scope: 'col', class: 'left' }, word)),
            ['length', 'cpus', 'VMs', 'lost or unknown'].map((word) => h('th', { scope: 'col' }, word)),
          ),
        ),
        h('tbody', null, row('A', diff.a), row('B', diff.b)),
      ),
      lone.length
        ? h(
            'ul',
            { class: 'warn' },
            lone.map(([of, in_, other]) =>
              h('li', null, `Not compared: ${in_}’s ${of.who}, ${percent(of.cpu_share)} of a cpu: nothing says who that is in ${other}.`),
            ),
          )
        : null,
    );
  }

  // --- filters -------------------------------------------------------------------------------------------------------------

  private drawFilters(now: View): void {
    const { app, compare } = this;
    const chip = (face: (Node | string)[], patch: Partial<View>, on: boolean, held: string) =>
      button(face, () => app.store.set(patch, 'push'), { class: 'chip', 'aria-pressed': String(on), 'data-held': held });
    const group = (g: ChangeGroup | null, words: string) => chip([words], { changes: g }, now.changes === g, `kind.${g}`);
    fill(
      this.filters,
      h(
        'div',
        { role: 'group', 'aria-label': 'Of which kind' },
        group(null, 'all kinds'),
        compare.groups.map(([g, n]) => group(g, `${GROUP_WORDS[g]} ${n}`)),
      ),
      h(
        'div',
        { role: 'group', 'aria-label': 'Of whom' },
        chip(['of all'], { changesOf: null }, now.changesOf === null, 'of.all'),
        this.whoseShown(now).map((who) =>
          chip(
            [swatch(app.palette, app.palette.style(who.hue, who.key === 'host' ? HOST : GUEST, OBSERVED, NO_HUE)), who.name],
            { changesOf: who.key },
            now.changesOf === who.key,
            `of.${who.key}`,
          ),
        ),
      ),
    );
  }

  /** On a host with hundreds of VMs those of the first changes, and the one that is chosen. */
  private whoseShown(now: View): Whose[] {
    return this.compare.whose.filter((who, i) => i < MOST || who.key === now.changesOf);
  }

  // --- the list ------------------------------------------------------------------------------------------------------------

  private drawList(now: View): void {
    const { app, compare } = this;
    const { told, following, rest } = compare.shown({ group: now.changes, of: now.changesOf });
    const all = compare.diff.changes.filter((c) => c.told).length;
    const part = (title: string, about: string, changes: Change[]) =>
      changes.length
        ? h(
            'tbody',
            null,
            h(
              'tr',
              { class: 'part' },
              h('th', { scope: 'rowgroup', colspan: COLUMNS, class: 'left' }, h('h3', null, title), h('span', null, about)),
            ),
            changes.map((c) => this.row(c)),
          )
        : null;
    const any = told.length + following.length > 0;
    fill(
      this.list,
      h(
        'p',
        { class: 'note' },
        any
          ? null
          : all
            ? 'Of these nothing changed that is more than chance and matters. '
            : [h('span', { class: 'good', 'aria-hidden': 'true' }, '✓ '), 'Nothing changed that is more than chance and matters. '],
        `${all} of ${grouped(compare.diff.compared)} quantities changed by more than chance (1 in 100, all together) and by enough to matter. Shares are of one cpu.`,
      ),
      any || (now.allChanges && rest.length)
        ? h(
            'div',
            { class: 'scrollx' },
            h(
              'table',
              null,
              h(
                'thead',
                null,
                h(
                  'tr',
                  null,
                  ['who', 'what'].map((word) => h('th', { scope: 'col', class: 'left' }, word)),
                  h(
                    'th',
                    { scope: 'col', class: 'left' },
                    'A over B ',
                    h('span', { class: 'scales' }, this.scaleWords([...told, ...following, ...(now.allChanges ? rest : [])])),
                  ),
                  h('th', { scope: 'col' }, 'change ', h('small', null, '[95 % sure]')),
                  h('th', { scope: 'col', title: 'how surely it is more than chance, of all comparisons together' }, 'surely'),
                  h('th', { scope: 'col' }, h('span', { class: 'hidden' }, 'ways')),
                ),
              ),
              part('What changed', 'most cpu time first', told),
              part('What goes with it', 'its sums, and what follows from it', following),
              now.allChanges ? part('What may be chance, or matters little', '', rest) : null,
            ),
          )
        : null,
      rest.length
        ? button(
            now.allChanges
              ? `Hide the ${rest.length} that may be chance or matter little`
              : `Show all: ${rest.length} more that may be chance or matter little`,
            () => app.store.set({ allChanges: !now.allChanges }, 'push'),
            { 'aria-expanded': String(now.allChanges), 'data-held': 'all' },
          )
        : null,
    );
  }

  /** What the full width is, of each unit that is seen. */
  private scaleWords(changes: Change[]): string {
    const words = new Map<string, string>();
    for (const c of changes) {
      const what =
        c.unit === 'share'
          ? ''
          : c.kind === 'exits'
            ? c.unit === 'per_second'
              ? ' exits a second'
              : ' exits in 10⁹ ticks'
            : c.kind === 'exit_median'
              ? ' (median)'
              : ' (99 %)';
      const word = `${numberWords(this.compare.scaleOf(c), c.unit)}${what}`;
      words.set(word, word);
    }
    return `full width: ${[...words.keys()].join(' · ')}`;
  }

  private row(c: Change): HTMLElement {
    const { app, compare } = this;
    const { diff } = compare;
    // Who is in B only is looked at there.
    const order: SideName[] = c.presence === 'new' ? ['b', 'a'] : ['a', 'b'];
    const row = order.find((side) => compare.rowOf(c, side));
    const cause = compare.causeOf(c);
    const notes = [...compare.notesOf(c), ...(cause ? [`goes with: ${cause}`] : [])];
    const word = (side: SideName) => (diff[side].whole ? `in ${side.toUpperCase()}` : `in ${side.toUpperCase()}’s time`);
    const look = (side: SideName) =>
      compare.rowOf(c, side)
        ? button(`see ${side.toUpperCase()}`, () => app.showChange(c, side), {
            class: 'link',
            title: `Show its row ${word(side)}`,
            'aria-label': `See ${c.who} ${word(side)}`,
          })
        : null;
    const tr = h(
      'tr',
      { class: row ? 'leads' : null },
      h(
        'th',
        { scope: 'row', class: 'left' },
        h(
          'div',
          { class: 'whose' },
          swatch(app.palette, app.palette.style(compare.hueOf(c), groupOf(c) === 'cpu' ? HOST : GUEST, OBSERVED, NO_HUE)),
          row
            ? button(c.who, () => app.showChange(c, row), { class: 'link way', title: `Show its row ${word(row)}` })
            : h('span', { class: 'strong', title: 'It is not in the dataset that is opened here, which is A' }, c.who),
        ),
      ),
      h('td', { class: 'left what' }, whatWords(c), notes.length ? h('small', null, notes.join(' · ')) : null),
      h('td', { class: 'left' }, this.bars(c)),
      h('td', null, h('b', null, signedWords(c.change, c.unit)), h('small', null, intervalWords(c))),
      h('td', { class: c.told ? null : 'dim' }, sureWords(c)),
      h('td', { class: 'ways' }, diff.one_dataset ? [look('a'), look('b')] : null),
    );
    if (row)
      tr.addEventListener('click', (e) => {
        if (!(e.target as HTMLElement).closest('button') && !getSelection()?.toString()) app.showChange(c, row);
      });
    return tr;
  }

  /** A over B; on B's bar where its end lies, 95 % sure. */
  private bars(c: Change): HTMLElement {
    const { app, compare } = this;
    const { a, b, lo, hi } = compare.barsOf(c);
    const style = app.palette.style(compare.hueOf(c), stateOf(c), c.inferred ? INFERRED : OBSERVED, compare.takerHueOf(c));
    const paint = background(app.palette, style);
    const at = (part: number) => `${(part * 100).toFixed(3)}%`;
    const bounds = (of: [number, number] | null) =>
      of && of[1] - of[0] >= 0.0005 ? `: ${percent(of[0])} to ${percent(of[1])} with all that is lost or unknown` : '';
    const bar = (name: SideName, value: number, part: number, of: [number, number] | null) => [
      h('span', { class: 'side', 'aria-hidden': 'true' }, name.toUpperCase()),
      h(
        'div',
        { class: 'track', 'aria-hidden': 'true' },
        value > 0 ? h('i', { style: `width:${at(part)};background:${paint}` }) : null,
        name === 'b' ? h('u', { style: `left:${at(lo)};width:${at(Math.max(0, hi - lo))}` }) : null,
      ),
      h(
        'span',
        { class: 'value', title: `in ${name.toUpperCase()}${bounds(of)}` },
        h('span', { class: 'hidden' }, `${name.toUpperCase()}: `),
        numberWords(value, c.unit),
      ),
    ];
    return h('div', { class: 'pair' }, bar('a', c.a, a, c.a_bounds), bar('b', c.b, b, c.b_bounds));
  }
}
