// One line on findings: the one at hand, or the first; how many there are of which severity; or why there is none.

import type { App, Part } from '../app';
import type { View } from '../model/view';
import { button, fill, h } from '../util/dom';
import { severityBadge, severityHead } from './severity';

export function stripPane(app: App): Part & { el: HTMLElement } {
  const el = h('section', { class: 'strip', 'aria-label': 'Findings' });
  const { known, list, counts } = app.findings;
  const title = h('h2', null, 'Findings');

  const all = () =>
    button(
      counts.map(([severity, n]) => h('span', { class: 'count' }, severityHead(severity), `${n} ${severity}`)),
      () => app.store.set({ tab: 'findings' }, 'push'),
      { class: 'link counts', title: 'List all findings', 'aria-label': `All findings: ${counts.map(([s, n]) => `${n} ${s}`).join(', ')}` },
    );
  const step = (by: 1 | -1, disabled: boolean) =>
    button(by > 0 ? '›' : '‹', () => app.stepFinding(by), {
      class: 'icon',
      title: by > 0 ? 'Next finding (N)' : 'Previous finding (Shift+N)',
      'aria-label': by > 0 ? 'Next finding' : 'Previous finding',
      disabled,
    });

  let drawn = '';
  const draw = (now: View) => {
    const chosen = app.findings.get(now.finding);
    const f = chosen ?? list[0];
    const at = chosen ? app.proofAt(chosen) : -1;
    const key = `${chosen?.finding_id}|${at}`;
    if (key === drawn) return;
    drawn = key;
    if (!f) {
      fill(
        el,
        title,
        known
          ? h('p', null, h('span', { class: 'good', 'aria-hidden': 'true' }, '✓ '), 'Nothing unexpected was found.')
          : h('p', { class: 'dim' }, 'Nobody has looked for findings in this dataset: ', h('code', null, 'havana analyze'), ' does.'),
      );
      return;
    }
    const n = list.indexOf(f);
    const here = document.activeElement?.getAttribute('aria-label');
    fill(
      el,
      title,
      h(
        'div',
        { class: 'finding' },
        h('p', null, severityBadge(f), ' ', f.title),
        h(
          'div',
          { class: 'ways' },
          chosen
            ? chosen.spans.length
              ? button(
                  at < 0 ? `evidence (${chosen.spans.length})` : `evidence ${at + 1} of ${chosen.spans.length}`,
                  () => app.stepProof(1),
                  {
                    class: 'link',
                    title: 'To the next interval that proves it (V)',
                    'aria-label': 'Next evidence',
                  },
                )
              : null
            : button('show', () => app.showFinding(f), {
                class: 'link',
                title: 'Show where and when (N)',
                'aria-label': 'Show the first finding',
              }),
          h('span', { class: 'grow' }),
          all(),
          list.length > 1 ? h('span', { class: 'steps' }, step(-1, n <= 0), step(1, n >= list.length - 1 && chosen !== null)) : null,
        ),
      ),
    );
    // Whoever presses a button of this line again and again stays on it.
    if (here) el.querySelector<HTMLElement>(`[aria-label="${CSS.escape(here)}"]`)?.focus();
  };
  return { el, update: draw };
}
