// Which rows there are, in which order, how deep and how high. Nothing here knows a screen.

import type { Kind } from '../api/types';
import type { Dataset } from '../model/dataset';
import type { Sums } from '../model/sums';
import type { View } from '../model/view';

export interface Row {
  /** `cpu.0`, `vm.1`, `small.vm.1` (what is folded away under it), `group.cpus` (a heading). */
  key: string;
  type: 'track' | 'small' | 'group';
  kind: Kind;
  id: number;
  depth: number;
  label: string;
  /** Share of the capture it used, for its header. */
  use: number;
  open: boolean | null;
  pinned: boolean;
  top: number;
  height: number;
  hidden: number;
}

/** Heights in CSS pixels; the last pixel of each row stays empty. */
export const HEIGHTS = { node: 65, cpu: 25, vm: 25, vcpu: 21, process: 21, small: 21, group: 23 };

/** Rows that used, wanted or hid less than this are folded away. */
export const SMALL = 0.001;
/** With more VMs than this they begin folded. */
const MANY_VMS = 24;

interface Item {
  kind: Kind;
  id: number;
  label: string;
  use: number;
  matters: number;
}

function weigh(kind: Kind, id: number, data: Dataset, sums: Sums): Item {
  const split = sums.of(kind, id);
  const whole = Math.max(1, sums.width);
  return { kind, id, label: data.name(kind, id), use: split.used / whole, matters: split.matters / whole };
}

function order(items: Item[], sort: View['sort']): Item[] {
  const byName = (a: Item, b: Item) => a.label.localeCompare(b.label, 'en', { numeric: true }) || a.id - b.id;
  const byUse = (a: Item, b: Item) => b.use - a.use || b.matters - a.matters || a.id - b.id;
  const by = {
    use: byUse,
    here: byUse,
    name: byName,
    id: (a: Item, b: Item) => a.id - b.id,
  }[sort];
  return items.sort(by);
}

export function isOpen(key: string, view: View, data: Dataset): boolean {
  const byDefault = key.startsWith('small.') ? false : key.startsWith('vm.') ? data.info.vms.length <= MANY_VMS : true;
  return view.folds.includes(key) !== byDefault;
}

