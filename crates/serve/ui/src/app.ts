// What all parts of the page share: the dataset, the view, the sums of the range in question, and ways to lead somewhere.

import type { Api } from './api/client';
import { isAbort } from './api/client';
import { Loader } from './api/loader';
import type { Change, Finding, Interval, Kind } from './api/types';
import { Palette, DARK, LIGHT } from './draw/palette';
import { Clock } from './layout/format';
import { HEAD, marksOf, type Mark } from './layout/marks';
import { exists, isOpen, rowsOf, splitKey, type Row } from './layout/rows';
import { around, bringIntoView, clampRange, wholeTicks, type Range } from './layout/zoom';
import { type Compare, type SideName, whatWords } from './model/compare';
import type { Dataset } from './model/dataset';
import { type Findings, rowOfFinding, rowsOfSpan, severityWords } from './model/findings';
import type { Store, History } from './model/store';
import { Sums } from './model/sums';
import { isOnlyFinding } from './model/url';
import { TABS, type Tab, type View } from './model/view';

const SUMS_REST_MS = 160;
/** CSS pixels that the map of the whole capture has at least: marks that are clear of each other there are so anywhere. */
const NARROW_MAP = 440;

export interface Part {
  /** `before` is null the first time. */
  update(now: View, before: View | null): void;
  /** Something besides the view changed: sums, theme, an answer. */
  refresh?(): void;
  readonly quiet?: boolean;
}

export class App {
  readonly clock: Clock;
  readonly loader: Loader;
  readonly parts: Part[] = [];
  /** Of the findings: their lanes are the same on the map and on the axis, at any zoom. */
  readonly marks: readonly Mark[];
  palette!: Palette;
  /** Sums of the selection, or of what is in sight; null while they are on their way. */
  sums: Sums | null = null;
  reasons: Record<string, string> = {};
  /** Live region. */
  announce: (text: string) => void = () => {};
  /** Says something to everybody: on the page for a while, and in the live region. */
  hint: (text: string) => void = () => {};
  /** Puts the keyboard on the focused row, once it is drawn. */
  focusRows: () => void = () => {};
  /** The message bar. */
  complain: (e: unknown, retry: () => void) => void = () => {};
  private sumsTimer: ReturnType<typeof setTimeout> | undefined;
  private sumsStop: AbortController | undefined;
  private sumsCache = new Map<string, Sums>();
  private sumsWanted = '';
  private dpr = 1;

  constructor(
    readonly api: Api,
    readonly data: Dataset,
    readonly whole: Sums,
    readonly findings: Findings,
    /** Null where nothing is compared. */
    readonly compare: Compare | null,
    readonly store: Store,
  ) {
    this.clock = new Clock(data.info.tsc_hz);
    this.marks = data.info.span > 0 ? marksOf(findings, (data.info.span / NARROW_MAP) * 2 * HEAD) : [];
    this.loader = new Loader(
      api,
      data.info.span,
      () => this.redraw(),
      (e) => this.complain(e, () => this.loader.retry()),
    );
    this.applyTheme();
  }

  get span(): number {
    return this.data.info.span;
  }

  get view(): View {
    return this.store.view;
  }

  get tabs(): Tab[] {
    return TABS.filter((tab) => tab !== 'compare' || this.compare !== null);
  }

  get sight(): Range {
    return { from: this.view.from, to: this.view.to };
  }

  /** The range that numbers speak of: the selection, else what is in sight. */
  get scope(): Range {
    const { sel } = this.view;
    return sel ? { from: sel[0], to: sel[1] } : this.sight;
  }

  rows(view = this.view): Row[] {
    return rowsOf(view, this.data, this.sumsFor(view));
  }

  /** What rows are ordered by: the whole capture, or what the pane sums, where that is asked for. */
  sumsFor(view: View): Sums {
    return view.sort === 'here' && this.sums ? this.sums : this.whole;
  }

  // --- parts -------------------------------------------------------------------------------------------------------------

  start(): void {
    this.store.listen((now, before) => {
      if (now.theme !== before.theme) this.applyTheme();
      this.wantSums();
      for (const p of this.parts) p.update(now, before);
      this.loader.settle();
    });
    for (const p of this.parts) p.update(this.view, null);
    this.loader.settle();
    this.wantSums();
    const media = matchMedia('(prefers-color-scheme: light)');
    media.addEventListener('change', () => this.restyle());
    this.watchDensity();
  }

