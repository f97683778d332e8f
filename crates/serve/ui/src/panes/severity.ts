// How severe a finding is: a word, a shape and a colour, the same wherever it is told.

import type { Finding, Severity } from '../api/types';
import { HEADS } from '../draw/marks';
import { severityWords } from '../model/findings';
import { h } from '../util/dom';

export function severityHead(severity: Severity): HTMLElement {
  return h('span', { class: `head ${severity}`, 'aria-hidden': 'true' }, HEADS[severity]);
}

export function severityBadge(f: Finding): HTMLElement {
  return h('span', { class: `sev ${f.severity}` }, severityHead(f.severity), severityWords(f));
}
