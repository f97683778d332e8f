// Sums of states over a range: what the pane, the bar of cpus, the order of rows and the matrix are made of.

import type { SumTable } from '../api/types';
import type { Dataset } from './dataset';
import { BY_HOST, BY_VM, GUEST, HOST, HYPERVISOR, INFERRED, PREEMPTED, STATES, LOST, UNKNOWN } from './states';

const CODE = { cpu: 0, vcpu: 1, process: 2 } as const;

/** Time of some tracks by state. */
export class Split {
  readonly ticks = new Float64Array(STATES);
  readonly inferred = new Float64Array(STATES);
  readonly count = new Float64Array(STATES);
  /** Who had the cpu while these were preempted: `vm.3`, `host`, `none` → ticks. */
  readonly takers = new Map<string, number>();

  add(state: number, evidence: number, byKind: number, byId: number, ticks: number, count: number): void {
    this.ticks[state] += ticks;
    this.count[state] += count;
    if (evidence === INFERRED) this.inferred[state] += ticks;
    if (state === PREEMPTED) {
      const key = takerKey(byKind, byId);
      this.takers.set(key, (this.takers.get(key) ?? 0) + ticks);
    }
  }

  merge(o: Split): void {
    for (let s = 0; s < STATES; s++) {
      this.ticks[s] += o.ticks[s];
      this.inferred[s] += o.inferred[s];
      this.count[s] += o.count[s];
    }
    for (const [k, v] of o.takers) this.takers.set(k, (this.takers.get(k) ?? 0) + v);
  }

  get total(): number {
    return this.ticks.reduce((a, b) => a + b, 0);
  }

  /** Time in which a cpu worked for it. */
  get used(): number {
    return this.ticks[GUEST] + this.ticks[HYPERVISOR] + this.ticks[HOST];
  }

  /** What makes a row worth seeing: cpu it used, cpu it was denied, and what nobody knows. */
  get matters(): number {
    return this.used + this.ticks[PREEMPTED] + this.ticks[LOST] + this.ticks[UNKNOWN];
  }

  get inferredShare(): number {
    const t = this.total;
    return t > 0 ? this.inferred.reduce((a, b) => a + b, 0) / t : 0;
  }
}

export function takerKey(byKind: number, byId: number): string {
  return byKind === BY_VM ? `vm.${byId}` : byKind === BY_HOST ? 'host' : 'none';
}

/** Of a cpu's time, what belongs to one VM. */
export interface VmTime {
  guest: number;
  hypervisor: number;
  inferred: number;
}

export class Sums {
  private readonly tracks = new Map<string, Split>();
  private readonly vms = new Map<number, Split>();
  /** All cpus together. */
  readonly node = new Split();
  readonly vmTime = new Map<number, VmTime>();

  constructor(
    readonly table: SumTable,
    readonly from: number,
    readonly to: number,
    readonly data: Dataset,
  ) {
    const t = table;
    for (let i = 0; i < t.length; i++) {
      const key = `${t.kind[i]}.${t.id[i]}`;
      let split = this.tracks.get(key);
      if (!split) this.tracks.set(key, (split = new Split()));
      split.add(t.state[i], t.evidence[i], t.byKind[i], t.byId[i], t.ticks[i], t.count[i]);
      if (t.kind[i] === CODE.cpu) {
        this.node.add(t.state[i], t.evidence[i], 0, -1, t.ticks[i], t.count[i]);
        if (t.byKind[i] === BY_VM && t.state[i] <= HYPERVISOR) {
          const vm = this.vmTime.get(t.byId[i]) ?? { guest: 0, hypervisor: 0, inferred: 0 };
          vm[t.state[i] === GUEST ? 'guest' : 'hypervisor'] += t.ticks[i];
          if (t.evidence[i] === INFERRED) vm.inferred += t.ticks[i];
          this.vmTime.set(t.byId[i], vm);
        }
      }
    }
    for (const v of data.info.vcpus) {
      const split = this.of('vcpu', v.vcpu_id);
      let vm = this.vms.get(v.vm_id);
      if (!vm) this.vms.set(v.vm_id, (vm = new Split()));
      vm.merge(split);
    }
  }

  get width(): number {
    return this.to - this.from;
  }

  of(kind: string, id: number): Split {
    if (kind === 'vm') return this.vms.get(id) ?? new Split();
    if (kind === 'node') return this.node;
    return this.tracks.get(`${CODE[kind as keyof typeof CODE]}.${id}`) ?? new Split();
  }

  /** Time all cpus had: what shares of the node are shares of. */
  get nodeTicks(): number {
    return this.width * Math.max(1, this.data.info.cpus.length);
  }

  /** Who lost cpu to a VM (`vm.3`) or the host: victim VM → ticks, most first. */
  harmedBy(taker: string): [number, number][] {
    const out: [number, number][] = [];
    for (const [vm, split] of this.vms) {
      const t = split.takers.get(taker);
      if (t) out.push([vm, t]);
    }
    return out.sort((a, b) => b[1] - a[1]);
  }

  /** Every pair of victim and taker, most first. */
  get thefts(): { vm: number; taker: string; ticks: number }[] {
    const out: { vm: number; taker: string; ticks: number }[] = [];
    for (const [vm, split] of this.vms) for (const [taker, ticks] of split.takers) out.push({ vm, taker, ticks });
    return out.sort((a, b) => b.ticks - a.ticks);
  }
}

/**
 * By how much a sum may be off: each of its stretches has two ends, and each end may be off by an exit's bounds. All off the
 * same way is the worst; that is what is said.
 */
export function within(count: number, halfWidth: number | null, of: number): number | null {
  return halfWidth === null || of <= 0 ? null : Math.min(1, (2 * count * halfWidth) / of);
}
