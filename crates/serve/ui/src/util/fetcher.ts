// One answer for one key: asked for after a moment of rest, aborted when the key changes, kept on the screen until the next is there.

import { isAbort } from '../api/client';
import type { App } from '../app';

const REST_MS = 120;

export class Fetcher<T> {
  value: T | null = null;
  private key = '';
  private timer: ReturnType<typeof setTimeout> | undefined;
  private stop: AbortController | undefined;

  constructor(private readonly app: App) {}

  /** Whether `value` is what was last asked for. */
  fresh = false;

  want(key: string, ask: (signal: AbortSignal) => Promise<T>): void {
    if (key === this.key) return;
    this.key = key;
    this.fresh = false;
    clearTimeout(this.timer);
    this.stop?.abort();
    this.timer = setTimeout(
      () => {
        this.timer = undefined;
        this.run(key, ask);
      },
      this.value === null ? 0 : REST_MS,
    );
  }

  /** Nobody looks at it now. */
  forget(): void {
    if (this.fresh) return;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.stop?.abort();
    this.key = '';
  }

  get quiet(): boolean {
    return this.timer === undefined;
  }

  private run(key: string, ask: (signal: AbortSignal) => Promise<T>): void {
    const stop = (this.stop = new AbortController());
    ask(stop.signal).then(
      (value) => {
        if (key !== this.key) return;
        this.value = value;
        this.fresh = true;
        this.app.redraw();
      },
      (e) => {
        if (!isAbort(e)) this.app.complain(e, () => this.run(key, ask));
      },
    );
  }
}
