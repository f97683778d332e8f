// What each colour and texture means, on the page without a click.

import type { App, Part } from '../app';
import { HOST_HUE, NO_HUE, hueOfVm } from '../draw/palette';
import {
  GUEST,
  HOST,
  HYPERVISOR,
  IDLE,
  INFERRED,
  LOST,
  OBSERVED,
  OFF_CPU,
  PREEMPTED,
  STATE_MEANING,
  UNKNOWN,
  WAITING,
} from '../model/states';
import { fill, h } from '../util/dom';
import { severityHead } from './severity';
import { swatch } from './swatch';

/** VMs of a moment that the server tells apart. */
const TOLD_APART = 16;

export function legendPane(app: App): Part & { el: HTMLElement } {
  const el = h('ul', { class: 'legend', 'aria-label': 'Legend: hue is the VM, shade and texture the state' });
  return {
    el,
    update(now, before) {
      if (before && before.theme === now.theme) return;
      const p = app.palette;
      const vms = app.data.info.vms;
      const own = hueOfVm(vms[0]?.vm_id ?? 0);
      const other = vms[1] ? hueOfVm(vms[1].vm_id) : HOST_HUE;
      const items: [number, number, number, number, string, string][] = [
        [own, GUEST, OBSERVED, NO_HUE, 'guest', STATE_MEANING[GUEST]],
        [own, HYPERVISOR, OBSERVED, NO_HUE, 'hypervisor', STATE_MEANING[HYPERVISOR]],
        [own, PREEMPTED, OBSERVED, other, 'preempted (taker’s hue)', STATE_MEANING[PREEMPTED]],
        [own, WAITING, OBSERVED, NO_HUE, 'waiting', STATE_MEANING[WAITING]],
        [own, OFF_CPU, OBSERVED, other, 'off cpu', STATE_MEANING[OFF_CPU]],
        [NO_HUE, HOST, OBSERVED, NO_HUE, 'host', STATE_MEANING[HOST]],
        [NO_HUE, IDLE, OBSERVED, NO_HUE, 'idle', STATE_MEANING[IDLE]],
        [NO_HUE, UNKNOWN, OBSERVED, NO_HUE, 'unknown', STATE_MEANING[UNKNOWN]],
        [NO_HUE, LOST, OBSERVED, NO_HUE, 'lost', STATE_MEANING[LOST]],
        [own, GUEST, INFERRED, NO_HUE, 'inferred', 'follows from a rule; no packet says so. Without the lines it was observed'],
      ];
      fill(
        el,
        h('li', { class: 'dim' }, 'hue = VM'),
        items.map(([hue, s, e, t, word, title]) => h('li', { title }, swatch(p, p.style(hue, s, e, t), s === IDLE || s === WAITING), word)),
        vms.length > TOLD_APART
          ? h(
              'li',
              { title: 'more VMs had a part of this moment than can be told apart' },
              swatch(p, p.style(NO_HUE, GUEST, OBSERVED, NO_HUE)),
              'several VMs',
            )
          : null,
        app.findings.list.length
          ? h(
              'li',
              { title: 'above the map of the whole capture, and on the axis: a finding of severity high ▼, medium ◆, low ○' },
              app.findings.counts.map(([severity]) => severityHead(severity)),
              'finding',
            )
          : null,
        app.data.info.losses.count
          ? h('li', { title: 'above the map of the whole capture: trace was lost here' }, h('span', { class: 'mark lost' }, '✕'), 'loss')
          : null,
      );
    },
  };
}
