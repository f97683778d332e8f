// Reads the dataset and puts the page together.

import './style.css';
import { Api, ApiError } from './api/client';
import type { SumTable } from './api/types';
import { App } from './app';
import { build } from './page';
import { Dataset } from './model/dataset';
import { Compare } from './model/compare';
import { Findings } from './model/findings';
import { Store } from './model/store';
import { Sums } from './model/sums';
import { decodeView, encodeView } from './model/url';
import { button, fill, h } from './util/dom';
import { expose } from './hook';

const NOTHING: SumTable = {
  length: 0,
  kind: new Uint8Array(),
  id: new Int32Array(),
  state: new Uint8Array(),
  evidence: new Uint8Array(),
  byKind: new Uint8Array(),
  byId: new Int32Array(),
  ticks: new Float64Array(),
  count: new Float64Array(),
};

/** The token has done its work with the first request; it has no business in the address bar, nor in links that are shared. */
function dropToken(): void {
  const q = new URLSearchParams(location.search);
  if (!q.has('token')) return;
  q.delete('token');
  const rest = q.toString();
  history.replaceState(null, '', `${location.pathname}${rest ? `?${rest}` : ''}${location.hash}`);
}

async function boot(root: HTMLElement): Promise<App> {
  const api = new Api();
  for (;;) {
    try {
      const info = await api.dataset();
      const data = new Dataset(info);
      const [table, findings, compared] = await Promise.all([
        info.span > 0 ? api.sums(0, info.span) : NOTHING,
        api.findings(),
        api.compare(),
      ]);
      const compare = compared.diff && new Compare(compared.diff, data);
      const whole = new Sums(table, 0, info.span, data);
      const read = () => {
        const view = decodeView(location.hash, info.span);
        // For tests, and pictures without writing on them: also as ?labels=0.
        if (new URLSearchParams(location.search).get('labels') === '0') view.labels = false;
        // A link to what is compared, where nothing is.
        if (view.tab === 'compare' && !compare) view.tab = 'resources';
        return view;
      };
      const store = new Store(read(), (view, how) => {
        const hash = encodeView(view, info.span);
        if (hash === location.hash.slice(1)) return;
        const url = `${location.pathname}${location.search}${hash ? `#${hash}` : ''}`;
        if (how === 'push') {
          remembered.flush();
          history.pushState(null, '', url);
        } else remembered.set(url);
      });
      const reread = () => {
        remembered.forget();
        store.take(read());
        app.followLink();
      };
      addEventListener('popstate', reread);
      addEventListener('hashchange', reread);
      const app = new App(api, data, whole, new Findings(findings, info.span), compare, store);
      app.followLink();
      api.reasons().then(
        (r) => {
          app.reasons = r;
          app.redraw();
        },
        () => {},
      );
      app.parts.push({
        update() {},
        get quiet() {
          return remembered.timer === undefined;
        },
      });
      build(app, root);
      return app;
    } catch (e) {
      if (!(e instanceof ApiError)) throw e;
      await new Promise<void>((again) =>
        fill(
          root,
          h(
            'div',
            { class: 'boot', role: 'alert' },
            h('h1', null, 'HAVAna'),
            h('p', null, e.message),
            button('Try again', () => again(), { class: 'primary' }),
          ),
        ),
      );
    }
  }
}

// Browsers refuse more than some hundred replaced addresses in half a minute; while something is dragged the last one is enough.
const remembered = {
  url: null as string | null,
  timer: undefined as ReturnType<typeof setTimeout> | undefined,
  set(url: string) {
    this.url = url;
    this.timer ??= setTimeout(() => this.flush(), 120);
  },
  flush() {
    if (this.url !== null) history.replaceState(null, '', this.url);
    this.forget();
  },
  forget() {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.url = null;
  },
};

dropToken();
expose(boot(document.getElementById('app')!));
