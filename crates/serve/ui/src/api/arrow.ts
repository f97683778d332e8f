// Arrow streams to typed arrays.

import { tableFromIPC } from '@uwdata/flechette';

type Numbers = Float64Array | Float32Array | Int32Array | Uint8Array;

export interface Columns {
  length: number;
  metadata: Map<string, string>;
  get<T extends Numbers>(name: string, make: new (n: ArrayLike<number>) => T): T;
}

export function decode(bytes: Uint8Array): Columns {
  const table = tableFromIPC(bytes);
  return {
    length: table.numRows,
    metadata: table.schema.metadata ?? new Map(),
    get(name, make) {
      const column = table.getChild(name);
      if (!column) throw new Error(`The server's answer has no column ${name}.`);
      const values = column.toArray() as ArrayLike<number>;
      return values instanceof make ? values : new make(values);
    },
  };
}
