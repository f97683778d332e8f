// Everything that says what is on the screen. All of it is in the address, so that a link shows another the same.

import type { ChangeGroup } from './compare';

export type Tab = 'resources' | 'processes' | 'exits' | 'stolen' | 'findings' | 'compare';
/** The last only where something is compared. */
export const TABS: Tab[] = ['resources', 'processes', 'exits', 'stolen', 'findings', 'compare'];
/** `use` over the whole capture, `here` over what the pane sums. */
export type Sort = 'use' | 'here' | 'name' | 'id';
export type Theme = 'auto' | 'dark' | 'light';

export interface View {
  tab: Tab;
  from: number;
  to: number;
  /** The selected range. */
  sel: [number, number] | null;
  /** The row that keys and the pane speak of. */
  row: string | null;
  /** Where `.` and `,` step from. */
  at: number | null;
  pins: string[];
  sort: Sort;
  /** Rows whose fold is not as it is by default. */
  folds: string[];
  filter: string;
  /** Only this VM's rows. */
  only: number | null;
  theme: Theme;
  /** Cell of the matrix: victim VM, taker (`vm.3`, `host`). */
  cell: [number, string] | null;
  finding: number | null;
  /** Exits: a reason, a VM. */
  reason: number | null;
  exitVm: number | null;
  /** What the histogram of latencies counts. */
  weigh: 'count' | 'ticks';
  /** What changed: of which kind, of whom; also what may be chance. */
  changes: ChangeGroup | null;
  changesOf: string | null;
  allChanges: boolean;
  pane: boolean;
  /** Height of the pane in CSS pixels; null as the page thinks fit. */
  paneHeight: number | null;
  labels: boolean;
}

export function defaultView(span: number): View {
  return {
    tab: 'resources',
    from: 0,
    to: Math.max(span, 1),
    sel: null,
    row: null,
    at: null,
    pins: [],
    sort: 'use',
    folds: [],
    filter: '',
    only: null,
    theme: 'auto',
    cell: null,
    finding: null,
    reason: null,
    exitVm: null,
    weigh: 'count',
    changes: null,
    changesOf: null,
    allChanges: false,
    pane: true,
    paneHeight: null,
    labels: true,
  };
}
