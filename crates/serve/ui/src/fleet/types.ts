// What the server of a fleet answers.

import type { Severity } from '../api/types';

export interface NodeVm {
  vm_id: number;
  name: string | null;
  uuid: string | null;
  /** On average. */
  cpus: number;
  /** When its TSC was 0, ns since 1970, as text: too many digits for a number. */
  born_ns: string | null;
}

export interface NodeFinding {
  severity: Severity;
  kind: string;
  title: string;
}

/** A node, by its newest capture. */
export interface FleetNode {
  node: string;
  hour: string;
  capture: string;
  /** Seconds since 1970. */
  came: number;
  captures: number;
  /** Not known where it has too few captures. */
  silent: boolean | null;
  cpus: number;
  seconds: number | null;
  first_ns: string | null;
  vm_count: number;
  vms: NodeVm[];
  findings: NodeFinding[];
  found: Partial<Record<Severity, number>>;
  /** Share of the time. */
  lost: number;
}

export interface FleetAnswer {
  root: string;
  now: number;
  captures: number;
  /** In which these began. */
  hours: number;
  /** Hours before these, which are not shown. */
  older_hours: number;
  warnings: string[];
  nodes: FleetNode[];
}

/** A VM in a capture. */
export interface Seen {
  node: string;
  hour: string;
  capture: string;
  vm_id: number;
  name: string | null;
  uuid: string | null;
  cpus: number;
  first_ns: string | null;
  last_ns: string | null;
}

export interface VmAnswer {
  seen: Seen[];
  /** Older captures were not looked through. */
  more: boolean;
}
