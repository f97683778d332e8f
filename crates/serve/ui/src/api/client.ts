// Every request of the page: one method an endpoint. Counts what is under way, so that a test can wait for rest.

import { type Columns, decode } from './arrow';
import type {
  CompareAnswer,
  DatasetInfo,
  FindingsAnswer,
  Histogram,
  Interval,
  Kind,
  Rate,
  Segments,
  Slowest,
  Stolen,
  SumTable,
} from './types';

export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

export function isAbort(e: unknown): boolean {
  return e instanceof DOMException && e.name === 'AbortError';
}

const t = (x: number) => String(Math.round(x));

export class Api {
  pending = 0;

  private async get(path: string, query: Record<string, string | number | undefined>, signal?: AbortSignal): Promise<Response> {
    const q = new URLSearchParams();
    for (const [k, v] of Object.entries(query)) if (v !== undefined) q.set(k, String(v));
    const text = q.toString();
    let response: Response;
    try {
      response = await fetch(`api/${path}${text ? `?${text}` : ''}`, { signal, credentials: 'same-origin' });
    } catch (e) {
      if (isAbort(e)) throw e;
      throw new ApiError('The server does not answer. Is havana view still running?', 0);
    }
    if (response.ok) return response;
    let message = `The server answered ${response.status} to ${path}.`;
    try {
      message = ((await response.json()) as { error?: string }).error ?? message;
    } catch (e) {
      if (isAbort(e)) throw e;
    }
    throw new ApiError(message, response.status);
  }

  private async json<T>(path: string, query: Record<string, string | number | undefined> = {}, signal?: AbortSignal): Promise<T> {
    this.pending++;
    try {
      return (await (await this.get(path, query, signal)).json()) as T;
    } finally {
      this.pending--;
    }
  }

  private async arrow(path: string, query: Record<string, string | number | undefined>, signal?: AbortSignal): Promise<Columns> {
    this.pending++;
    try {
      const body = await (await this.get(path, query, signal)).arrayBuffer();
      return decode(new Uint8Array(body));
    } finally {
      this.pending--;
    }
  }

  dataset(): Promise<DatasetInfo> {
    return this.json('dataset');
  }

  findings(): Promise<FindingsAnswer> {
    return this.json('findings');
  }

  compare(): Promise<CompareAnswer> {
    return this.json('compare');
  }

  reasons(): Promise<Record<string, string>> {
    return this.json('reasons');
  }

  async segments(kind: Kind, ids: number[], from: number, to: number, px: number, fine: boolean, signal?: AbortSignal): Promise<Segments> {
    const c = await this.arrow(
      'segments',
      { kind, ids: ids.join(','), from: t(from), to: t(to), px, detail: fine ? 'fine' : undefined },
      signal,
    );
    return {
      binned: c.metadata.get('binned') === '1',
      exact: c.metadata.get('exact') !== '0',
      id: c.get('id', Int32Array),
      start: c.get('start', Float64Array),
      end: c.get('end', Float64Array),
      state: c.get('state', Uint8Array),
      evidence: c.get('evidence', Uint8Array),
      byKind: c.get('by_kind', Uint8Array),
      byId: c.get('by_id', Int32Array),
      y0: c.get('y0', Float32Array),
      y1: c.get('y1', Float32Array),
      cpu: c.get('cpu', Int32Array),
      vcpu: c.get('vcpu', Int32Array),
      process: c.get('process', Int32Array),
    };
  }

  async sums(from: number, to: number, signal?: AbortSignal): Promise<SumTable> {
    const c = await this.arrow('sums', { from: t(from), to: t(to) }, signal);
    return {
      length: c.length,
      kind: c.get('kind', Uint8Array),
      id: c.get('id', Int32Array),
      state: c.get('state', Uint8Array),
      evidence: c.get('evidence', Uint8Array),
      byKind: c.get('by_kind', Uint8Array),
      byId: c.get('by_id', Int32Array),
      ticks: c.get('ticks', Float64Array),
      count: c.get('count', Float64Array),
    };
  }

  async exitRate(from: number, to: number, px: number, signal?: AbortSignal): Promise<Rate> {
    const c = await this.arrow('exits/rate', { from: t(from), to: t(to), px }, signal);
    return {
      start: c.get('start', Float64Array),
      end: c.get('end', Float64Array),
      vm: c.get('vm', Int32Array),
      count: c.get('count', Float64Array),
      ticks: c.get('ticks', Float64Array),
    };
  }

  async exitHistogram(from: number, to: number, signal?: AbortSignal): Promise<Histogram> {
    const c = await this.arrow('exits/histogram', { from: t(from), to: t(to) }, signal);
    return {
      vm: c.get('vm', Int32Array),
      reason: c.get('reason', Int32Array),
      class: c.get('class', Int32Array),
      count: c.get('count', Float64Array),
      ticks: c.get('ticks', Float64Array),
    };
  }

  async slowest(from: number, to: number, n: number, vm: number | null, signal?: AbortSignal): Promise<Slowest> {
    const c = await this.arrow('exits/slowest', { from: t(from), to: t(to), n, vm: vm ?? undefined }, signal);
    const i = (name: string) => c.get(name, Int32Array);
    const f = (name: string) => c.get(name, Float64Array);
    return {
      exit_id: i('exit_id'),
      vcpu: i('vcpu'),
      vm: i('vm'),
      cpu: i('cpu'),
      process: i('process'),
      exit: f('exit'),
      exit_lo: f('exit_lo'),
      exit_hi: f('exit_hi'),
      reentry: f('reentry'),
      reentry_lo: f('reentry_lo'),
      reentry_hi: f('reentry_hi'),
      reentry_cpu: i('reentry_cpu'),
      reason: i('reason'),
    };
  }

  async stolen(
    vm: number,
    byKind: 'vm' | 'host',
    byId: number,
    from: number,
    to: number,
    n: number,
    signal?: AbortSignal,
  ): Promise<Stolen> {
    const c = await this.arrow('stolen', { vm, by_kind: byKind, by_id: byId, from: t(from), to: t(to), n }, signal);
    return {
      vcpu: c.get('vcpu', Int32Array),
      start: c.get('start', Float64Array),
      end: c.get('end', Float64Array),
      cpu: c.get('cpu', Int32Array),
      process: c.get('process', Int32Array),
      evidence: c.get('evidence', Uint8Array),
    };
  }

  async at(kind: Kind, id: number, time: number, signal?: AbortSignal): Promise<Interval | null> {
    return (await this.json<{ interval: Interval | null }>('at', { kind, id, t: t(time) }, signal)).interval;
  }

  async step(kind: Kind, id: number, time: number, to: 'next' | 'previous', signal?: AbortSignal): Promise<Interval | null> {
    return (await this.json<{ interval: Interval | null }>('step', { kind, id, t: t(time), to }, signal)).interval;
  }
}