  private frame = 0;
  redraw(): void {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      for (const p of this.parts) p.refresh?.();
      this.loader.settle();
    });
  }

  get quiet(): boolean {
    return (
      this.api.pending === 0 &&
      !this.loader.busy &&
      this.sumsTimer === undefined &&
      !this.store.pending &&
      this.frame === 0 &&
      this.parts.every((p) => p.quiet !== false)
    );
  }

  // --- theme -------------------------------------------------------------------------------------------------------------

  get dark(): boolean {
    return this.view.theme === 'dark' || (this.view.theme === 'auto' && !matchMedia('(prefers-color-scheme: light)').matches);
  }

  private applyTheme(): void {
    this.dpr = devicePixelRatio;
    this.palette = new Palette(this.dark ? DARK : LIGHT, this.dpr);
    document.documentElement.dataset.theme = this.dark ? 'dark' : 'light';
  }

  private restyle(): void {
    this.applyTheme();
    for (const p of this.parts) p.update(this.view, null);
    this.loader.settle();
  }

  private watchDensity(): void {
    matchMedia(`(resolution: ${devicePixelRatio}dppx)`).addEventListener(
      'change',
      () => {
        this.restyle();
        this.watchDensity();
      },
      { once: true },
    );
  }

  // --- sums --------------------------------------------------------------------------------------------------------------

  private wantSums(): void {
    const { from, to } = this.scope;
    const a = Math.round(from);
    const b = Math.round(to);
    const key = `${a}-${b}`;
    if (key === this.sumsWanted) return;
    this.sumsWanted = key;
    clearTimeout(this.sumsTimer);
    this.sumsTimer = undefined;
    this.sumsStop?.abort();
    const whole = a === 0 && b === Math.round(this.span);
    const cached = whole || this.span <= 0 ? this.whole : this.sumsCache.get(key);
    if (cached) {
      this.sums = cached;
      this.redraw();
      return;
    }
    this.sumsTimer = setTimeout(() => {
      this.sumsTimer = undefined;
      this.loadSums(a, b, key);
    }, SUMS_REST_MS);
  }

  private loadSums(a: number, b: number, key: string): void {
    const stop = (this.sumsStop = new AbortController());
    this.api.sums(a, b, stop.signal).then(
      (table) => {
        const sums = new Sums(table, a, b, this.data);
        this.sumsCache.set(key, sums);
        if (this.sumsCache.size > 24) this.sumsCache.delete(this.sumsCache.keys().next().value!);
        if (key !== this.sumsWanted) return;
        this.sums = sums;
        this.redraw();
      },
      (e) => {
        if (!isAbort(e)) this.complain(e, () => this.loadSums(a, b, key));
      },
    );
  }

  /** Whether the sums at hand are those of the scope, not of the one before. */
  get sumsFresh(): boolean {
    return this.sums !== null && this.sumsWanted === `${Math.round(this.sums.from)}-${Math.round(this.sums.to)}`;
  }

  // --- ways --------------------------------------------------------------------------------------------------------------

  look(range: Range, how: History = 'replace'): void {
    // Whole ticks, as the link has them: who opens it sees the same.
    this.store.set(wholeTicks(clampRange(range, this.span)), how);
  }

  select(sel: [number, number] | null, how: History = 'replace'): void {
    this.store.set(
      {
        sel:
          sel && sel[1] > sel[0]
            ? [Math.max(0, Math.round(sel[0])), Math.min(this.span, Math.max(Math.round(sel[0]) + 1, Math.round(sel[1])))]
            : null,
        at: sel ? Math.round(sel[0]) : this.view.at,
      },
      how,
    );
  }

  toggle(list: 'pins' | 'folds', key: string): void {
    const have = this.view[list];
    this.store.set({ [list]: have.includes(key) ? have.filter((k) => k !== key) : [...have, key] }, 'push');
  }

  /** What must change so that the row is among those shown. */
  patchToShow(key: string, seen = this.view): Partial<View> {
    const [kind, id] = splitKey(key);
    if (!exists(kind, id, this.data)) return {};
    const patch: Partial<View> = { row: key };
    const tab =
      kind === 'process' ? 'processes' : kind === 'vm' && (seen.tab === 'processes' || seen.tab === 'resources') ? seen.tab : 'resources';
    patch.tab = tab;
    const vm = this.data.vmOf(kind, id);
    if (seen.only !== null && seen.only !== vm) patch.only = null;
    let view = { ...seen, ...patch };
    if (!this.rows(view).some((r) => r.key === key) && view.filter) view = { ...view, ...((patch.filter = ''), patch) };
    // Unfold what hides it, outermost first.
    for (const fold of [`small.${kind === 'cpu' ? 'cpus' : 'vms'}`, `vm.${vm}`, `small.vm.${vm}`]) {
      if (this.rows(view).some((r) => r.key === key)) break;
      if (fold.endsWith('.-1') || isOpen(fold, view, this.data)) continue;
      patch.folds = view.folds.includes(fold) ? view.folds.filter((f) => f !== fold) : [...view.folds, fold];
      view = { ...view, folds: patch.folds };
    }
    return patch;
  }

  /** Leads to a row, and to a place in time where one is given. */
  goTo(key: string, place?: { start: number; end: number; zoom?: boolean }): void {
    const patch = this.patchToShow(key);
    if (place) {
      patch.sel = [Math.round(place.start), Math.max(Math.round(place.start) + 1, Math.round(place.end))];
      patch.at = patch.sel[0];
      Object.assign(
        patch,
        wholeTicks(
          place.zoom === false
            ? bringIntoView(this.sight, place.start, place.end, this.span)
            : around(place.start, place.end, this.span, 1),
        ),
      );
    }
    this.store.set(patch, 'push');
    this.focusRows();
  }

  /** What must change to see a finding: its stretch of time, its row, and nothing hidden that may prove it. */
  private wayTo(f: Finding): Partial<View> {
    const open: Partial<View> = { only: null, filter: '' };
    const key = rowOfFinding(f, this.data);
    const { from, to, is } = this.findings.placeOf(f);
    const whole = from <= 0 && to >= this.span;
    return {
      ...open,
      ...(key ? this.patchToShow(key, { ...this.view, ...open }) : { tab: 'resources', row: null }),
      ...wholeTicks(this.findings.sightOf(f)),
      sel: whole || to <= from ? null : [Math.round(from), Math.max(Math.round(from) + 1, Math.round(to))],
      at: is === 'range' && whole ? null : Math.round(from),
      finding: f.finding_id,
    };
  }

  /** Leads to where a finding is proved: range, row, evidence. */
  showFinding(f: Finding): void {
    // The list is left behind, and the keyboard with it.
    if (this.view.tab === 'findings') this.focusRows();
    this.store.set(this.wayTo(f), 'push');
    this.announce(`${severityWords(f)}: ${f.title}`);
  }

  /** A link that says a finding and nothing else leads to it. */
  followLink(): void {
    const f = isOnlyFinding(this.view, this.span) ? this.findings.get(this.view.finding) : null;
    if (f) this.store.set(this.wayTo(f));
  }

  /** The finding after (1) or before (-1) the one at hand. */
  stepFinding(by: 1 | -1): void {
    const { known, list } = this.findings;
    if (!list.length) return this.hint(known ? 'Nothing unexpected was found.' : 'Nobody has looked for findings in this dataset.');
    const i = list.findIndex((f) => f.finding_id === this.view.finding);
    const n = i < 0 ? (by > 0 ? 0 : list.length - 1) : i + by;
    if (n < 0 || n >= list.length) return this.hint(by > 0 ? 'This is the last finding.' : 'This is the first finding.');
    this.showFinding(list[n]);
  }

  /** Which of the intervals that prove the finding is selected; -1: none. */
  proofAt(f: Finding): number {
    const { sel } = this.view;
    return sel ? f.spans.findIndex((s) => Math.round(s.start) === sel[0] && Math.round(s.end) === sel[1]) : -1;
  }

  /** Leads to one of the intervals that prove a finding. */
  showProof(f: Finding, n: number): void {
    const s = f.spans[n];
    const keys = rowsOfSpan(f, s, this.data);
    const tab = this.view.tab === 'processes' ? 'process' : 'vcpu';
    const key = keys.find((k) => k === this.view.row) ?? keys.find((k) => k.startsWith(tab)) ?? keys[0];
    if (this.view.tab === 'findings') this.focusRows();
    const start = Math.round(s.start);
    this.store.set(
      {
        ...(key ? this.patchToShow(key) : { tab: 'resources' }),
        ...wholeTicks(around(s.start, s.end, this.span, 1)),
        sel: [start, Math.max(start + 1, Math.round(s.end))],
        at: start,
        finding: f.finding_id,
      },
      'push',
    );
    this.announce(
      `Evidence ${n + 1} of ${f.spans.length}: ${key ? this.data.fullName(...splitKey(key)) : ''} ${this.clock.range(s.start, s.end)}`,
    );
  }

  /** The next interval that proves the finding at hand, or the one before. */
  stepProof(by: 1 | -1): void {
    const f = this.findings.get(this.view.finding);
    if (!f) return this.hint('Choose a finding first: N leads from one to the next.');
    const n = f.spans.length;
    if (!n) return this.hint('This finding is proved by sums, not by single intervals.');
    const i = this.proofAt(f);
    this.showProof(f, i < 0 ? (by > 0 ? 0 : n - 1) : (i + by + n) % n);
  }

  /** Leads to where a change is seen in this dataset: the row of who it is, in the time of that side. */
  showChange(c: Change, side: SideName): void {
    const key = this.compare?.rowOf(c, side);
    const place = this.compare?.placeOf(c, side);
    if (!key || !place) return;
    const open: Partial<View> = { only: null, filter: '' };
    this.focusRows();
    this.store.set(
      {
        ...open,
        ...this.patchToShow(key, { ...this.view, ...open }),
        ...wholeTicks(place.whole ? { from: 0, to: this.span } : around(place.from, place.to, this.span, 0.05)),
        sel: place.whole ? null : [place.from, place.to],
        at: place.at,
      },
      'push',
    );
    this.announce(`${c.who}, ${whatWords(c)}, in ${side.toUpperCase()}`);
  }

  /** Only this VM, its guest processes, the busiest on top. */
  showVm(vm: number): void {
    const folds = this.view.folds.filter((f) => f !== `vm.${vm}`);
    const open = isOpen(`vm.${vm}`, { ...this.view, folds }, this.data);
    this.store.set(
      { tab: 'processes', only: vm, row: `vm.${vm}`, filter: '', sort: 'use', folds: open ? folds : [...folds, `vm.${vm}`] },
      'push',
    );
    this.focusRows();
  }

  /** Kinds of rows that a single interval can be asked of. */
  canStep(key: string | null): key is string {
    return key !== null && /^(cpu|vcpu|process)\.\d+$/.test(key);
  }

  private stepping = false;
  /** To the next or previous state of the focused row; `extend` adds it to the selection. */
  async step(to: 'next' | 'previous', extend = false): Promise<void> {
    const key = this.view.row;
    if (!this.canStep(key)) {
      this.hint('Focus a cpu, a vCPU or a process first; then . and , go from state to state.');
      return;
    }
    if (this.stepping) return;
    this.stepping = true;
    const [kind, id] = splitKey(key);
    const { sel } = this.view;
    const from = extend && sel && to === 'next' ? sel[1] - 1 : (this.view.at ?? this.view.from);
    try {
      const i = await this.api.step(kind, id, from, to);
      if (!i) this.hint(to === 'next' ? 'This is the last state of the row.' : 'This is the first state of the row.');
      else this.showInterval(kind, id, i, extend ? sel : null);
    } catch (e) {
      this.complain(e, () => void this.step(to, extend));
    } finally {
      this.stepping = false;
    }
  }

  showInterval(kind: Kind, id: number, i: Interval, joined: [number, number] | null = null): void {
    const one: [number, number] = [Math.round(i.start), Math.max(Math.round(i.start) + 1, Math.round(i.end))];
    const sel: [number, number] = joined ? [Math.min(joined[0], one[0]), Math.max(joined[1], one[1])] : one;
    this.store.set({ sel, at: sel[0], row: `${kind}.${id}`, ...wholeTicks(bringIntoView(this.sight, one[0], one[1], this.span)) });
    this.announce(
      `${this.data.fullName(kind, id)}: ${i.state.replace('_', ' ')}, ${i.evidence}, ${this.clock.duration(i.end - i.start)} from ${this.clock.moment(i.start, (i.end - i.start) / 10)}`,
    );
  }
}
