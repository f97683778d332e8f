// A small dataset for tests: two cpus, two VMs, three vCPUs, a few processes.

import type { DatasetInfo, SumTable } from '../api/types';
import { Dataset } from '../model/dataset';
import { Sums } from '../model/sums';

export const SPAN = 1000;

export function info(): DatasetInfo {
  return {
    node: 'kvm-07',
    capture: 'c1',
    path: 'x.havana',
    tool_version: '0',
    first_tsc: '1',
    span: SPAN,
    tsc_hz: 1e9,
    epoch: 'first_event',
    first_ns: null,
    cpus: [0, 1],
    vms: [
      { vm_id: 0, name: 'web-2', host_cr3: '0x1000', uuid: 'f00d', pid: 77 },
      { vm_id: 1, name: null, host_cr3: '0x2000', uuid: null, pid: null },
    ],
    vcpus: [0, 1, 2].map((v) => ({
      vcpu_id: v,
      vm_id: v === 2 ? 1 : 0,
      number: v === 2 ? 0 : v,
      name: null,
      vmcs: `0x${v}aa`,
      first: 0,
      last: SPAN,
    })),
    processes: [
      ...Array.from({ length: 6 }, (_, p) => ({
        process_id: p,
        vm_id: p < 5 ? 0 : 1,
        cr3: `0x5${p}000`,
        name: p === 1 ? 'nginx, worker' : null,
        first: 0,
        last: SPAN,
      })),
      { process_id: 6, vm_id: null, cr3: '0x9000', name: 'kworker', first: 0, last: SPAN },
    ],
    exits: 10,
    exit_within_ticks: 2,
    intervals: 20,
    losses: { count: 0, bytes: 0, ticks: {} },
    warnings: [],
    findings_known: false,
  };
}

type SumRow = [kind: number, id: number, state: number, evidence: number, byKind: number, byId: number, ticks: number, count: number];

export function table(rows: SumRow[]): SumTable {
  const col = (i: number) => rows.map((r) => r[i]);
  return {
    length: rows.length,
    kind: Uint8Array.from(col(0)),
    id: Int32Array.from(col(1)),
    state: Uint8Array.from(col(2)),
    evidence: Uint8Array.from(col(3)),
    byKind: Uint8Array.from(col(4)),
    byId: Int32Array.from(col(5)),
    ticks: Float64Array.from(col(6)),
    count: Float64Array.from(col(7)),
  };
}

export const data = new Dataset(info());

export const sums = new Sums(
  table([
    [0, 0, 0, 0, 1, 0, 700, 4],
    [0, 0, 1, 1, 1, 0, 100, 4],
    [0, 0, 6, 1, 0, -1, 200, 2],
    [0, 1, 0, 0, 1, 1, 300, 3],
    [0, 1, 5, 0, 0, -1, 100, 1],
    [0, 1, 8, 3, 0, -1, 600, 1],
    [1, 0, 0, 0, 0, -1, 700, 4],
    [1, 0, 1, 1, 0, -1, 100, 4],
    [1, 0, 3, 1, 0, -1, 200, 1],
    [1, 2, 0, 0, 0, -1, 300, 3],
    [1, 2, 2, 1, 1, 0, 450, 2],
    [1, 2, 2, 1, 2, 6, 50, 1],
    [1, 2, 7, 2, 0, -1, 200, 1],
    [2, 0, 0, 0, 0, -1, 600, 3],
    [2, 1, 0, 0, 0, -1, 100, 2],
    [2, 5, 0, 0, 0, -1, 300, 2],
  ]),
  0,
  SPAN,
  data,
);
