import type { Segments } from '../api/types';

/** Rows as `[id, start, end, state, evidence, y0?, y1?, byKind?, byId?]`. */
export function segments(rows: number[][], binned = false, exact = true): Segments {
  const col = (i: number, or: number) => rows.map((r) => r[i] ?? or);
  return {
    binned,
    exact,
    id: Int32Array.from(col(0, 0)),
    start: Float64Array.from(col(1, 0)),
    end: Float64Array.from(col(2, 0)),
    state: Uint8Array.from(col(3, 0)),
    evidence: Uint8Array.from(col(4, 0)),
    y0: Float32Array.from(col(5, 0)),
    y1: Float32Array.from(col(6, 1)),
    byKind: Uint8Array.from(col(7, 0)),
    byId: Int32Array.from(col(8, -1)),
    cpu: Int32Array.from(col(9, -1)),
    vcpu: Int32Array.from(col(10, -1)),
    process: Int32Array.from(col(11, -1)),
  };
}
