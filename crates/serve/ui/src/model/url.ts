// The view as the part of the address behind #, and back. What is as by default is left out; what is not understood is ignored.

import { GROUPS } from './compare';
import { TABS, type Sort, type Tab, type Theme, type View, defaultView } from './view';
import { clampRange } from '../layout/zoom';

const KEY = /^(cpu|vm|vcpu|process|node|small|group)\.[\w.]+$/;

export function encodeView(v: View, span: number): string {
  const d = defaultView(span);
  const out: string[] = [];
  const put = (key: string, value: string) => out.push(`${key}=${encodeURIComponent(value).replace(/%2C/g, ',')}`);
  if (v.tab !== d.tab) put('tab', v.tab);
  if (v.from !== d.from || v.to !== d.to) put('range', `${Math.round(v.from)}-${Math.round(v.to)}`);
  if (v.sel) put('sel', `${Math.round(v.sel[0])}-${Math.round(v.sel[1])}`);
  if (v.row) put('row', v.row);
  if (v.at !== null) put('at', String(Math.round(v.at)));
  if (v.pins.length) put('pins', v.pins.join(','));
  if (v.sort !== d.sort) put('sort', v.sort);
  if (v.folds.length) put('folds', v.folds.join(','));
  if (v.filter) put('filter', v.filter);
  if (v.only !== null) put('vm', String(v.only));
  if (v.theme !== 'auto') put('theme', v.theme);
  if (v.cell) put('cell', `${v.cell[0]},${v.cell[1]}`);
  if (v.finding !== null) put('finding', String(v.finding));
  if (v.reason !== null) put('reason', String(v.reason));
  if (v.exitVm !== null) put('exits', String(v.exitVm));
  if (v.weigh !== 'count') put('weigh', v.weigh);
  if (v.changes !== null) put('kind', v.changes);
  if (v.changesOf !== null) put('of', v.changesOf);
  if (v.allChanges) put('all', '1');
  if (!v.pane) put('pane', '0');
  if (v.paneHeight !== null) put('height', String(v.paneHeight));
  if (!v.labels) put('labels', '0');
  return out.join('&');
}

/** Whether a view says which finding, and besides nothing of what is seen. */
export function isOnlyFinding(v: View, span: number): boolean {
  return v.finding !== null && encodeView({ ...v, finding: null, theme: 'auto', labels: true }, span) === '';
}

function whole(text: string | null): number | null {
  return text !== null && /^-?\d{1,15}$/.test(text) ? Number(text) : null;
}

function pair(text: string | null): [number, number] | null {
  const m = text === null ? null : /^(\d{1,16})-(\d{1,16})$/.exec(text);
  if (!m) return null;
  const a = Number(m[1]);
  const b = Number(m[2]);
  return a < b ? [a, b] : null;
}

function oneOf<T extends string>(text: string | null, all: readonly T[], otherwise: T): T {
  return all.includes(text as T) ? (text as T) : otherwise;
}

function keys(text: string | null): string[] {
  return text === null ? [] : [...new Set(text.split(','))].filter((k) => KEY.test(k));
}

export function decodeView(hash: string, span: number): View {
  const q = new URLSearchParams(hash.replace(/^#/, ''));
  const v = defaultView(span);
  v.tab = oneOf<Tab>(q.get('tab'), TABS, v.tab);
  const range = pair(q.get('range'));
  if (range) Object.assign(v, clampRange({ from: range[0], to: range[1] }, span));
  const sel = pair(q.get('sel'));
  if (sel && sel[0] < span) v.sel = [sel[0], Math.min(sel[1], span)];
  v.row = keys(q.get('row'))[0] ?? null;
  v.at = whole(q.get('at'));
  v.pins = keys(q.get('pins'));
  v.sort = oneOf<Sort>(q.get('sort'), ['use', 'here', 'name', 'id'], v.sort);
  v.folds = keys(q.get('folds'));
  v.filter = q.get('filter') ?? '';
  v.only = whole(q.get('vm'));
  v.theme = oneOf<Theme>(q.get('theme'), ['auto', 'dark', 'light'], v.theme);
  const cell = /^(\d+),(vm\.\d+|host|none)$/.exec(q.get('cell') ?? '');
  if (cell) v.cell = [Number(cell[1]), cell[2]];
  v.finding = whole(q.get('finding'));
  v.reason = whole(q.get('reason'));
  v.exitVm = whole(q.get('exits'));
  v.weigh = oneOf<View['weigh']>(q.get('weigh'), ['count', 'ticks'], v.weigh);
  v.changes = GROUPS.find((group) => group === q.get('kind')) ?? null;
  const of = q.get('of');
  v.changesOf = of !== null && /^(vm\.[ab]\d+|host)$/.test(of) ? of : null;
  v.allChanges = q.get('all') === '1';
  v.pane = q.get('pane') !== '0';
  const height = whole(q.get('height'));
  if (height !== null && height >= 60 && height <= 4000) v.paneHeight = height;
  v.labels = q.get('labels') !== '0';
  return v;
}
