// The answer before the picture: who had the cpus, over the whole capture. A VM leads to its guest processes.

import type { App, Part } from '../app';
import { markOf, hueOfVm, NO_HUE } from '../draw/palette';
import type { Style } from '../draw/raster';
import { doubt, percent, percentRange } from '../layout/format';
import { GUEST, HOST, HYPERVISOR, IDLE, LOST, OBSERVED, UNKNOWN } from '../model/states';
import { type Sums, within } from '../model/sums';
import { button, fill, h } from '../util/dom';
import { background, swatch } from './swatch';
import type { View } from '../model/view';

export interface Share {
  vm: number | null;
  word: string;
  ticks: number;
  share: number;
  style: Style;
  inferred: number;
}

/** Time of all cpus by who had it: VMs (most first), hypervisor, host, idle, unknown, lost. */
export function sharesOf(app: App, sums: Sums): Share[] {
  const { palette, data } = app;
  const all = Math.max(1, sums.nodeTicks);
  const out: Share[] = [];
  const vms = [...sums.vmTime].sort((a, b) => b[1].guest + b[1].hypervisor - a[1].guest - a[1].hypervisor);
  for (const [vm, t] of vms) {
    out.push({
      vm,
      word: data.vmName(vm) + markOf(vm),
      ticks: t.guest,
      share: t.guest / all,
      style: palette.style(hueOfVm(vm), GUEST, OBSERVED, NO_HUE),
      inferred: 0,
    });
    out.push({
      vm,
      word: 'hypervisor',
      ticks: t.hypervisor,
      share: t.hypervisor / all,
      style: palette.style(hueOfVm(vm), HYPERVISOR, OBSERVED, NO_HUE),
      inferred: 0,
    });
  }
  // Hypervisor work and guest time whose VM is not known.
  const known = vms.reduce((a, [, t]) => [a[0] + t.guest, a[1] + t.hypervisor], [0, 0]);
  const rest = [sums.node.ticks[GUEST] - known[0], sums.node.ticks[HYPERVISOR] - known[1]];
  if (rest[0] > 0)
    out.push({
      vm: null,
      word: 'a VM not known',
      ticks: rest[0],
      share: rest[0] / all,
      style: palette.style(NO_HUE, GUEST, OBSERVED, NO_HUE),
      inferred: 0,
    });
  if (rest[1] > 0)
    out.push({
      vm: null,
      word: 'hypervisor, VM not known',
      ticks: rest[1],
      share: rest[1] / all,
      style: palette.style(NO_HUE, HYPERVISOR, OBSERVED, NO_HUE),
      inferred: 0,
    });
  for (const [state, word] of [
    [HOST, 'host'],
    [IDLE, 'idle'],
    [UNKNOWN, 'unknown'],
    [LOST, 'lost'],
  ] as const) {
    const ticks = sums.node.ticks[state];
    if (ticks > 0)
      out.push({
        vm: null,
        word,
        ticks,
        share: ticks / all,
        style: palette.style(NO_HUE, state, OBSERVED, NO_HUE),
        inferred: sums.node.inferred[state] / ticks,
      });
  }
  return out;
}

export function stackedBar(app: App, shares: { share: number; style: Style; title: string }[]): HTMLElement {
  return h(
    'span',
    { class: 'bar', 'aria-hidden': 'true' },
    shares
      .filter((s) => s.share > 0)
      .map((s) => h('i', { title: s.title, style: `flex:${s.share.toFixed(6)} 0 0;background:${background(app.palette, s.style)}` })),
  );
}

export function whoPane(app: App): Part & { el: HTMLElement } {
  const el = h('section', { class: 'who', 'aria-label': 'Who had the cpus, over the whole capture' });
  const draw = () => {
    const { whole, data, palette } = app;
    const shares = sharesOf(app, whole);
    if (app.span <= 0 || data.info.cpus.length === 0) {
      fill(
        el,
        h('h2', null, 'Who had the cpus'),
        h('p', { class: 'note' }, 'Nobody: no trace of any cpu is in this dataset. “havana doctor” says what this host can record.'),
      );
      return;
    }
    const vms = shares.filter((s) => s.vm !== null && s.word !== 'hypervisor');
    const many = vms.slice(8);
    const chips = vms.slice(0, 8).map((s) => {
      const hv = shares.find((o) => o.vm === s.vm && o.word === 'hypervisor')!;
      // Sure bounds where the dataset has them; else what the bounds of its exits allow at worst.
      const sure = data.sureGuest(s.vm!);
      const ends = data.of('vcpu', s.vm!).reduce((n, v) => n + whole.of('vcpu', v).count[GUEST], 0);
      const sureness = sure
        ? `surely ${percentRange(sure[0] / whole.nodeTicks, sure[1] / whole.nodeTicks)}`
        : doubt(within(ends, data.info.exit_within_ticks, whole.nodeTicks));
      return h(
        'li',
        null,
        button(
          [
            swatch(palette, s.style),
            h('b', null, s.word),
            ` ${percent(s.share)}`,
            sureness ? h('span', { class: 'dim' }, sureness) : null,
            hv.share >= 0.0005 ? h('span', { class: 'dim' }, `· hypervisor ${percent(hv.share)}`) : null,
          ],
          () => app.showVm(s.vm!),
          {
            title: `Show the guest processes of ${s.word}${sureness ? `\n${sureness}: ${sure ? 'whatever the estimate, it lies between these' : 'if every entry and exit is off by its bounds, all the same way'}` : ''}`,
            'aria-label': `${s.word}: guest ${percent(s.share)} ${sureness}, hypervisor for it ${percent(hv.share)} of all cpu time. Show its guest processes.`,
          },
        ),
      );
    });
    const others = shares
      .filter((s) => s.vm === null)
      .map((s) => h('li', { class: 'plain' }, swatch(palette, s.style, s.word === 'idle'), `${s.word} ${percent(s.share)}`));
    const noVm =
      data.info.vms.length === 0 ? h('p', { class: 'note' }, 'No VM was seen in this trace: the cpus were the host’s alone.') : null;
    fill(
      el,
      h('h2', null, 'Who had the cpus'),
      stackedBar(
        app,
        shares.map((s) => ({
          share: s.share,
          style: s.style,
          title: `${s.vm !== null && s.word === 'hypervisor' ? `hypervisor for ${data.vmName(s.vm)}` : s.word} ${percent(s.share)}`,
        })),
      ),
      h(
        'ul',
        null,
        chips,
        many.length ? h('li', { class: 'plain' }, `${many.length} more VMs ${percent(many.reduce((a, s) => a + s.share, 0))}`) : null,
        others,
      ),
      noVm,
    );
  };
  return {
    el,
    update(_now: View, before: View | null) {
      if (!before || before.theme !== _now.theme) draw();
    },
  };
}