/** The rows of a tab, top to bottom. */
export function rowsOf(view: View, data: Dataset, sums: Sums): Row[] {
  const rows: Row[] = [];
  const needle = view.filter.trim().toLowerCase();
  const pins = new Set(view.pins);

  const push = (item: Item, depth: number, open: boolean | null, label = item.label) => {
    const key = `${item.kind}.${item.id}`;
    rows.push({
      key,
      type: 'track',
      kind: item.kind,
      id: item.id,
      depth,
      label,
      use: item.use,
      open,
      pinned: pins.has(key),
      top: 0,
      height: HEIGHTS[item.kind],
      hidden: 0,
    });
  };
  const heading = (id: string, label: string) =>
    rows.push({
      key: `group.${id}`,
      type: 'group',
      kind: 'node',
      id: -1,
      depth: 0,
      label,
      use: 0,
      open: null,
      pinned: false,
      top: 0,
      height: HEIGHTS.group,
      hidden: 0,
    });
  const matches = (item: Item, parent = ''): boolean =>
    !needle || `${parent} ${item.kind} ${item.label} ${idsOf(item, data)}`.toLowerCase().includes(needle);

  /** The items, and behind them one row for those too small to matter. */
  const spread = (items: Item[], depth: number, parent: string, each: (item: Item) => void) => {
    const small = needle ? [] : items.filter((i) => i.matters < SMALL);
    const fold = small.length > 1;
    for (const item of items) if (!fold || item.matters >= SMALL) each(item);
    if (!fold) return;
    const key = `small.${parent}`;
    const open = isOpen(key, view, data);
    rows.push({
      key,
      type: 'small',
      kind: 'node',
      id: -1,
      depth,
      label: `${small.length} rows under 0.1 %`,
      use: small.reduce((a, i) => a + i.use, 0),
      open,
      pinned: false,
      top: 0,
      height: HEIGHTS.small,
      hidden: small.length,
    });
    if (open) for (const item of small) each(item);
  };

  const childKind = view.tab === 'processes' ? 'process' : 'vcpu';
  const childrenOf = (vm: number): Item[] => data.of(childKind, vm).map((id) => weigh(childKind, id, data, sums));

  // Pinned rows first, wherever they come from; a pinned VM takes its children along.
  for (const key of view.pins) {
    const [kind, id] = splitKey(key);
    if (kind === 'vm' || kind === 'node' || !exists(kind, id, data)) continue;
    const item = weigh(kind, id, data, sums);
    push(item, 0, null, data.fullName(kind, id));
  }

  if (view.tab !== 'processes' && view.only === null) {
    if (!needle && data.info.cpus.length > 0)
      push({ kind: 'node', id: 0, label: 'all cpus', use: sums.node.used / sums.nodeTicks, matters: 1 }, 0, null);
    const cpus = order(
      data.info.cpus.map((id) => weigh('cpu', id, data, sums)),
      view.sort,
    ).filter((i) => matches(i) && !pins.has(`cpu.${i.id}`));
    if (cpus.length) {
      heading('cpus', 'cpus: who had them');
      spread(cpus, 0, 'cpus', (i) => push(i, 0, null));
    }
  }

  const vms = order(
    data.info.vms.map((v) => weigh('vm', v.vm_id, data, sums)),
    view.sort,
  ).filter((i) => view.only === null || view.only === i.id);
  vms.sort((a, b) => Number(pins.has(`vm.${b.id}`)) - Number(pins.has(`vm.${a.id}`)));
  const shown = vms.filter((vm) => matches(vm) || childrenOf(vm.id).some((c) => matches(c, vm.label)));
  if (shown.length)
    heading('vms', childKind === 'process' ? 'guest processes: when they ran, and what held them up' : 'VMs: what became of their vCPUs');
  spread(shown, 0, 'vms', (vm) => {
    const key = `vm.${vm.id}`;
    const open = isOpen(key, view, data);
    push(vm, 0, open);
    if (!open) return;
    const all = childrenOf(vm.id).filter((c) => !pins.has(`${c.kind}.${c.id}`));
    const children = matches(vm) ? all : all.filter((c) => matches(c, vm.label));
    spread(order(children, view.sort), 1, key, (c) => push(c, 1, null));
  });
  return rows;
}

function idsOf(item: Item, data: Dataset): string {
  if (item.kind === 'process') return data.process.get(item.id)?.cr3 ?? '';
  if (item.kind === 'vcpu') return data.vcpu.get(item.id)?.vmcs ?? '';
  if (item.kind === 'vm') return `vm ${item.id} ${data.vm.get(item.id)?.host_cr3 ?? ''} ${data.vm.get(item.id)?.uuid ?? ''}`;
  return '';
}

export function splitKey(key: string): [Kind, number] {
  const dot = key.lastIndexOf('.');
  return [key.slice(0, dot) as Kind, Number(key.slice(dot + 1))];
}

export function exists(kind: Kind, id: number, data: Dataset): boolean {
  if (kind === 'cpu') return data.info.cpus.includes(id);
  if (kind === 'vm') return data.vm.has(id);
  if (kind === 'vcpu') return data.vcpu.has(id);
  if (kind === 'process') return data.process.get(id)?.vm_id != null;
  return kind === 'node';
}

/** Places the rows on whole device pixels and returns their height together. */
export function placeRows(rows: Row[], dpr: number): number {
  let top = 0;
  for (const row of rows) {
    row.top = top / dpr;
    const h = Math.round(row.height * dpr);
    row.height = h / dpr;
    top += h;
  }
  return top / dpr;
}

/** Index of the row at height `y`, or -1. */
export function rowAt(rows: Row[], y: number): number {
  let lo = 0;
  let hi = rows.length - 1;
  while (lo <= hi) {
    const mid = (lo + hi) >> 1;
    if (y < rows[mid].top) hi = mid - 1;
    else if (y >= rows[mid].top + rows[mid].height) lo = mid + 1;
    else return mid;
  }
  return -1;
}

/** The rows that [top, bottom) shows: first index and the one behind the last. */
export function rowsInSight(rows: Row[], top: number, bottom: number): [number, number] {
  let a = 0;
  while (a < rows.length && rows[a].top + rows[a].height <= top) a++;
  let b = a;
  while (b < rows.length && rows[b].top < bottom) b++;
  return [a, b];
}
