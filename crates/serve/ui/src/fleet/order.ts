// Which nodes are shown, and which first.

import type { Severity } from '../api/types';
import type { FleetNode, NodeVm, Seen } from './types';

export type Order = 'trouble' | 'node' | 'busy' | 'lost' | 'heard';

const WEIGHT: Record<Severity, number> = { high: 10_000, medium: 100, low: 1 };

/** Silence weighs more than any finding: who is not heard from tells nothing of its troubles. */
export function trouble(node: FleetNode): number {
  const found = Object.entries(node.found).reduce((sum, [severity, n]) => sum + WEIGHT[severity as Severity] * (n ?? 0), 0);
  return (node.silent ? 1e9 : 0) + found;
}

export function busy(node: FleetNode): number {
  return node.vms.reduce((sum, vm) => sum + vm.cpus, 0);
}

const BY: Record<Order, (a: FleetNode, b: FleetNode) => number> = {
  trouble: (a, b) => trouble(b) - trouble(a),
  node: () => 0,
  busy: (a, b) => busy(b) - busy(a),
  lost: (a, b) => b.lost - a.lost,
  heard: (a, b) => a.came - b.came,
};

/** Those that have what is looked for in a name, in this order. */
export function shown(nodes: FleetNode[], text: string, order: Order): FleetNode[] {
  const wanted = text.trim().toLowerCase();
  const has = (s: string | null) => !!s && s.toLowerCase().includes(wanted);
  const fits = (n: FleetNode) =>
    has(n.node) || n.vms.some((vm) => has(vm.name) || has(vm.uuid)) || n.findings.some((f) => has(f.title));
  const kept = wanted ? nodes.filter(fits) : [...nodes];
  return kept.sort((a, b) => BY[order](a, b) || a.node.localeCompare(b.node, 'en', { numeric: true }));
}

export function vmName(vm: { name: string | null; vm_id: number }): string {
  return vm.name ?? `vm ${vm.vm_id}`;
}

/** How the server is asked where this VM was: by its uuid, else by its clock. */
export function whereQuery(vm: NodeVm): string | null {
  const q = new URLSearchParams();
  if (vm.uuid) q.set('uuid', vm.uuid);
  if (vm.born_ns) q.set('born', vm.born_ns);
  return q.size ? q.toString() : null;
}

/** The stays of a VM: captures of one node that follow each other are one. */
export function stays(seen: Seen[]): { node: string; from: Seen; to: Seen; captures: number }[] {
  const out: { node: string; from: Seen; to: Seen; captures: number }[] = [];
  for (const one of seen) {
    const last = out[out.length - 1];
    if (last?.node === one.node) {
      last.to = one;
      last.captures++;
    } else out.push({ node: one.node, from: one, to: one, captures: 1 });
  }
  return out;
}

/** Where a capture's own view is. */
export function viewOf(of: { hour: string; node: string; capture: string }): string {
  return `captures/${[of.hour, of.node, of.capture].map(encodeURIComponent).join('/')}/`;
}
