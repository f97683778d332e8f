// What the server says of a dataset. All times are ticks since the dataset's first TSC.

export type Kind = 'cpu' | 'vcpu' | 'process' | 'vm' | 'node';

export interface Vm {
  vm_id: number;
  name: string | null;
  host_cr3: string | null;
  uuid: string | null;
  pid: number | null;
}
export interface Vcpu {
  vcpu_id: number;
  vm_id: number;
  number: number;
  name: string | null;
  vmcs: string | null;
  first: number;
  last: number;
  /** Sure bounds of its whole time in the guest, in ticks, where the server says them. */
  guest_lo?: number | null;
  guest_hi?: number | null;
}
export interface Process {
  process_id: number;
  vm_id: number | null;
  cr3: string;
  name: string | null;
  first: number;
  last: number;
}

export interface DatasetInfo {
  node: string;
  capture: string;
  path: string;
  tool_version: string;
  first_tsc: string;
  span: number;
  tsc_hz: number | null;
  epoch: string;
  first_ns: number | null;
  cpus: number[];
  vms: Vm[];
  vcpus: Vcpu[];
  processes: Process[];
  exits: number;
  exit_within_ticks: number | null;
  intervals: number;
  losses: { count: number; bytes: number; ticks: Record<string, number> };
  warnings: string[];
  findings_known: boolean;
}

/** Rectangles of the tracks of one kind, grouped by id; see the columns of api/segments. */
export interface Segments {
  binned: boolean;
  exact: boolean;
  id: Int32Array;
  start: Float64Array;
  end: Float64Array;
  state: Uint8Array;
  evidence: Uint8Array;
  byKind: Uint8Array;
  byId: Int32Array;
  y0: Float32Array;
  y1: Float32Array;
  cpu: Int32Array;
  vcpu: Int32Array;
  process: Int32Array;
}

export interface SumTable {
  length: number;
  kind: Uint8Array;
  id: Int32Array;
  state: Uint8Array;
  evidence: Uint8Array;
  byKind: Uint8Array;
  byId: Int32Array;
  ticks: Float64Array;
  count: Float64Array;
}

export interface Rate {
  start: Float64Array;
  end: Float64Array;
  vm: Int32Array;
  count: Float64Array;
  ticks: Float64Array;
}
export interface Histogram {
  vm: Int32Array;
  reason: Int32Array;
  class: Int32Array;
  count: Float64Array;
  ticks: Float64Array;
}
export interface Slowest {
  exit_id: Int32Array;
  vcpu: Int32Array;
  vm: Int32Array;
  cpu: Int32Array;
  process: Int32Array;
  exit: Float64Array;
  exit_lo: Float64Array;
  exit_hi: Float64Array;
  reentry: Float64Array;
  reentry_lo: Float64Array;
  reentry_hi: Float64Array;
  reentry_cpu: Int32Array;
  reason: Int32Array;
}
export interface Stolen {
  vcpu: Int32Array;
  start: Float64Array;
  end: Float64Array;
  cpu: Int32Array;
  process: Int32Array;
  evidence: Uint8Array;
}

export interface Interval {
  start: number;
  start_lo: number;
  start_hi: number;
  end: number;
  end_lo: number;
  end_hi: number;
  state: string;
  evidence: string;
  cpu: number | null;
  vm_id: number | null;
  vcpu_id: number | null;
  process_id: number | null;
  guest_cr3: string | null;
  host_cr3: string | null;
  taken_by: { kind: 'vm' | 'host'; id: number | null } | null;
  tid: number | null;
}

export type FindingKind = 'trace' | 'exits' | 'waiting' | 'period' | 'consumption' | 'steal';
export type Severity = 'low' | 'medium' | 'high';
export interface FindingSpan {
  cpu: number | null;
  vcpu_id: number | null;
  process_id: number | null;
  start: number;
  end: number;
}
export interface Finding {
  finding_id: number;
  kind: FindingKind;
  severity: Severity;
  title: string;
  score: number;
  /** How surely it is so, 0 to 1. */
  sure: number;
  vm_id: number | null;
  vcpu_id: number | null;
  process_id: number | null;
  /** From when on; null: all along. */
  start: number | null;
  /** Until when; null: to the end, or it is a moment. Of a moment that is known within bounds, the later one. */
  end: number | null;
  spans: FindingSpan[];
}
export interface FindingsAnswer {
  /** False where nobody looked for any. */
  known: boolean;
  findings: Finding[];
}

export type ChangeKind =
  | 'guest'
  | 'hypervisor'
  | 'preempted'
  | 'waiting'
  | 'off_cpu'
  | 'stolen'
  | 'process'
  | 'root'
  | 'exits'
  | 'exit_median'
  | 'exit_p99'
  | 'busy'
  | 'idle'
  | 'lost';
export type ChangeUnit = 'share' | 'per_second' | 'per_gigatick' | 'ns' | 'ticks';
/** Who it is in one side. */
export interface ChangeIds {
  cpu: number | null;
  vm_id: number | null;
  vcpu_id: number | null;
  process_ids: number[];
  taker_vm_id: number | null;
  taker_process_ids: number[];
}
/** A quantity in both sides; docs/diff.md has every field. */
export interface Change {
  kind: ChangeKind;
  who: string;
  taker: string | null;
  reason: string | null;
  a_ids: ChangeIds;
  b_ids: ChangeIds;
  presence: 'both' | 'new' | 'gone' | 'unmatched';
  unit: ChangeUnit;
  a: number;
  b: number;
  /** b − a, and where the truth of that lies. */
  change: number;
  lo: number;
  hi: number;
  a_bounds: [number, number] | null;
  b_bounds: [number, number] | null;
  in_doubt: boolean;
  inferred: boolean;
  adjusted_p: number;
  /** When the level changed once within a side: seconds since its dataset's first event, or ticks. */
  a_step: number | null;
  b_step: number | null;
  told: boolean;
  /** Which of the list it follows from. */
  explained_by: number | null;
}
export interface CompareSide {
  dataset: string;
  node: string;
  capture: string;
  tsc_hz: number | null;
  /** Since its dataset's first event: seconds, or ticks. */
  from: number;
  to: number;
  whole: boolean;
  cpus: number;
  vms: number;
  /** Lost or unknown, of all cpus' time. */
  hidden_share: number;
}
export interface Unmatched {
  who: string;
  vm_id: number;
  cpu_share: number;
}
export interface Diff {
  /** Of the dataset that is served. */
  a: CompareSide;
  b: CompareSide;
  one_dataset: boolean;
  changes: Change[];
  compared: number;
  unmatched_a: Unmatched[];
  unmatched_b: Unmatched[];
}
export interface CompareAnswer {
  /** False where nothing is compared. */
  known: boolean;
  diff: Diff | null;
}
