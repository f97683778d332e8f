// Finds tracks by any name they go by.

import type { Kind } from '../api/types';
import type { Dataset } from './dataset';
import type { Sums } from './sums';

export interface Found {
  key: string;
  kind: Kind;
  id: number;
  use: number;
  hint: string;
}

/** All words must be met; what begins with the text comes first, then what used most. */
export function search(text: string, data: Dataset, sums: Sums, limit: number): Found[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found: { f: Found; rank: number }[] = [];
  const whole = Math.max(1, sums.width);
  const add = (kind: Kind, id: number, extra: (string | null | undefined)[], rank: number) => {
    const hay = [data.fullName(kind, id), `${kind} ${id}`, ...extra.filter(Boolean)].join(' ').toLowerCase();
    if (!words.every((w) => hay.includes(w))) return;
    const name = data.name(kind, id).toLowerCase();
    const begins = words.length > 0 && name.startsWith(words[0]) ? 0 : 4;
    found.push({
      f: {
        key: `${kind}.${id}`,
        kind,
        id,
        use: sums.of(kind, id).used / whole,
        hint: extra.filter((e) => e && e !== data.name(kind, id)).join(' · '),
      },
      rank: begins + rank,
    });
  };
  for (const v of data.info.vms)
    add('vm', v.vm_id, [v.uuid, v.host_cr3 && `host CR3 ${v.host_cr3}`, v.pid !== null ? `pid ${v.pid}` : null], 0);
  for (const p of data.info.processes) if (p.vm_id !== null) add('process', p.process_id, [p.name ? p.cr3 : null], 1);
  for (const v of data.info.vcpus) add('vcpu', v.vcpu_id, [v.vmcs && `VMCS ${v.vmcs}`], 2);
  for (const c of data.info.cpus) add('cpu', c, [], 3);
  found.sort((a, b) => a.rank - b.rank || b.f.use - a.f.use || a.f.id - b.f.id);
  return found.slice(0, limit).map((x) => x.f);
}
