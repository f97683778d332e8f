// The view, and who wants to know when it changes. Listeners run once a frame, however often it changed.

import type { View } from './view';

export type History = 'push' | 'replace';

export class Store {
  private listeners: ((now: View, before: View) => void)[] = [];
  private before: View;
  private scheduled = 0;

  constructor(
    private current: View,
    private readonly onHistory: (v: View, how: History) => void,
  ) {
    this.before = current;
  }

  get view(): View {
    return this.current;
  }

  /** `push` where a person would expect the browser's back button to undo it. */
  set(patch: Partial<View>, how: History = 'replace'): void {
    this.current = { ...this.current, ...patch };
    this.onHistory(this.current, how);
    this.schedule();
  }

  /** The address has changed: it is the view now. */
  take(view: View): void {
    this.current = view;
    this.schedule();
  }

  listen(fn: (now: View, before: View) => void): void {
    this.listeners.push(fn);
  }

  get pending(): boolean {
    return this.scheduled !== 0;
  }

  flush(): void {
    cancelAnimationFrame(this.scheduled);
    this.scheduled = 0;
    const before = this.before;
    this.before = this.current;
    const now = this.current;
    for (const fn of this.listeners) fn(now, before);
  }

  private schedule(): void {
    if (!this.scheduled) this.scheduled = requestAnimationFrame(() => this.flush());
  }
}
