// Findings, the first first; each leads to the range, rows and intervals that prove it.

import type { App, Part } from '../app';
import type { Finding } from '../api/types';
import { NO_HUE, hueOfVm, markOf } from '../draw/palette';
import { splitKey } from '../layout/rows';
import { KIND_MEANING, proofWords, rowsOfSpan, whenWords } from '../model/findings';
import { GUEST, OBSERVED } from '../model/states';
import type { View } from '../model/view';
import { severityBadge } from '../panes/severity';
import { swatch } from '../panes/swatch';
import { button, fill, h } from '../util/dom';

export class FindingsView implements Part {
  readonly el = h('div', { class: 'sheet findings' });
  private drawn = '';

  constructor(private readonly app: App) {}

  update(now: View, before: View | null): void {
    this.el.hidden = now.tab !== 'findings';
    if (!before) this.drawn = '';
    const key = `${now.finding}|${now.sel}|${this.app.dark}`;
    if (this.el.hidden || key === this.drawn) return;
    this.drawn = key;
    const { known, list, counts } = this.app.findings;
    if (!known) {
      return fill(
        this.el,
        h(
          'p',
          { class: 'note' },
          'Nobody has looked for findings in this dataset. ',
          h('code', null, 'havana analyze'),
          ' looks for them; analyze the trace again.',
        ),
      );
    }
    if (!list.length)
      return fill(
        this.el,
        h('p', { class: 'note' }, h('span', { class: 'good', 'aria-hidden': 'true' }, '✓ '), 'Nothing unexpected was found.'),
      );
    fill(
      this.el,
      h(
        'p',
        { class: 'note' },
        `${counts.map(([severity, n]) => `${n} ${severity}`).join(', ')}. `,
        h('kbd', null, 'N'),
        ' leads from one to the next, ',
        h('kbd', null, 'V'),
        ' through what proves it.',
      ),
      h(
        'ol',
        null,
        list.map((f) => this.item(f, now)),
      ),
    );
    this.el.querySelector('li.chosen')?.scrollIntoView({ block: 'nearest' });
  }

  private item(f: Finding, now: View): HTMLElement {
    const { app } = this;
    const chosen = now.finding === f.finding_id;
    const facts = [
      h('span', { title: KIND_MEANING[f.kind] ?? null }, f.kind),
      f.vm_id !== null && app.data.vm.has(f.vm_id)
        ? h(
            'span',
            null,
            swatch(app.palette, app.palette.style(hueOfVm(f.vm_id), GUEST, OBSERVED, NO_HUE)),
            ` ${app.data.vmName(f.vm_id)}${markOf(f.vm_id)}`,
          )
        : null,
      h('span', null, whenWords(f, app.findings.placeOf(f), app.clock, app.span)),
      h('span', null, proofWords(f)),
    ];
    return h(
      'li',
      { class: chosen ? 'chosen' : null },
      severityBadge(f),
      h(
        'div',
        null,
        button(f.title, () => app.showFinding(f), { class: 'link title', 'aria-current': chosen ? 'true' : null }),
        h('p', { class: 'dim facts' }, facts),
        chosen && f.spans.length ? this.proofs(f) : null,
      ),
    );
  }

  /** The intervals that prove it, each a way to its place. */
  private proofs(f: Finding): HTMLElement {
    const { app } = this;
    const at = app.proofAt(f);
    return h(
      'ul',
      { class: 'proofs', 'aria-label': 'What proves it' },
      f.spans.map((s, n) =>
        h(
          'li',
          null,
          button(`${app.clock.range(s.start, s.end)}`, () => app.showProof(f, n), {
            class: 'link',
            title: 'Show its place in time',
            'aria-current': n === at ? 'true' : null,
          }),
          h(
            'span',
            { class: 'dim' },
            ` ${app.clock.duration(s.end - s.start)} · ${rowsOfSpan(f, s, app.data)
              .reverse()
              .map((key) => app.data.fullName(...splitKey(key)))
              .join(', ')}`,
          ),
        ),
      ),
    );
  }
}
