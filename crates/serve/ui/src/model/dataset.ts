// The dataset with its names: whatever is shown to a person is named here and nowhere else.

import type { DatasetInfo, Kind, Process, Vcpu, Vm } from '../api/types';

export class Dataset {
  readonly vm = new Map<number, Vm>();
  readonly vcpu = new Map<number, Vcpu>();
  readonly process = new Map<number, Process>();

  private readonly children = { vcpu: new Map<number, number[]>(), process: new Map<number, number[]>() };

  constructor(readonly info: DatasetInfo) {
    for (const v of info.vms) this.vm.set(v.vm_id, v);
    const child = (kind: 'vcpu' | 'process', vm: number, id: number) => {
      const list = this.children[kind].get(vm);
      if (list) list.push(id);
      else this.children[kind].set(vm, [id]);
    };
    for (const v of info.vcpus) {
      this.vcpu.set(v.vcpu_id, v);
      child('vcpu', v.vm_id, v.vcpu_id);
    }
    for (const p of info.processes) {
      this.process.set(p.process_id, p);
      if (p.vm_id !== null) child('process', p.vm_id, p.process_id);
    }
  }

  /** vCPUs or guest processes of a VM. */
  of(kind: 'vcpu' | 'process', vm: number): readonly number[] {
    return this.children[kind].get(vm) ?? [];
  }

  vmName(id: number): string {
    // Where a host has so many that a bin cannot show each, the server tells them as one.
    return id < 0 ? 'several VMs' : (this.vm.get(id)?.name ?? `vm ${id}`);
  }

  vcpuName(id: number): string {
    const v = this.vcpu.get(id);
    return v?.name ?? `vCPU ${v?.number ?? id}`;
  }

  processName(id: number): string {
    const p = this.process.get(id);
    return p ? (p.name ?? p.cr3) : `process ${id}`;
  }

  /** The VM a track belongs to, or -1: cpus, and what is the host's. */
  vmOf(kind: Kind, id: number): number {
    if (kind === 'vm') return id;
    if (kind === 'vcpu') return this.vcpu.get(id)?.vm_id ?? -1;
    if (kind === 'process') return this.process.get(id)?.vm_id ?? -1;
    return -1;
  }

  name(kind: Kind, id: number): string {
    switch (kind) {
      case 'cpu':
        return `cpu ${id}`;
      case 'vm':
        return this.vmName(id);
      case 'vcpu':
        return this.vcpuName(id);
      case 'process':
        return this.processName(id);
      case 'node':
        return 'all cpus';
    }
  }

  /** A name that stands alone, without the row it hangs under. */
  fullName(kind: Kind, id: number): string {
    const vm = this.vmOf(kind, id);
    if (kind === 'vm' || vm < 0) return this.name(kind, id);
    return `${this.vmName(vm)} · ${kind === 'process' ? 'process ' : ''}${this.name(kind, id)}`;
  }

  takerName(kind: string | number, id: number | null): string {
    if (kind === 'vm' || kind === 1) return this.vmName(id ?? -1);
    if (kind === 'host' || kind === 2) {
      const p = id === null || id < 0 ? undefined : this.process.get(id);
      return p ? `host (${p.name ?? p.cr3})` : 'the host';
    }
    return 'nobody known';
  }

  /** Between what the whole guest time of a VM surely lies, in ticks; null where it is not said. */
  sureGuest(vm: number): [number, number] | null {
    let lo = 0;
    let hi = 0;
    const ids = this.of('vcpu', vm);
    for (const id of ids) {
      const v = this.vcpu.get(id)!;
      if (v.guest_lo == null || v.guest_hi == null) return null;
      lo += v.guest_lo;
      hi += v.guest_hi;
    }
    return ids.length ? [lo, hi] : null;
  }

  get lostTicks(): number {
    return Object.values(this.info.losses.ticks).reduce((a, b) => a + b, 0);
  }
}
