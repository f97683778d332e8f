import { describe, expect, it } from 'vitest';
import { shown, stays, trouble, viewOf, whereQuery } from './order';
import type { FleetNode, Seen } from './types';

const node = (name: string, more: Partial<FleetNode> = {}): FleetNode => ({
  node: name, hour: '2026-11-28-21', capture: 'c0ffee', came: 0, captures: 1, silent: null, cpus: 2, seconds: 1, first_ns: null,
  vm_count: 0, vms: [], findings: [], found: {}, lost: 0, ...more,
});

describe('nodes', () => {
  const nodes = [
    node('kvm-10', { found: { low: 50 } }),
    node('kvm-9', { found: { high: 1 } }),
    node('kvm-2', { silent: true }),
    node('kvm-1', { vms: [{ vm_id: 3, name: 'web-2', uuid: 'F00D', cpus: 1.5, born_ns: '17' }] }),
  ];
  it('come by their trouble, those that are not heard from first', () => {
    expect(shown(nodes, '', 'trouble').map((n) => n.node)).toEqual(['kvm-2', 'kvm-9', 'kvm-10', 'kvm-1']);
    expect(trouble(nodes[1])).toBeGreaterThan(trouble(nodes[0]));
  });
  it('come by name as people count, and by how busy they are', () => {
    expect(shown(nodes, '', 'node').map((n) => n.node)).toEqual(['kvm-1', 'kvm-2', 'kvm-9', 'kvm-10']);
    expect(shown(nodes, '', 'busy')[0].node).toBe('kvm-1');
  });
  it('are found by their VMs', () => {
    expect(shown(nodes, ' WEB', 'node').map((n) => n.node)).toEqual(['kvm-1']);
    expect(shown(nodes, 'f00d', 'node').map((n) => n.node)).toEqual(['kvm-1']);
    expect(shown(nodes, 'nobody', 'node')).toEqual([]);
  });
});

describe('a VM', () => {
  const seen = (name: string, hour: string): Seen => ({
    node: name, hour, capture: 'c', vm_id: 0, name: null, uuid: null, cpus: 0, first_ns: null, last_ns: null,
  });
  it('stays on a node until it is seen on another', () => {
    const path = stays([seen('a', '1'), seen('a', '2'), seen('b', '3'), seen('a', '4')]);
    expect(path.map((s) => `${s.node}${s.from.hour}-${s.to.hour}x${s.captures}`)).toEqual(['a1-2x2', 'b3-3x1', 'a4-4x1']);
  });
  it('is asked for by uuid and clock', () => {
    expect(whereQuery({ vm_id: 0, name: null, uuid: 'x', cpus: 0, born_ns: '5' })).toBe('uuid=x&born=5');
    expect(whereQuery({ vm_id: 0, name: null, uuid: null, cpus: 0, born_ns: null })).toBeNull();
  });
  it('leads to a view whose address holds whatever the names are', () => {
    expect(viewOf(node('host/1'))).toBe('captures/2026-11-28-21/host%2F1/c0ffee/');
  });
});
