// Sums as CSV: one row a track, state, evidence and taker; ticks always, seconds where the rate is known.

import type { Dataset } from '../model/dataset';
import type { Sums } from '../model/sums';
import { EVIDENCE_WORDS, STATE_WORDS } from '../model/states';
import type { Kind } from '../api/types';

const KINDS: Kind[] = ['cpu', 'vcpu', 'process'];

export function csvField(value: string | number): string {
  const s = String(value);
  return /[",\n\r]/.test(s) ? `"${s.replace(/"/g, '""')}"` : s;
}

export function csv(rows: (string | number)[][]): string {
  return rows.map((r) => r.map(csvField).join(',')).join('\r\n') + '\r\n';
}

export function sumsCsv(sums: Sums, data: Dataset): string {
  const { table, from, to } = sums;
  const hz = data.info.tsc_hz;
  const rows: (string | number)[][] = [
    [
      'from_ticks',
      'to_ticks',
      'kind',
      'id',
      'name',
      'vm_id',
      'vm',
      'state',
      'evidence',
      'taken_by',
      'ticks',
      'seconds',
      'share_of_range',
      'begins',
    ],
  ];
  for (let i = 0; i < table.length; i++) {
    const kind = KINDS[table.kind[i]];
    const id = table.id[i];
    const vm = data.vmOf(kind, id);
    rows.push([
      from,
      to,
      kind,
      id,
      data.name(kind, id),
      vm < 0 ? '' : vm,
      vm < 0 ? '' : data.vmName(vm),
      STATE_WORDS[table.state[i]].replace(' ', '_'),
      EVIDENCE_WORDS[table.evidence[i]],
      table.byKind[i] ? data.takerName(table.byKind[i], table.byId[i]) : '',
      table.ticks[i],
      hz === null ? '' : table.ticks[i] / hz,
      to > from ? table.ticks[i] / (to - from) : '',
      table.count[i],
    ]);
  }
  return csv(rows);
}

export function download(name: string, type: string, content: string | Blob): void {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const a = document.createElement('a');
  a.href = url;
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
