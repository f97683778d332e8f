// Asks for the tracks in sight, and for no others: after a moment of rest, a kind at a time, aborting what nobody looks at any more.

import { type Window, serves, windowFor } from '../layout/snap';
import type { Range } from '../layout/zoom';
import { SegmentCache, partsOf } from '../model/segments';
import { type Api, isAbort } from './client';
import type { Kind } from './types';

const SOON_MS = 40;
const FINE_MS = 150;
/** An answer that takes longer than this is said to be on its way. */
const SLOW_MS = 400;
/** Tracks in one request: few enough that the first rows need not wait for all. */
const AT_ONCE = 64;

interface Wanted {
  kind: Kind;
  ids: number[];
  view: Range;
  pixels: number;
}
interface Flight {
  kind: Kind;
  ids: Set<number>;
  window: Window;
  fine: boolean;
  stop: AbortController;
  since: number;
}

export class Loader {
  readonly cache = new SegmentCache();
  private wanted = new Map<string, Wanted>();
  private flights = new Set<Flight>();
  private soon: ReturnType<typeof setTimeout> | undefined;
  private later: ReturnType<typeof setTimeout> | undefined;
  private failed = false;
  private signature = '';

  constructor(
    private readonly api: Api,
    private readonly span: number,
    private readonly onAnswer: () => void,
    private readonly onError: (e: unknown) => void,
  ) {}

  /** Said with every frame by each who draws (`who`): what it draws now. */
  want(who: string, kind: Kind, ids: number[], view: Range, pixels: number): void {
    this.wanted.set(`${who}.${kind}`, { kind, ids, view, pixels });
  }

  /** `who` draws nothing of these kinds now. */
  forget(who: string): void {
    for (const key of this.wanted.keys()) if (key.startsWith(`${who}.`)) this.wanted.delete(key);
  }

  /** All wishes of this frame are said. */
  settle(): void {
    const signature = [...this.wanted.entries()].map(([k, w]) => `${k}:${w.ids.join()}:${w.view.from}:${w.view.to}:${w.pixels}`).join(';');
    if (signature === this.signature) return;
    this.signature = signature;
    this.failed = false;
    this.schedule();
  }

  retry(): void {
    this.failed = false;
    this.schedule();
  }

  get busy(): boolean {
    return this.flights.size > 0 || this.soon !== undefined || this.later !== undefined;
  }

  /** Somebody has been waiting for a while. */
  get slow(): boolean {
    const now = performance.now();
    return [...this.flights].some((f) => now - f.since > SLOW_MS);
  }

  private schedule(): void {
    clearTimeout(this.soon);
    clearTimeout(this.later);
    this.later = undefined;
    this.soon = setTimeout(() => {
      this.soon = undefined;
      this.load();
    }, SOON_MS);
  }

  private load(): void {
    if (this.failed) return;
    for (const f of this.flights) if (![...this.wanted.values()].some((w) => this.useful(f, w))) f.stop.abort();
    let coarse = false;
    for (const w of this.wanted.values()) {
      const missing: number[] = [];
      for (const id of w.ids) {
        const q = this.cache.quality(w.kind, id, w.view, this.span, w.pixels);
        if (q === 'coarse') coarse = true;
        if (q === 'none' && ![...this.flights].some((f) => f.ids.has(id) && this.useful(f, w))) missing.push(id);
      }
      for (let i = 0; i < missing.length; i += AT_ONCE) this.fly(w, missing.slice(i, i + AT_ONCE), false);
    }
    clearTimeout(this.later);
    this.later = coarse
      ? setTimeout(() => {
          this.later = undefined;
          this.refine();
        }, FINE_MS)
      : undefined;
  }

  private refine(): void {
    for (const w of this.wanted.values()) {
      const ids = w.ids.filter(
        (id) =>
          this.cache.quality(w.kind, id, w.view, this.span, w.pixels) === 'coarse' &&
          ![...this.flights].some((f) => f.fine && f.ids.has(id) && this.useful(f, w)),
      );
      for (let i = 0; i < ids.length; i += AT_ONCE) this.fly(w, ids.slice(i, i + AT_ONCE), true);
    }
  }

  private useful(f: Flight, w: Wanted): boolean {
    return f.kind === w.kind && !f.stop.signal.aborted && serves(f.window, true, w.view, this.span, w.pixels);
  }

  private fly(w: Wanted, ids: number[], fine: boolean): void {
    const window = windowFor(w.view, this.span, w.pixels);
    const flight: Flight = { kind: w.kind, ids: new Set(ids), window, fine, stop: new AbortController(), since: performance.now() };
    this.flights.add(flight);
    setTimeout(() => this.flights.has(flight) && this.onAnswer(), SLOW_MS + 1);
    this.api.segments(w.kind, ids, window.from, window.to, window.px, fine, flight.stop.signal).then(
      (segments) => {
        this.flights.delete(flight);
        this.cache.add(w.kind, { window, fine, segments, parts: partsOf(segments, ids) });
        this.onAnswer();
        if (!this.flights.size) this.load();
      },
      (e) => {
        this.flights.delete(flight);
        this.onAnswer();
        if (isAbort(e)) return;
        this.failed = true;
        this.onError(e);
      },
    );
  }
}
