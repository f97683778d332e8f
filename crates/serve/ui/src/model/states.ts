// The codes of states, evidence and takers as the server sends them, and the words people read.

export const GUEST = 0;
export const HYPERVISOR = 1;
export const PREEMPTED = 2;
export const WAITING = 3;
export const OFF_CPU = 4;
export const HOST = 5;
export const IDLE = 6;
export const UNKNOWN = 7;
export const LOST = 8;
export const STATES = 9;

export const STATE_WORDS = ['guest', 'hypervisor', 'preempted', 'waiting', 'off cpu', 'host', 'idle', 'unknown', 'lost'];

/** What each state means, in one line: for legends and screen readers. */
export const STATE_MEANING = [
  'the guest itself ran',
  'the hypervisor worked for the guest',
  'it could run, but had no cpu; the hue is who had it',
  'it had nothing to run',
  'off the cpu; nothing says why',
  'something of the host ran',
  'the cpu slept',
  'the trace does not say',
  'trace was lost here',
];

/** `off_cpu` in JSON is `off cpu` on the screen. */
export function stateCode(name: string): number {
  return STATE_WORDS.indexOf(name.replace('_', ' '));
}

export const OBSERVED = 0;
export const INFERRED = 1;
export const EVIDENCE_WORDS = ['observed', 'inferred', 'unknown', 'lost'];

export const BY_NONE = 0;
export const BY_VM = 1;
export const BY_HOST = 2;

/** Tracks whose rows say who had a cpu; those of the others say what became of a vCPU. */
export function isCpuLike(kind: string): boolean {
  return kind === 'cpu' || kind === 'node';
}
