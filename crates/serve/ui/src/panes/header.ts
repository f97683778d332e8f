// The first line: what was recorded, how well, and the few things to do with the page as a whole.

import type { App, Part } from '../app';
import { bytes, grouped, percent } from '../layout/format';
import { button, fill, h } from '../util/dom';
import type { View } from '../model/view';

export function headerPane(app: App, open: { search(): void; help(): void; png(): void; svg(): void }): Part & { el: HTMLElement } {
  const { info } = app.data;
  const facts: [string, string][] = [[app.span > 0 ? app.clock.duration(app.span) : 'empty', 'length of the capture']];
  facts.push([`${info.cpus.length} ${info.cpus.length === 1 ? 'cpu' : 'cpus'}`, 'cpus with trace']);
  facts.push([`${info.vms.length} ${info.vms.length === 1 ? 'VM' : 'VMs'}`, `${info.vcpus.length} vCPUs`]);
  facts.push([`${grouped(info.exits)} exits`, `${grouped(info.intervals)} intervals`]);
  if (info.exit_within_ticks !== null)
    facts.push([`times ±${app.clock.duration(info.exit_within_ticks)}`, 'half of the exits are known better than this, half worse']);
  const cpuTime = app.span * Math.max(1, info.cpus.length);
  const lost = cpuTime > 0 ? app.data.lostTicks / cpuTime : 0;
  facts.push([
    info.losses.count ? `lost ${percent(lost)}` : 'nothing lost',
    info.losses.count ? `${info.losses.count} losses, ${bytes(info.losses.bytes)} of trace` : 'no trace was lost while recording',
  ]);
  if (info.epoch === 'unix' && info.first_ns !== null) {
    facts.unshift([new Date(info.first_ns / 1e6).toISOString().replace('T', ' ').slice(0, 19), 'when the capture begins (UTC)']);
  }
  if (info.tsc_hz === null) facts.push(['TSC rate unknown', 'the trace does not tell the rate of its clock: times are ticks']);

  const share = button(
    'Share',
    () => {
      const done = (text: string) => {
        app.hint(text);
        share.textContent = text === 'Link copied' ? 'Copied ✓' : 'See address bar';
        setTimeout(() => (share.textContent = 'Share'), 1600);
      };
      // Without a secure context there is no clipboard; the address bar always holds the link.
      setTimeout(() => {
        if (!navigator.clipboard) return done('The address bar holds the link');
        navigator.clipboard.writeText(location.href).then(
          () => done('Link copied'),
          () => done('The address bar holds the link'),
        );
      }, 150);
    },
    { title: 'Copy a link to exactly this view' },
  );

  const pictures = [
    button('PNG', open.png, { title: 'Save the picture (e)', 'aria-label': 'Save the picture as PNG' }),
    button('SVG', open.svg, { title: 'Save the picture as SVG (Shift+E)', 'aria-label': 'Save the picture as SVG' }),
  ];
  const theme = button('', () => app.store.set({ theme: app.dark ? 'light' : 'dark' }), { class: 'icon' });
  const el = h(
    'header',
    null,
    h('h1', null, 'HAVAna'),
    h('strong', { title: info.path }, info.node === 'unknown' ? 'unnamed node' : info.node),
    h(
      'ul',
      { class: 'facts' },
      facts.map(([text, title]) => h('li', { title, class: text.startsWith('lost') ? 'warn' : null }, text)),
    ),
    h('span', { class: 'grow' }),
    button([h('span', null, 'Find'), h('kbd', null, '/')], open.search, {
      title: 'Find a VM, vCPU, process, CR3 or cpu',
      'aria-keyshortcuts': '/',
    }),
    share,
    pictures,
    theme,
    button('?', open.help, { class: 'icon', title: 'Keys (?)', 'aria-label': 'Keys and help', 'aria-keyshortcuts': '?' }),
  );
  if (info.warnings.length) {
    el.append(
      h(
        'details',
        { class: 'warnings' },
        h('summary', null, `${info.warnings.length} ${info.warnings.length === 1 ? 'warning' : 'warnings'}`),
        h(
          'ul',
          null,
          info.warnings.map((w) => h('li', null, w)),
        ),
      ),
    );
  }
  return {
    el,
    update(now: View, before: View | null) {
      for (const b of pictures) b.disabled = now.tab !== 'resources' && now.tab !== 'processes';
      if (before && before.theme === now.theme) return;
      fill(theme, app.dark ? '☀' : '☾');
      theme.title = app.dark ? 'Light page' : 'Dark page';
      theme.setAttribute('aria-label', theme.title);
    },
  };
}
