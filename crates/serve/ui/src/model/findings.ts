// What was found, and how the page speaks of it: which stretch of time a finding stands for, which row it is about, which
// intervals prove it.

import type { Finding, FindingKind, FindingSpan, FindingsAnswer, Severity } from '../api/types';
import type { Clock } from '../layout/format';
import { exists } from '../layout/rows';
import { around, clampRange, type Range } from '../layout/zoom';
import type { Dataset } from './dataset';

/** The worst first. */
export const SEVERITIES: Severity[] = ['high', 'medium', 'low'];
/** A finding that is less sure than this only may be. */
const SURE = 0.75;

export const KIND_MEANING: Record<FindingKind, string> = {
  trace: 'the trace itself: losses, clocks that were set, VMs that came or went',
  exits: 'whose exits cost out of proportion',
  waiting: 'a vCPU that is stopped again and again',
  period: 'a process that comes again and again',
  consumption: 'who has most of a cpu, from when on, and who pays',
  steal: 'who had the cpu that a vCPU wanted',
};

/** What a finding stands for in time: where its mark is, and where it leads. */
export interface Place extends Range {
  /**
   * `range`: it was so from here to there. `moment`: it happened once, somewhere in here. `evidence`: it was so all along, and this
   * is the longest interval that proves it.
   */
  is: 'range' | 'moment' | 'evidence';
}

export class Findings {
  readonly known: boolean;
  /** The first first. */
  readonly list: readonly Finding[];

  constructor(
    answer: FindingsAnswer,
    private readonly span: number,
  ) {
    this.known = answer.known;
    this.list = answer.findings.map((f) => ({ ...f, spans: [...f.spans].sort((a, b) => a.start - b.start || a.end - b.end) }));
  }

  get(id: number | null): Finding | null {
    return this.list.find((f) => f.finding_id === id) ?? null;
  }

  /** How many of each severity, the worst first; those of which there are none left out. */
  get counts(): [Severity, number][] {
    const count = (s: Severity) => this.list.filter((f) => f.severity === s).length;
    return SEVERITIES.map((s): [Severity, number] => [s, count(s)]).filter(([, n]) => n > 0);
  }

  placeOf(f: Finding): Place {
    const inside = (t: number) => Math.min(Math.max(t, 0), this.span);
    const place = (from: number, to: number, is: Place['is']): Place => ({ from: inside(from), to: inside(Math.max(from, to)), is });
    const moment = f.kind === 'trace';
    if (f.start !== null) {
      if (moment) return place(f.start, f.end ?? f.start, 'moment');
      return place(f.start, f.end ?? this.span, 'range');
    }
    if (f.end !== null) return place(0, f.end, 'range');
    const longest = longestOf(f.spans);
    return longest ? place(longest.start, longest.end, 'evidence') : place(0, this.span, 'range');
  }

  /** What to look at for a finding: its place with some room, so that what was before it is seen as well. */
  sightOf(f: Finding): Range {
    const { from, to, is } = this.placeOf(f);
    // A moment alone has no width to put room around.
    if (is === 'moment' && to - from < this.span / 1000) {
      const mid = (from + to) / 2;
      return clampRange({ from: mid - this.span / 16, to: mid + this.span / 16 }, this.span);
    }
    return around(from, to, this.span, is === 'range' ? 0.15 : 1);
  }
}

function longestOf(spans: readonly FindingSpan[]): FindingSpan | null {
  return spans.reduce<FindingSpan | null>((best, s) => (!best || s.end - s.start > best.end - best.start ? s : best), null);
}

/** The rows that an interval belongs to, the one that says most first. */
export function rowsOfSpan(f: Finding, s: FindingSpan, data: Dataset): string[] {
  const keys: string[] = [];
  const put = (kind: 'process' | 'vcpu' | 'cpu' | 'vm', id: number | null) =>
    id !== null && exists(kind, id, data) && keys.push(`${kind}.${id}`);
  put('process', s.process_id);
  put('vcpu', s.vcpu_id);
  put('cpu', s.cpu);
  // Of a clock, or a VM that came or went, the VM is all there is.
  if (!keys.length) put('vm', f.vm_id);
  return keys;
}

/** The row that a finding is about. */
export function rowOfFinding(f: Finding, data: Dataset): string | null {
  const longest = longestOf(f.spans);
  const proof = longest ? rowsOfSpan(f, longest, data) : [];
  // Who lost a cpu is seen on the row of the vCPU that lost it; who took it, by its hue there.
  const victim = f.kind === 'steal' ? proof.find((key) => key.startsWith('vcpu.')) : undefined;
  if (victim) return victim;
  if (f.process_id !== null && exists('process', f.process_id, data)) return `process.${f.process_id}`;
  if (f.vcpu_id !== null && exists('vcpu', f.vcpu_id, data)) return `vcpu.${f.vcpu_id}`;
  if (f.vm_id !== null && exists('vm', f.vm_id, data)) return `vm.${f.vm_id}`;
  return proof[0] ?? null;
}

/** `high`, or `high, perhaps`. */
export function severityWords(f: Finding): string {
  return f.sure < SURE ? `${f.severity}, perhaps` : f.severity;
}

/** When, in words. */
export function whenWords(f: Finding, place: Place, clock: Clock, span: number): string {
  if (f.start === null && f.end === null) return 'all along';
  const moment = (t: number) => clock.moment(t, span / 500);
  if (place.is === 'moment')
    return place.to > place.from ? `between ${clock.range(place.from, place.to).replace('–', ' and ')}` : `at ${moment(place.from)}`;
  if (f.start === null) return `until ${moment(place.to)}`;
  return f.end === null ? `from ${moment(place.from)} on` : clock.range(place.from, place.to);
}

export function proofWords(f: Finding): string {
  const n = f.spans.length;
  return n === 0 ? 'proved by sums, not by single intervals' : n === 1 ? '1 interval proves it' : `${n} intervals prove it`;
}
