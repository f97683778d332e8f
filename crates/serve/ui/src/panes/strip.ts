// One line on findings: the strongest, or why there is none.

import type { App, Part } from '../app';
import type { Finding } from '../api/types';
import { around } from '../layout/zoom';
import { button, fill, h } from '../util/dom';

/** Leads to where a finding is proved: range, rows, evidence. */
export function showFinding(app: App, f: Finding): void {
  const spans = f.spans;
  const start = f.start ?? Math.min(...spans.map((s) => s.start));
  const end = f.end ?? Math.max(...spans.map((s) => s.end));
  const process = f.process_id ?? spans.find((s) => s.process_id !== null)?.process_id ?? null;
  const vcpu = f.vcpu_id ?? spans.find((s) => s.vcpu_id !== null)?.vcpu_id ?? null;
  const cpu = spans.find((s) => s.cpu !== null)?.cpu ?? null;
  const key =
    f.process_id !== null
      ? `process.${process}`
      : vcpu !== null
        ? `vcpu.${vcpu}`
        : process !== null
          ? `process.${process}`
          : f.vm_id !== null
            ? `vm.${f.vm_id}`
            : cpu !== null
              ? `cpu.${cpu}`
              : null;
  const patch = key ? app.patchToShow(key) : { tab: 'resources' as const };
  if (Number.isFinite(start) && Number.isFinite(end))
    Object.assign(patch, around(start, end, app.span, 0.15), {
      sel: [Math.round(start), Math.max(Math.round(start) + 1, Math.round(end))],
    });
  app.store.set({ ...patch, finding: f.finding_id }, 'push');
}

export function stripPane(app: App): Part & { el: HTMLElement } {
  const el = h('section', { class: 'strip', 'aria-label': 'Findings' });
  const { known, findings } = app.findings;
  const first = findings[0];
  fill(
    el,
    h('h2', null, 'Findings'),
    !known
      ? h('p', { class: 'dim' }, 'nobody has searched this dataset for findings yet')
      : !first
        ? h('p', null, h('span', { class: 'good', 'aria-hidden': 'true' }, '✓ '), 'nothing unexpected found')
        : h(
            'p',
            null,
            h('span', { class: `sev ${first.severity}` }, first.severity),
            ' ',
            first.title,
            ' ',
            button('→ show', () => showFinding(app, first), { class: 'link' }),
            findings.length > 1
              ? button(`all ${findings.length}`, () => app.store.set({ tab: 'findings' }, 'push'), { class: 'link' })
              : null,
          ),
  );
  return { el, update() {} };
}
