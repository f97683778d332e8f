// The slowest exits as a table; each row leads to its place in time.

import type { Slowest } from '../api/types';
import type { App } from '../app';
import { NO_HUE, hueOfVm } from '../draw/palette';
import { csv, download } from '../export/csv';
import { GUEST, OBSERVED } from '../model/states';
import { swatch } from '../panes/swatch';
import { button, fill, h } from '../util/dom';
import { reasonName } from './exits-latency';

export function drawSlowest(app: App, el: HTMLElement, s: Slowest): void {
  const { clock, data } = app;
  const wide = (i: number) => (s.reentry_hi[i] - s.reentry_lo[i] + s.exit_hi[i] - s.exit_lo[i]) / 2;
  const rows = Array.from(s.exit, (_, i) => {
    const took = s.reentry[i] - s.exit[i];
    const known = s.reentry[i] >= s.exit[i];
    return h(
      'tr',
      null,
      h(
        'td',
        null,
        button(
          known ? clock.duration(took) : 'no re-entry',
          () => app.goTo(`vcpu.${s.vcpu[i]}`, { start: s.exit[i], end: known ? s.reentry[i] : s.exit[i] + 1 }),
          { class: 'link', title: 'Show its place in time' },
        ),
      ),
      h('td', { class: 'dim' }, known ? `±${clock.duration(wide(i))}` : ''),
      h(
        'td',
        { class: 'left' },
        swatch(app.palette, app.palette.style(hueOfVm(s.vm[i]), GUEST, OBSERVED, NO_HUE)),
        ' ',
        data.fullName('vcpu', s.vcpu[i]),
      ),
      h('td', { class: 'left' }, reasonName(app, s.reason[i])),
      h(
        'td',
        { class: 'left' },
        s.process[i] >= 0
          ? button(
              data.processName(s.process[i]),
              () => app.goTo(`process.${s.process[i]}`, { start: s.exit[i], end: known ? s.reentry[i] : s.exit[i] + 1 }),
              { class: 'link mono' },
            )
          : '–',
      ),
      h(
        'td',
        { class: 'left' },
        s.reentry_cpu[i] >= 0 && s.reentry_cpu[i] !== s.cpu[i] ? `cpu ${s.cpu[i]} → ${s.reentry_cpu[i]}` : `cpu ${s.cpu[i]}`,
      ),
      h('td', null, clock.moment(s.exit[i], took / 20 || 1)),
    );
  });
  fill(
    el,
    h(
      'div',
      { class: 'headline' },
      h('h3', null, `Slowest exits${app.view.exitVm !== null ? ` of ${data.vmName(app.view.exitVm)}` : ''}`),
      rows.length
        ? button('CSV', () =>
            download(
              'havana-slowest-exits.csv',
              'text/csv',
              csv([
                [
                  'exit_id',
                  'vcpu_id',
                  'vm_id',
                  'cpu',
                  'reentry_cpu',
                  'process_id',
                  'reason',
                  'exit_ticks',
                  'exit_lo',
                  'exit_hi',
                  'reentry_ticks',
                  'reentry_lo',
                  'reentry_hi',
                ],
                ...Array.from(s.exit, (_, i) => [
                  s.exit_id[i],
                  s.vcpu[i],
                  s.vm[i],
                  s.cpu[i],
                  s.reentry_cpu[i],
                  s.process[i],
                  s.reason[i],
                  s.exit[i],
                  s.exit_lo[i],
                  s.exit_hi[i],
                  s.reentry[i],
                  s.reentry_lo[i],
                  s.reentry_hi[i],
                ]),
              ]),
            ),
          )
        : null,
    ),
    rows.length
      ? h(
          'table',
          null,
          h(
            'thead',
            null,
            h(
              'tr',
              null,
              h('th', { scope: 'col', class: 'right' }, 'took'),
              h('th', { scope: 'col' }, h('span', { class: 'hidden' }, 'how sure')),
              ['vCPU', 'reason', 'guest process', 'cpu'].map((w) => h('th', { scope: 'col', class: 'left' }, w)),
              h('th', { scope: 'col' }, 'left the guest at'),
            ),
          ),
          h('tbody', null, rows),
        )
      : h('p', { class: 'dim' }, 'None in this range.'),
  );
}
