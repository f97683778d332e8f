// Findings, strongest first; each leads to the range, rows and intervals that prove it.

import type { App, Part } from '../app';
import { NO_HUE, hueOfVm, markOf } from '../draw/palette';
import { GUEST, OBSERVED } from '../model/states';
import type { View } from '../model/view';
import { showFinding } from '../panes/strip';
import { swatch } from '../panes/swatch';
import { button, fill, h } from '../util/dom';

export class FindingsView implements Part {
  readonly el = h('div', { class: 'sheet findings' });
  private drawn = '';

  constructor(private readonly app: App) {}

  update(now: View, before: View | null): void {
    this.el.hidden = now.tab !== 'findings';
    if (!before) this.drawn = '';
    const key = `${now.finding}|${this.app.dark}`;
    if (this.el.hidden || key === this.drawn) return;
    this.drawn = key;
    const { app } = this;
    const { known, findings } = app.findings;
    if (!known) return fill(this.el, h('p', { class: 'note' }, 'Nobody has searched this dataset for findings yet.'));
    if (!findings.length) return fill(this.el, h('p', { class: 'note' }, 'Nothing unexpected found.'));
    fill(
      this.el,
      h(
        'ol',
        null,
        findings.map((f) =>
          h(
            'li',
            { class: now.finding === f.finding_id ? 'chosen' : null },
            h('span', { class: `sev ${f.severity}` }, f.severity),
            h(
              'div',
              null,
              button(f.title, () => showFinding(app, f), { class: 'link title', 'aria-pressed': String(now.finding === f.finding_id) }),
              h('p', { class: 'dim' }, [
                f.vm_id !== null
                  ? [
                      swatch(app.palette, app.palette.style(hueOfVm(f.vm_id), GUEST, OBSERVED, NO_HUE)),
                      ` ${app.data.vmName(f.vm_id)}${markOf(f.vm_id)} · `,
                    ]
                  : '',
                f.start !== null && f.end !== null ? `${app.clock.range(f.start, f.end)} · ` : '',
                `${f.spans.length} ${f.spans.length === 1 ? 'interval proves' : 'intervals prove'} it · ${f.kind.replace(/_/g, ' ')}`,
              ]),
            ),
          ),
        ),
      ),
    );
  }
}
